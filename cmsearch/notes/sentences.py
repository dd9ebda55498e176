"""Sentences and numbered points of a paragraph, robust to shorthand, decimals and lists."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cmsearch.notes.rules import abbreviations

BULLET = re.compile(
    r"(?:[\-*+o\u2022\u00b7\u25aa\u25cf\u25e6\u2023\u2013\u2014\u27a2\u2713>~#]{1,3}|"
    r"\(?\d{1,3}[.)]|\(?[a-zA-Z][.)]|\(?[ivx]{1,4}[.)]|\[[ xX]?\])\s+"
)
_NUMBERED = re.compile(r"(?<![^\s.;:,])\(?(\d{1,2})[.)]\s+(?=[^\W\d_])")
_STOP = re.compile(
    r"""(?<![.!?])[.!?]++["')\]\u201d\u2019]*+(?=\s)|(?<=[a-z]{2})\.(?=[A-Z][a-z])"""
)
_LETTERED = frozenset(
    "type grade stage group class hepatitis vitamin influenza factor protein category".split()  # noqa: SIM905
)


def sentences(text: str, begin: int, end: int) -> Iterator[tuple[int, int]]:
    """Yield the sentences and numbered points of a paragraph."""
    marks = _numbered(text, begin, end)
    starts = {mark for mark, _ in marks}
    inside = {place for mark, after in marks for place in range(mark, after)}
    cuts = sorted(
        starts
        | {
            stop.end()
            for stop in _STOP.finditer(text, begin, end)
            if stop.start() not in inside and _ends_sentence(text, begin, stop)
        }
    )
    bullet = BULLET.match(text, begin, end)
    floor = bullet.end() if bullet else begin
    place = begin
    for cut in (*cuts, end):
        if cut < floor:
            continue
        left, right = trimmed(text, place, cut)
        if left < right:
            yield left, right
        place = cut


def _numbered(text: str, begin: int, end: int) -> list[tuple[int, int]]:
    """Return where points 1, 2, 3, ... begin and their words begin, if there are two."""
    found: list[tuple[int, int]] = []
    for match in _NUMBERED.finditer(text, begin, end):
        if int(match[1]) == len(found) + 1:
            found.append(match.span())
    return found if len(found) > 1 else []


def _ends_sentence(text: str, begin: int, stop: re.Match[str]) -> bool:
    """Return whether a full stop (or !, ?) with a blank after it ends a sentence."""
    place = stop.start()
    before = text[max(begin, place - 16) : place]
    if stop[0] == "?" and (not before or before[-1] in " \t\n("):
        return False  # ``? pneumonia``
    if not stop[0].startswith(".") or not before:
        return True
    words = before.split()
    if not words:
        return True
    word = words[-1].lower().lstrip("([\"'")
    follows = text[stop.end() : stop.end() + 8].lstrip()[:1]
    if len(word) == 1 and word.isalpha():
        return len(words) > 1 and words[-2].lower() in _LETTERED
    always = abbreviations().get(word)
    if always is None:
        return not (word == "no" and follows.isdigit())
    return not always and follows.isupper()


def trimmed(text: str, begin: int, end: int) -> tuple[int, int]:
    """Return two places without the blanks between them and the words."""
    part = text[begin:end]
    lead = len(part) - len(part.lstrip())
    return (begin + lead, begin + len(part.rstrip())) if lead < len(part) else (begin, begin)
