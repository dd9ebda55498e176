"""What codes ask for beside the condition: side, acuity, severity, encounter, trimester.

Words are data: data/modifiers.tsv. A row without a value is a phrase that only looks like
a modifier ("left the hospital", "no acute distress").
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from typing import TypeVar

from cmsearch.notes.layout import Segment
from cmsearch.notes.patient import Patient, Sex, patient
from cmsearch.notes.rules import rows
from cmsearch.notes.words import Phrases, Words

__all__ = [
    "Acuity",
    "Encounter",
    "Laterality",
    "Modifiers",
    "Patient",
    "Severity",
    "Sex",
    "modifiers",
    "patient",
]

_REACH = 6  # words before and after a mention in which its modifiers are looked for
_WIDE = 200  # characters around a mention that are read at most
_BREAKS = frozenset(".;:")
_SIDES = frozenset("lt rt bilat".split())  # noqa: SIM905
_OTHERS = frozenset("and or but with".split())  # noqa: SIM905
_WEEKS = re.compile(
    r"\b(\d{1,2})(?:\s?[+&w]\s?\d(?:\s?/\s?7|d)?| \d/7)?[\s-]*(?:weeks?|wks?|w)?\b['\u2019\s-]*"
    r"(?:(?:of |by )?(?:gestation|gestational|ga\b|pregnan|iup|intrauterine))",
    re.IGNORECASE,
)
_PREGNANT_AT = re.compile(
    r"\b(?:pregnan\w+|gestation\w*(?: age)?|ega|ga|iup|g\d+\s?p\d+)\b[\s:,]*"
    r"(?:(?:at|of|is|with)\s+)?(\d{1,2})(?:\s?[+w]\s?\d)?[\s-]*(?:weeks?|wks?|w)\b",
    re.IGNORECASE,
)
_LONGEST_PREGNANCY = 45


class Laterality(Enum):
    """The side of the body."""

    LEFT = "left"
    RIGHT = "right"
    BILATERAL = "bilateral"


class Acuity(Enum):
    """The course of a condition."""

    ACUTE = "acute"
    CHRONIC = "chronic"
    ACUTE_ON_CHRONIC = "acute on chronic"
    SUBACUTE = "subacute"
    RECURRENT = "recurrent"


class Severity(Enum):
    """How bad a condition is."""

    MILD = "mild"
    MODERATE = "moderate"
    SEVERE = "severe"


class Encounter(Enum):
    """The encounter that a 7th character tells: active treatment, after it, late effects."""

    INITIAL = "initial"
    SUBSEQUENT = "subsequent"
    SEQUELA = "sequela"


@dataclass(frozen=True, slots=True)
class Modifiers:
    """What the words in and around a mention say of it; None where they say nothing.

    Attributes:
        trimester: 1, 2 or 3; follows from the weeks where only these are stated
            (ICD-10-CM chapter 15: second from 14 weeks 0 days, third from 28 weeks 0 days).
        weeks: completed weeks of gestation.
    """

    laterality: Laterality | None = None
    acuity: Acuity | None = None
    severity: Severity | None = None
    encounter: Encounter | None = None
    trimester: int | None = None
    weeks: int | None = None


def modifiers(text: str, segment: Segment, begin: int, end: int) -> Modifiers:
    """Return the modifiers of a mention (begin, end in the text) within its segment.

    What stands in the mention counts first, then what stands nearest in the same clause.
    """
    left, right = max(segment.begin, begin - _WIDE), min(segment.end, end + _WIDE)
    words = Words.of(text, left, right)
    first = sum(place <= begin for place in words.ends)
    last = sum(place < end for place in words.begins)
    lowest, highest = _clause(words.forms, first, last)
    best: dict[str, tuple[int, str]] = {}
    for start, stop, (attribute, value) in _phrases().find(words.forms):
        if not value:
            continue
        distance = _distance(words.forms, start, stop, first, last)
        if attribute != "encounter" and (start < lowest or stop > highest):
            continue
        if attribute not in best or distance < best[attribute][0]:
            best[attribute] = (distance, value)
    weeks = _weeks(text[left:right])
    stated = best.get("trimester")
    return Modifiers(
        laterality=_member(Laterality, best.get("laterality")),
        acuity=_member(Acuity, best.get("acuity")),
        severity=_member(Severity, best.get("severity")),
        encounter=_member(Encounter, best.get("encounter")),
        trimester=int(stated[1]) if stated else _trimester(weeks),
        weeks=weeks,
    )


def _clause(forms: list[str], first: int, last: int) -> tuple[int, int]:
    """Return the words around a mention that may belong to it."""
    lowest, highest = first, last
    while lowest > 0 and first - lowest < _REACH and not _breaks(forms, lowest - 1):
        lowest -= 1
    while highest < len(forms) and highest - last < _REACH and not _breaks(forms, highest):
        highest += 1
    return lowest, highest


def _breaks(forms: list[str], place: int) -> bool:
    """Return whether a sign ends a clause; the full stop of ``Rt.`` does not."""
    return forms[place] in _BREAKS and not (place and forms[place - 1] in _SIDES)


def _distance(forms: list[str], start: int, stop: int, first: int, last: int) -> int:
    """Return how far words are from a mention; a comma or "and" between makes it farther."""
    if start >= first and stop <= last:
        return 0
    if stop <= first:
        between, after = forms[stop:first], 0
    elif start >= last:
        between, after = forms[last:start], 1
    else:
        return 0
    joints = sum(form in _OTHERS or form == "," for form in between)
    return 1 + 2 * len(between) + after + 4 * joints


_Value = TypeVar("_Value", bound=Enum)


def _member(kind: type[_Value], found: tuple[int, str] | None) -> _Value | None:
    return None if found is None else kind(found[1])


def _weeks(part: str) -> int | None:
    match = _WEEKS.search(part) or _PREGNANT_AT.search(part)
    weeks = int(match[1]) if match else 0
    return weeks if 0 < weeks <= _LONGEST_PREGNANCY else None


def _trimester(weeks: int | None) -> int | None:
    if weeks is None:
        return None
    return 1 if weeks < 14 else 2 if weeks < 28 else 3


@lru_cache(maxsize=1)
def _phrases() -> Phrases[tuple[str, str]]:
    return Phrases((words, (attribute, value)) for words, attribute, value, _ in rows("modifiers"))
