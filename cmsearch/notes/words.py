"""The words of a stretch of text, and phrases found among them in one pass."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Generic, TypeVar

_WORD = re.compile(r"\d+(?:\.\d+)+|\w+(?:['\u2019]\w+)?|[^\w\s]")
_PATTERN = re.compile(r"<\w+>|\{\w+\}|" + _WORD.pattern)
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


class _Node(Generic[Rule]):
    """A place in phrases: what may follow, and the rule if a phrase ends here."""

    __slots__ = ("after", "rule")

    def __init__(self) -> None:
        self.after: dict[str, _Node[Rule]] = {}
        self.rule: Rule | None = None


class Phrases(Generic[Rule]):
    """Phrases to look for, each with a rule."""

    def __init__(
        self, rules: Iterable[tuple[str, Rule]], classes: Mapping[str, frozenset[str]] | None = None
    ) -> None:
        """Keep phrases.

        In a phrase ``<number>``, ``<year>`` and ``<end>`` stand for what they say, and
        ``{relative}`` for each word of that class.
        """
        self._root: _Node[Rule] = _Node()
        self._keys: dict[str, tuple[str, ...]] = {}
        for phrase, rule in rules:
            node = self._root
            for word in _PATTERN.findall(phrase.lower()):
                self._keys[word] = (word,)
                node = node.after.setdefault(word, _Node())
            node.rule = rule
        for name, members in (classes or {}).items():
            key = f"{{{name}}}"
            if key in self._keys:
                for member in members:
                    self._keys[member] = (*self._keys.get(member, ()), key)

    def find(self, forms: list[str]) -> Iterator[tuple[int, int, Rule]]:
        """Yield first word, last word + 1 and rule of phrases, from left to right.

        Of those that begin at a word the longest is taken, and the next begins after it:
        the work is that of the words times the longest phrase.
        """
        place = 0
        while place < len(forms):
            best = None
            if forms[place] in self._keys or forms[place].isdecimal():
                for best in self._from(forms, place):  # noqa: B007 - the last is the longest
                    pass
            if best is None:
                place += 1
            else:
                yield place, *best
                place = best[0]

    def every(self, forms: list[str]) -> Iterator[tuple[int, int, Rule]]:
        """Yield first word, last word + 1 and rule of all phrases, overlapping ones too."""
        for place, form in enumerate(forms):
            if form in self._keys:
                for end, rule in self._from(forms, place):
                    yield place, end, rule

    def _from(self, forms: list[str], place: int) -> Iterator[tuple[int, Rule]]:
        """Yield end and rule of the phrases that begin at a word, the longest last."""
        nodes = [self._root]
        while nodes:
            if place == len(forms):
                ends = [node.after[END].rule for node in nodes if END in node.after]
                yield from ((place, rule) for rule in ends if rule is not None)
                return
            form = forms[place]
            keys = self._keys.get(form, ())
            if form.isdecimal():
                keys = (*keys, _number(form))
            nodes = [node.after[key] for node in nodes for key in keys if key in node.after]
            place += 1
            for node in nodes:
                if node.rule is not None:
                    yield place, node.rule


def _number(form: str) -> str:
    """Return what stands for a number in phrases."""
    return YEAR if len(form) == 4 and form.startswith(("19", "20")) else NUMBER
