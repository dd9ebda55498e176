"""Codes that the notes of the tabular list point to: ``(J20.-)``, ``(E08-E13 with .42)``.

The grammar is that of the printed list: codes in parentheses, a dash for whatever
follows, ranges by a hyphen or ``to``, and a tail that asks for certain characters. Source:
ICD-10-CM Official Guidelines, sections I.A.5 to I.A.7, I.A.11 and I.A.12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

_CODE = r"[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4}|\.)?(?![0-9A-Za-z])"
# A second code of a range may follow at once: M05.00 to M05.8A, F10.-F19.-, S32.1--S32.9.
_SPAN = re.compile(rf"\b({_CODE})(?:\.?\s*-+\s*({_CODE})|\.?-?\s+to\s+({_CODE}))?")
_PARENTHESES = re.compile(r"\(([^()]*)\)")
_TAIL = re.compile(r"\bwith\b(.*)", re.DOTALL)
_PLACE = re.compile(r"\b(fifth|5th|sixth|six|6th|seventh|7th|final)\b")
_NUMBERS = {"fifth": 5, "5th": 5, "sixth": 6, "six": 6, "6th": 6, "seventh": 7, "7th": 7}
_VALUES = re.compile(r"(?<![A-Za-z0-9])[.-]?([0-9]{1,4}|[A-Z])(?:-\.?([0-9]{1,4}|[A-Z])\b)?-?")


class Place(Enum):
    """Where a reference asks for certain characters."""

    ANYWHERE = "anywhere"
    AFTER_DOT = "after the dot"
    FIFTH = "fifth"
    SIXTH = "sixth"
    SEVENTH = "seventh"
    INTENT = "intent"
    END = "end"


_AT = {5: Place.FIFTH, 6: Place.SIXTH, 7: Place.SEVENTH}


@dataclass(frozen=True, slots=True)
class Reference:
    """A code or range that a note points to, and the characters that it asks for.

    Attributes:
        first, last: beginnings of undotted codes; equal but for a range.
        place: where ``values`` must stand.
        values: what may stand there; empty where any will do.
    """

    first: str
    last: str
    place: Place = Place.ANYWHERE
    values: tuple[str, ...] = ()

    @property
    def is_range(self) -> bool:
        """Whether this is more than one code with what lies below it."""
        return self.first != self.last

    def covers(self, undotted: str) -> bool:
        """Whether an undotted code is the one meant or lies below it."""
        if undotted[: len(self.first)] < self.first or undotted[: len(self.last)] > self.last:
            return False
        return self.asks(undotted)

    def asks(self, undotted: str) -> bool:
        """Whether an undotted code has the characters asked for, wherever it stands."""
        if self.place is Place.ANYWHERE:
            return True
        if self.place is Place.AFTER_DOT:
            return undotted[3:].startswith(self.values)
        if self.place is Place.END:
            return undotted.endswith(self.values)
        return _at(undotted, self.place) in self.values


def _at(undotted: str, place: Place) -> str:
    """Return the character of a code at a place, empty where there is none.

    The intent of a poisoning (T36-T65) is the last of the first six characters that is no
    placeholder: T36.0X5A, T50.905A, T58.11XA.
    """
    if place is Place.INTENT:
        return undotted[4:6].rstrip("X")[-1:]
    number = {Place.FIFTH: 4, Place.SIXTH: 5, Place.SEVENTH: 6}[place]
    return undotted[number : number + 1]


def references(text: str) -> tuple[Reference, ...]:
    """Return the codes and ranges that a note names, in its order.

    Where parentheses hold codes only those are read: ``vitamin B12 deficiency (E53.8)``.
    A tail that names no characters (``with open fracture 7th character``) cannot be
    checked; what it narrows is left out.
    """
    found = [ref for inside in _PARENTHESES.findall(text) for ref in _within(inside)]
    if not found and "(" not in text:
        found = _within(text)
    elif not found:
        found = _within(_PARENTHESES.sub(" ", text))
    return tuple(dict.fromkeys(found))


def _within(text: str) -> list[Reference]:
    tail = _TAIL.search(text)
    head = text[: tail.start()] if tail and _SPAN.search(text[: tail.start()]) else text
    spans = [
        (match[1].rstrip("."), (match[2] or match[3] or match[1]).rstrip("."))
        for match in _SPAN.finditer(head)
    ]
    if not spans:
        return []
    place, values = _asked(tail[1]) if tail and head != text else (Place.ANYWHERE, ())
    if place is not Place.ANYWHERE and not values:
        return []
    return [
        Reference(first.replace(".", ""), last.replace(".", ""), place, values)
        for first, last in spans
    ]


def _asked(tail: str) -> tuple[Place, tuple[str, ...]]:
    """Return where a tail (``fifth or sixth character 1-4``) asks for what."""
    places = _PLACE.findall(tail)
    values = _values(_PLACE.sub(" ", tail))
    if not places:
        dotted = re.search(r"(?<!\w)\.\d", tail)
        return (Place.AFTER_DOT, values) if dotted else (Place.ANYWHERE, ())
    if "final" in places:
        if re.search(r"\.\d", tail):
            return Place.AFTER_DOT, values
        single = all(len(value) == 1 for value in values)
        return (Place.INTENT if single else Place.END), values
    numbers = [_NUMBERS[name] for name in places]
    if len(numbers) == 1:
        return _AT[numbers[0]], values
    if any(len(value) == 2 for value in values):  # fifth to sixth characters 51
        return Place.END, values
    return Place.INTENT, values


def _values(text: str) -> tuple[str, ...]:
    """Return the characters of a list such as ``1-4 or 6``, ranges written out."""
    found: list[str] = []
    for first, last in _VALUES.findall(text):
        if not last:
            found.append(first)
        elif first.isdigit() and last.isdigit() and len(first) == len(last):
            numbers = range(int(first), int(last) + 1)
            found += [str(number).zfill(len(first)) for number in numbers]
    return tuple(dict.fromkeys(found))
