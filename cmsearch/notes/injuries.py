"""Injuries that a note tells of in its sentences: the words that name one, to be searched.

The code set names an injury by kind, site and side, people in any order and inflection
("broke her right hip"), so that hardly any form stands in a note word for word. Words are data:
data/injuries.tsv; one that is
``not`` before such a word ("pathological fracture") makes it something else.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from cmsearch.notes.layout import Kind, Segment
from cmsearch.notes.problems import Problem
from cmsearch.notes.rules import rows
from cmsearch.notes.words import Words
from cmsearch.rows import ConceptRow
from cmsearch.wording import stem

# Words that may stand between the others, not at an end.
_BETWEEN = frozenset(("of", "to", "the", "a", "an", "and", "with", "without", "his", "her",
                      "my", "their", "your", "in", "on", "at", "-", "/"))  # fmt: skip
_BEFORE, _AFTER = 6, 10
_SITED = frozenset(("concussion",))
_WITHOUT = re.compile(r"\s+without\s", re.IGNORECASE)


def is_injury(concept: ConceptRow) -> bool:
    """Return whether a code of ICD-10-CM is an injury (S00-S99, T07-T34)."""
    return concept.code.startswith("S") or "T07" <= concept.code[:3] <= "T34"


def injuries(text: str, segments: Sequence[Segment]) -> list[Problem]:
    """Return the injuries that a note names, in its order: each from its first word to its last."""
    heads, others, beside, sites = _vocabulary()
    found = []
    for part in segments:
        if part.kind is Kind.HEADING:
            continue
        words = Words.of(text, part.begin, part.end)
        stems = [stem(word) for word in words.forms]
        known = [one in beside or one in sites for one in stems]
        end = 0
        for row, word in enumerate(words.forms):
            if row < end or word not in heads or row and words.forms[row - 1] in others:
                continue
            first, last = row, row
            for place in range(row - 1, max(end, row - _BEFORE) - 1, -1):
                if not known[place] and words.forms[place] not in _BETWEEN:
                    break
                first = place if known[place] else first
            for place in range(row + 1, min(len(known), row + 1 + _AFTER)):
                form = words.forms[place]
                if not known[place] and form not in _BETWEEN or form == "and" and place > row + 1:
                    break  # of sites that share a head the first is searched
                last = place if known[place] else last
            end = last + 1
            # "Concussion without loss of consciousness" names its site itself.
            if word in _SITED or not sites.isdisjoint(stems[first:end]):
                found.append(Problem(words.begins[first], words.ends[last], part))
    return found


def told(text: str, problem: Problem) -> tuple[int, int]:
    """Return begin and end of the injury itself: "without loss of consciousness" denies no more."""
    without = _WITHOUT.search(text, problem.begin, problem.end)
    return problem.begin, without.start() if without else problem.end


@lru_cache(maxsize=1)
def _vocabulary() -> tuple[frozenset[str], ...]:
    """Return the words that name a kind of injury, what makes it something else, and the stems
    of what may stand beside it, without and with a site."""
    table = list(rows("injuries"))
    heads, others, beside, sites = (
        [word for word, role, _ in table if role == wanted]
        for wanted in ("head", "not", "beside", "site")
    )
    return (
        frozenset(heads),
        frozenset(others),
        frozenset(map(stem, heads + beside)),
        frozenset(map(stem, sites)),
    )
