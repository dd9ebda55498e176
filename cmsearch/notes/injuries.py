"""Injuries that a note tells of in its sentences: the words that name one, to be searched.

The code set names an injury by kind, site and side, people in any order and inflection
("broke her right hip"), so that hardly any form stands in a note word for word. Which words
belong to an injury is data: data/injuries.tsv.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from cmsearch.notes.layout import Kind, Segment
from cmsearch.notes.problems import Problem
from cmsearch.notes.rules import rows
from cmsearch.notes.words import Words
from cmsearch.rows import ConceptRow
from cmsearch.wording import stem

_BEFORE, _AFTER = 6, 10


@dataclass(frozen=True, slots=True)
class _Vocabulary:
    """The words of injuries, by the role that data/injuries.tsv gives them.

    Attributes:
        heads: words that name a kind of injury.
        whole: those of them that name its site as well ("concussion").
        others: words that make something else of a head that follows them.
        beside: stems of what may stand beside a head.
        sites: those of them that are sites.
        between: words that may stand between the others, not at an end.
    """

    heads: frozenset[str]
    whole: frozenset[str]
    others: frozenset[str]
    beside: frozenset[str]
    sites: frozenset[str]
    between: frozenset[str]


def is_injury(concept: ConceptRow) -> bool:
    """Return whether a code of ICD-10-CM is an injury (S00-S99, T07-T34)."""
    return concept.code.startswith("S") or "T07" <= concept.code[:3] <= "T34"


def injuries(text: str, segments: Sequence[Segment]) -> list[Problem]:
    """Return the injuries that a note names, in its order: each from its first word to its last."""
    known = _vocabulary()
    found = []
    for part in segments:
        if part.kind is Kind.HEADING:
            continue
        words = Words.of(text, part.begin, part.end)
        if known.heads.isdisjoint(words.forms):
            continue
        stems = [stem(word) for word in words.forms]
        beside = [one in known.beside for one in stems]
        end = 0
        for row, word in enumerate(words.forms):
            another = row > 0 and words.forms[row - 1] in known.others
            if row < end or word not in known.heads or another:
                continue
            first, last = row, row
            for place in range(row - 1, max(end, row - _BEFORE) - 1, -1):
                if not beside[place] and words.forms[place] not in known.between:
                    break
                first = place if beside[place] else first
            for place in range(row + 1, min(len(beside), row + 1 + _AFTER)):
                form = words.forms[place]
                if not beside[place] and form not in known.between:
                    break
                if form == "and" and place > row + 1:
                    break  # of sites that share a head the first is searched
                last = place if beside[place] else last
            end = last + 1
            if word in known.whole or not known.sites.isdisjoint(stems[first:end]):
                found.append(Problem(words.begins[first], words.ends[last], part))
    return found


@lru_cache(maxsize=1)
def _vocabulary() -> _Vocabulary:
    by_role: dict[str, list[str]] = {}
    for word, role, _ in rows("injuries"):
        by_role.setdefault(role, []).append(word)
    heads = by_role["head"] + by_role["whole"]
    return _Vocabulary(
        heads=frozenset(heads),
        whole=frozenset(by_role["whole"]),
        others=frozenset(by_role["not"]),
        beside=frozenset(map(stem, heads + by_role["beside"] + by_role["site"])),
        sites=frozenset(map(stem, by_role["site"])),
        between=frozenset(by_role["between"]),
    )
