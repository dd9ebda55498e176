"""Headings of notes: found in a line by their words, however they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from cmsearch.notes.rules import rows

LONGEST = 60  # characters of a heading
BODY_SYSTEM = "*"  # a label within a section: ``Lungs:``
_NEUTRAL = "="  # a label that says nothing of sections: ``Mother:``
_NONE = ("", BODY_SYSTEM, _NEUTRAL)
_DECORATION = re.compile(r"[#*_=>\-\u2022\s]*(?:\d{1,2}[.)]\s+)?[*_]*")
_CAPITALS = re.compile(r"(?:[A-Z][A-Z/&.\-]* ){0,4}[A-Z][A-Z/&.\-]*$")
_LEADING = re.compile(r"[A-Z][A-Z/&\-]+(?: [A-Z/&][A-Z/&\-]*){0,6}(?=\s)")
_DASH = re.compile(r"\s[\-\u2013\u2014]+\s")
_FILLERS = re.compile(r"\b(?:the|this|brief|gross|detailed|in detail)\b|\(\w{1,3}\)|#\d*|[\[\]()]")
_JOINTS = frozenset(
    "of is was and for with in on by to from at as were are or has reveals revealed shows"  # noqa: SIM905
    " showed demonstrates demonstrated includes included".split()
)
_SHORT = frozenset("PMH PMHX PSH PSHX HPI ROS FHX SHX PMHx PSHx FHx SHx".split())  # noqa: SIM905
_BREAKS = (". ", "; ", "  ", "\t", "! ", "| ")


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading and its section; one without words (begin = end) may only end a section."""

    begin: int
    end: int
    section: str


@lru_cache(maxsize=1)
def known() -> dict[str, str]:
    """Return the section of every known heading, by its label."""
    return {label(heading): section for heading, section, _ in rows("headings")}


def label(words: str) -> str:
    """Return a heading without what differs between writers: case, dots, hyphens, fillers."""
    plain = words.lower().replace("&", " and ").replace(".", "").replace("-", " ")
    plain = _FILLERS.sub(" ", plain.replace("'", "").replace("/", " / ")).strip(" *_=>:\t")
    return " ".join(plain.split()).replace(" / ", "/")


def find_headings(text: str, begin: int, end: int) -> list[Heading]:
    """Return the headings in a line, from left to right.

    An unknown heading in capitals at the beginning of the line, and a body system, come
    without words: they stay with what follows, but some sections end there.
    """
    first = _at_start(text, begin, end)
    found = [first] if first is not None else []
    found += _inside(text, first.end if first is not None else begin, begin, end)
    return found


def _section(words: str) -> str:
    return known().get(label(words), "") if len(words) <= LONGEST else ""


def _at_start(text: str, begin: int, end: int) -> Heading | None:
    decoration = _DECORATION.match(text, begin, min(end, begin + LONGEST))
    start = decoration.end() if decoration else begin
    head = text[start : min(end, start + LONGEST + 1)]
    if not head or not head[0].isalpha():
        return None
    if ":" in head:
        words = head[: head.index(":")]
        section = _section(words)
        if section in (BODY_SYSTEM, _NEUTRAL):
            return Heading(begin, begin, section) if section == BODY_SYSTEM else None
        stop = start + len(words) + 1
        if section:
            return Heading(begin, _after_marks(text, stop, end), section)
        capital = words.isupper() and len(words) > 3
        return Heading(begin, begin, "") if capital else None
    if end - start <= LONGEST and head[0].isupper():
        section = _section(head)
        if section not in _NONE and len(label(head)) > 2:
            return Heading(begin, end, section)
    return _without_colon(text, begin, start, head)


def _without_colon(text: str, begin: int, start: int, head: str) -> Heading | None:
    """Find ``IMPRESSION - ...``, ``PLAN Continue ...`` and ``PMH HTN ...``."""
    dash = _DASH.search(head)
    if dash is not None and head[0].isupper():
        section = _section(head[: dash.start()])
        if section not in _NONE and dash.start() > 2:
            return Heading(begin, start + dash.end(), section)
    capitals = _LEADING.match(head)
    if capitals is None:
        return None
    run = capitals[0].split(" ")
    following = head[capitals.end() :].split(None, 1)
    if following and following[0] not in _JOINTS:
        section = _section(capitals[0])
        if section not in _NONE and len(capitals[0]) > 3:
            return Heading(begin, start + capitals.end(), section)
    if run[0] in _SHORT:
        return Heading(begin, start + len(run[0]), _section(run[0]))
    return None


def _inside(text: str, floor: int, begin: int, end: int) -> Iterator[Heading]:
    """Yield headings with a colon after the beginning of a line."""
    colon = text.find(":", floor, end)
    while colon != -1:
        start = max(floor, colon - LONGEST)
        window = text[start:colon]
        heading = None
        if start == floor > begin:  # right after another heading
            heading = _capital_heading(window, start, colon)
        if heading is None:
            heading = _after_break(window, start, colon) or _in_capitals(window, start, colon)
        if heading is not None:
            stop = _after_marks(text, heading.end, end)
            yield Heading(heading.begin, stop, heading.section)
            floor = stop
        colon = text.find(":", max(colon + 1, floor), end)


def _after_break(window: str, start: int, colon: int) -> Heading | None:
    """Find a heading after the end of a sentence or a gap."""
    places = [window.rfind(sign) + len(sign) for sign in _BREAKS if sign in window]
    if not places:
        return None
    return _capital_heading(window[max(places) :], start + max(places), colon)


def _capital_heading(words: str, start: int, colon: int) -> Heading | None:
    lead = len(words) - len(words.lstrip(" \t*_"))
    words = words[lead:]
    section = _section(words)
    if section in _NONE or not words[0].isupper() or len(words) < 2:
        return None
    return Heading(start + lead, colon + 1, section)


def _in_capitals(window: str, start: int, colon: int) -> Heading | None:
    """Find a heading in capitals amid other words: the longest that is known."""
    run = _CAPITALS.search(window[-40:])
    if run is None:
        return None
    words = run[0]
    while words:
        section = _section(words)
        if section not in _NONE and len(words) > 1:
            return Heading(start + len(window) - len(words), colon + 1, section)
        words = words.partition(" ")[2]
    return None


def _after_marks(text: str, place: int, end: int) -> int:
    """Return the place after marks that close a bold heading."""
    while place < end and text[place] in "*_":
        place += 1
    return place
