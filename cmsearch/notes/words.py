"""The words of a stretch of text, and phrases found among them in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

_WORD = re.compile(r"\d+(?:\.\d+)+|\w+(?:['\u2019]\w+)?|[^\w\s]")
_PATTERN = re.compile(r"<\w+>|" + _WORD.pattern)
Rule = TypeVar("Rule")
END = "<end>"
NUMBER = "<number>"
YEAR = "<year>"


@dataclass(frozen=True, slots=True)
class Words:
    """Words and signs in lower case, with the places where they begin and end."""

    forms: list[str]
    begins: list[int]
    ends: list[int]

    @classmethod
    def of(cls, text: str, begin: int, end: int) -> Words:
        """Return the words between two places of a text; places are those of the text."""
        found = list(_WORD.finditer(text, begin, end))
        return cls(
            [match[0].lower() for match in found],
            [match.start() for match in found],
            [match.end() for match in found],
        )


@dataclass(slots=True)
class _Node(Generic[Rule]):
    """A word of a phrase: the words that may follow, and the rule if a phrase ends here."""

    after: dict[str, _Node[Rule]]
    rule: Rule | None = None


class Phrases(Generic[Rule]):
    """Phrases to look for, each with a rule; the longest at a place is taken."""

    def __init__(self, rules: Iterable[tuple[str, Rule]]) -> None:
        """Keep phrases; ``<number>``, ``<year>`` and ``<end>`` stand for what they say."""
        self._root: _Node[Rule] = _Node({})
        for phrase, rule in rules:
            node = self._root
            for word in _PATTERN.findall(phrase.lower()):
                node = node.after.setdefault(word, _Node({}))
            node.rule = rule

    def find(self, forms: list[str]) -> Iterator[tuple[int, int, Rule]]:
        """Yield first word, last word + 1 and rule of each phrase, from left to right.

        Phrases never overlap, so the work is that of the words times the longest phrase.
        """
        place, count = 0, len(forms)
        first = self._root.after
        while place < count:
            if forms[place] not in first and not forms[place].isdecimal():
                place += 1
                continue
            end, rule = self._longest(forms, place)
            if rule is None:
                place += 1
            else:
                yield place, end, rule
                place = end

    def every(self, forms: list[str]) -> Iterator[tuple[int, int, Rule]]:
        """Yield first word, last word + 1 and rule of all phrases, overlapping ones too."""
        for place in range(len(forms)):
            node = self._root.after.get(forms[place])
            here = place + 1
            while node is not None:
                if node.rule is not None:
                    yield place, here, node.rule
                node = node.after.get(forms[here]) if here < len(forms) else None
                here += 1

    def _longest(self, forms: list[str], place: int) -> tuple[int, Rule | None]:
        node: _Node[Rule] | None = self._root
        best: tuple[int, Rule | None] = (place, None)
        here = place
        while node is not None:
            if node.rule is not None:
                best = (here, node.rule)
            if here == len(forms):
                ending = node.after.get(END)
                return best if ending is None else (here, ending.rule)
            form = forms[here]
            node = node.after.get(form) or (node.after.get(_class(form)) if node.after else None)
            here += 1
        return best


def _class(form: str) -> str:
    """Return what stands for a number in phrases; the form itself for any other word."""
    if not form.isdecimal():
        return form
    return YEAR if len(form) == 4 and form.startswith(("19", "20")) else NUMBER
