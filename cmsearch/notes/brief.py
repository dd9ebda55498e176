"""Brief notes: a triage line, an impression, a referral, where each condition is the point.

Coders of long case reports pass over most of what is mentioned, and the learned choice does as
they did. What a note of a few sentences names is what it is about: its names of conditions
are taken with the words that belong to them and coded as the problems of a list are.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Sequence, Set
from functools import lru_cache

from cmsearch.notes.layout import Segment
from cmsearch.notes.linking import Match
from cmsearch.notes.problems import Problem
from cmsearch.notes.proposals import Proposal
from cmsearch.notes.reading import Reading
from cmsearch.notes.rules import rows
from cmsearch.notes.visit import Stated
from cmsearch.notes.words import Words
from cmsearch.types import Assertion

# Telling words of a note up to which it is brief.
LONGEST_BRIEF = 80
_CONDITIONS = frozenset("ABCDEFGHIJKLMNOPQRST")
_OFFICIAL = ("title", "inclusion", "index")
_BEFORE, _AFTER = 3, 7
_JOINT = re.compile(r"[,/&]|\band\b", re.IGNORECASE)
# A statement counts from this score on; one that is in a longer one of its category gives way.
_LEAST = -1.0
# A single everyday word is a name if coders of training notes would say so this often.
_LIKELY_WORD = 0.1


def is_brief(reading: Reading) -> bool:
    """Return whether a note is so short that all it names is its subject."""
    return len(reading.words) <= LONGEST_BRIEF


def statements(reading: Reading, found: Sequence[Proposal]) -> list[Problem]:
    """Return the conditions that a brief note says are there, each with the words beside it.

    Args:
        reading: the note.
        found: its proposals, those that are part of longer names too.
    """
    unclear = {(one.begin, one.end) for one in reading.senses if not one.words}
    named: dict[tuple[int, int], list[tuple[Proposal, Match]]] = {}
    for item in found:
        for match in item.matches:
            place = (match.found.span.begin, match.found.span.end)
            if place in unclear:
                continue
            named.setdefault(place, []).append((item, match))
    others = [
        place
        for place, pairs in named.items()
        if any(_names_a_status(item, match) for item, match in pairs)
    ]
    names = [
        (begin, end)
        for (begin, end), pairs in named.items()
        if not any(first <= begin and end <= last for first, last in others)
        and any(_says_so(item, match) for item, match in pairs)
        and (
            any(_is_a_name(item, match) for item, match in pairs)
            or reading.text[begin:end].isupper()
            and len({item.concept.code[:3] for item, _ in pairs}) == 1
        )
    ]
    symptoms = {
        place for place in names if all(item.concept.code[0] == "R" for item, _ in named[place])
    }
    names = _outermost(names, symptoms, reading.text)
    begins = [part.begin for part in reading.segments]
    problems: dict[tuple[int, int], Problem] = {}
    for row, (begin, end) in enumerate(names):
        part = reading.segments[max(0, bisect_right(begins, begin) - 1)]
        limit = next((first for first, _ in names[row + 1 :] if first >= end), part.end)
        first, last = _with_its_words(reading.text, part, begin, end, limit)
        problems.setdefault((first, last), Problem(first, last, part))
    return list(problems.values())


def _outermost(
    names: Sequence[tuple[int, int]], symptoms: Set[tuple[int, int]], text: str
) -> list[tuple[int, int]]:
    """Return the names that are part of no other, in the order of the text.

    "Hypertension, CKD stage 4" is two diseases, since both sides are names, whatever it is
    besides; "nausea and vomiting" is one symptom.
    """
    found: list[tuple[int, int]] = []
    for begin, end in sorted(names, key=lambda name: (name[0], -name[1])):
        joint = None if (begin, end) in symptoms else _JOINT.search(text, begin, end)
        two = joint is not None and (
            any(first == begin and last <= joint.start() for first, last in names)
            and any(joint.end() <= first and last <= end for first, last in names)
        )
        if not two and (not found or end > found[-1][1]):
            found.append((begin, end))
    return found


def _says_so(item: Proposal, match: Match) -> bool:
    """Return whether the note has the condition as one that is there."""
    return (
        item.concept.code[0] in _CONDITIONS
        and match.found.span.whole
        and not match.narrowed
        and not match.found.heading
        and match.found.assertion is Assertion.PRESENT
        and not item.held_back
    )


def _names_a_status(item: Proposal, match: Match) -> bool:
    """Return whether words are likely no condition but a status: an ex-smoker is no smoker."""
    likely = item.chance >= _LIKELY_WORD and not item.held_back
    return item.concept.code[0] == "Z" and match.found.span.words > 1 and likely


def _is_a_name(item: Proposal, match: Match) -> bool:
    """Return whether the words can hardly mean anything else."""
    if match.found.span.short:  # "gout", and no "as"
        return match.template == "title"
    official = match.template in _OFFICIAL
    return match.found.span.words > 1 or official or item.chance >= _LIKELY_WORD


def _with_its_words(text: str, part: Segment, begin: int, end: int, limit: int) -> tuple[int, int]:
    """Return a name with what is said of it, up to a limit: "cellulitis" "of the left leg"."""
    ends, inside = _stops()
    words = Words.of(text, part.begin, part.end)
    first = bisect_right(words.begins, begin) - 1
    last = bisect_right(words.begins, end - 1) - 1
    for row in range(first - 1, max(-1, first - 1 - _BEFORE), -1):
        form = words.forms[row]
        on = form == "on" and row > 0 and words.forms[row - 1] == "acute"  # acute on chronic
        if not on and (form in ends or form in inside or not form[0].isalnum()):
            break
        begin = words.begins[row]
    for row in range(last + 1, min(len(words.forms), last + 1 + _AFTER)):
        form = words.forms[row]
        beyond = words.begins[row] >= limit
        if beyond or form in ends or not (form[0].isalnum() or form in inside):
            break
        if form not in inside:
            end = words.ends[row]
    return begin, end


@lru_cache(maxsize=1)
def _stops() -> tuple[frozenset[str], frozenset[str]]:
    """Return the words that end a statement, and those that stand only inside one."""
    table = list(rows("statements"))
    ends, inside = (
        frozenset(word for word, role, _ in table if role == wanted) for wanted in ("end", "inside")
    )
    return ends, inside


def apart(stated: Sequence[Stated]) -> list[Stated]:
    """Return the statements that are sure enough, one where several overlap: the surest.

    A longer one of the same category says more and stands in its place.
    """
    kept: list[Stated] = []
    for one in sorted(stated, key=lambda one: (-one.score, one.begin, one.concept.code)):
        if one.score < _LEAST:
            continue
        over = [
            other
            for other in kept
            if one.begin < other.end
            and other.begin < one.end
            and (one.begin, one.end) != (other.begin, other.end)
        ]
        if over and not all(_says_more(one, other) for other in over):
            continue
        kept = [other for other in kept if other not in over] + [one]
    return sorted(kept, key=lambda one: (one.begin, one.concept.code))


def _says_more(one: Stated, other: Stated) -> bool:
    within = one.begin <= other.begin and other.end <= one.end
    return within and one.concept.code[:3] == other.concept.code[:3]
