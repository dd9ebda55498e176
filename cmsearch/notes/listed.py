"""The chances of codes in a note that states its problems: of those, and of what stands beside."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace

from cmsearch.notes.injuries import is_injury
from cmsearch.notes.problems import DIAGNOSES
from cmsearch.notes.proposals import Proposal, merged, ordered
from cmsearch.notes.visit import Stated

# What becomes of the chance of a finding in a note that lists its problems: hardly any but
# those are coded. Measured as shares, docs/results.md.
_OUTSIDE = 0.04
_BESIDE_PROBLEMS = 0.12
# The share of clear statements for which coders gave the code that is found for them, and
# how it falls with the score.
_CLEAR, _UNCLEAR = 0.78, 0.12
# The same for the external cause that a note with an injury names.
_CAUSE, _CAUSE_LEAST = 0.4, 0.02


def beside_problems(found: Sequence[Proposal], stated: Sequence[Stated]) -> list[Proposal]:
    """Return the proposals of the listed problems, and of the findings beside them.

    Args:
        found: what the whole note mentions.
        stated: the codes of the problems that it lists.
    """
    causes = _causes(found, stated)
    fewer = [
        replace(
            item,
            chance=_CAUSE if item.concept.id in causes else item.chance * _share(item),
        )
        for item in found
    ]
    return merged(_proposals(stated) + fewer)


def beside_findings(found: Sequence[Proposal], stated: Sequence[Stated]) -> list[Proposal]:
    """Return the proposals of a note without a list of problems, and of what it states."""
    named = _proposals(stated)
    causes = _causes(found, stated)
    rest = [
        replace(item, chance=max(item.chance, _CAUSE)) if item.concept.id in causes else item
        for item in _said_otherwise(found, named)
    ]
    return merged(named + rest)


def _proposals(stated: Sequence[Stated]) -> list[Proposal]:
    return [
        Proposal(one.concept, _chance(one.score), stated=(one,), missing=one.missing)
        for one in stated
    ]


def _said_otherwise(found: Sequence[Proposal], stated: Sequence[Proposal]) -> list[Proposal]:
    """Return the proposals, those made less likely whose words the statements say otherwise."""
    own = {item.concept.id for item in stated}
    places = [(one.begin, one.end, item.chance) for item in stated for one in item.stated]
    return [
        replace(item, chance=item.chance * _BESIDE_PROBLEMS)
        if item.concept.id not in own and item.matches and _covered(item, places)
        else item
        for item in found
    ]


def _covered(item: Proposal, places: Sequence[tuple[int, int, float]]) -> bool:
    """Return whether all of its words begin and end in likelier statements, in one or in two."""
    return all(
        any(begin <= place < end and item.chance < chance for begin, end, chance in places)
        for match in item.matches
        for place in (match.found.span.begin, match.found.span.end - 1)
    )


def _share(item: Proposal) -> float:
    """Return how much of its chance a finding keeps in a note that lists its problems."""
    listed = any(match.found.section in DIAGNOSES for match in item.matches)
    return _BESIDE_PROBLEMS if listed else _OUTSIDE


def _causes(found: Iterable[Proposal], stated: Iterable[Stated]) -> frozenset[int]:
    """Return the likeliest external cause and activity, if an injury is stated.

    Official Guidelines, section I.C.20: codes for how an injury came about go beside it.
    """
    best: dict[bool, Proposal] = {}
    if not any(is_injury(one.concept) for one in stated):
        return frozenset()
    for item in ordered(found):
        code = item.concept.code
        if code[0] not in "VWXY" or code >= "Y90" and not code.startswith("Y93"):
            continue
        if item.chance >= _CAUSE_LEAST and not item.held_back:
            best.setdefault(code.startswith("Y93"), item)
    return frozenset(item.concept.id for item in best.values())


def _chance(score: float) -> float:
    """Return how likely a coder gives the code that is found for a statement."""
    return _UNCLEAR + (_CLEAR - _UNCLEAR) / (1.0 + math.exp(-1.2 * (score + 0.8)))
