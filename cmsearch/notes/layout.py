"""The layout of a note: sections, and in them sentences, list items, cells and headings.

Every step walks over the text once, and looks back from a place by a fixed number of
characters only, so that a record of any size takes time in proportion to it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from itertools import chain

from cmsearch.notes.headings import BODY_SYSTEM, find_headings
from cmsearch.notes.rules import classes, closed_by
from cmsearch.notes.sentences import BULLET, sentences, trimmed

_LINE = re.compile(r"[^\n\r\v\f\x1c-\x1e\x85\u2028\u2029]+")
_ENDS = re.compile(r"\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")
_TAG = re.compile(
    r"</?(?:br|p|div|li|ul|ol|tr|td|th|table|tbody|thead|h[1-6]|html|head|body)\b[^<>]{0,200}>",
    re.IGNORECASE,
)
_CELL = re.compile(r"[^|\t]+")
_UNFINISHED = re.compile(
    r"(?:[,;(\-/&\u2013]|\b(?:and|or|of|the|a|an|with|to|in|for|his|her)|\w \b(?:no|is|was))$",
    re.IGNORECASE,
)
_LETTERS = re.compile(r"[a-z]+")
_NARROW = 40  # a block of lines that are all shorter is a list, not wrapped prose


class Kind(Enum):
    """What a segment is in the layout."""

    SENTENCE = "sentence"
    ITEM = "item"
    CELL = "cell"
    HEADING = "heading"


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a note that is read on its own.

    Attributes:
        begin, end: where it stands, in Unicode code points of the text.
        section: canonical name of its section (``family history``), empty for none.
        kind: sentence, item of a list, cell of a table, or heading.
    """

    begin: int
    end: int
    section: str
    kind: Kind


@dataclass(frozen=True, slots=True)
class _Line:
    """A line without the blanks around it, and the block of lines that it stands in.

    ``width`` is the longest line of the block; ``wrapped`` says that several are so long.
    """

    begin: int
    end: int
    indent: int
    first: bool
    width: int = 0
    wrapped: bool = False
    alone: bool = False


@dataclass(frozen=True, slots=True)
class _Piece:
    """A part of a line; ``line`` is the line that it ends, None if it ends before."""

    segment: Segment
    opens_line: bool
    line: _Line | None


def segments(text: str) -> list[Segment]:
    """Return the segments of a note, in order; they never overlap.

    Every character is in one of them, but for blanks around them, signs between cells
    and tags that end a line.
    """
    found: list[Segment] = []
    for piece in _joined(text, _pieces(text)):
        if piece.kind is Kind.HEADING:
            found.append(piece)
            continue
        for begin, end in sentences(text, piece.begin, piece.end):
            found.append(Segment(begin, end, piece.section, piece.kind))
    return found


def _blocks(text: str) -> Iterator[list[_Line]]:
    """Yield the lines between blank lines."""
    block: list[_Line] = []
    last = 0
    for start, stop in _raw_lines(text):
        begin, end = trimmed(text, start, stop)
        if begin == end:
            continue
        if block and _gap(text, last, begin):
            yield _measured(block)
            block = []
        block.append(_Line(begin, end, begin - start, first=not block))
        last = end
    if block:
        yield _measured(block)


def _raw_lines(text: str) -> Iterator[tuple[int, int]]:
    """Yield what stands between line ends, and between tags that end a line in HTML."""
    for match in _LINE.finditer(text):
        place, end = match.span()
        if text.find("<", place, end) != -1:
            for tag in _TAG.finditer(text, place, end):
                yield place, tag.start()
                place = tag.end()
        yield place, end


def _gap(text: str, last: int, begin: int) -> bool:
    """Return whether a blank line stands between two places."""
    if begin - last == 1:
        return False
    ends = _ENDS.finditer(text, last, begin)
    next(ends, None)
    return next(ends, None) is not None


def _measured(block: list[_Line]) -> list[_Line]:
    width = max(line.end - line.begin for line in block)
    long = sum(line.end - line.begin > 0.8 * width for line in block)
    wrapped, alone = long > 1 and width >= _NARROW, len(block) == 1
    return [
        _Line(line.begin, line.end, line.indent, line.first, width, wrapped, alone)
        for line in block
    ]


def _pieces(text: str) -> Iterator[_Piece]:
    """Yield headings, and what stands between them in each line."""
    section, place, last = "", 0, 0
    for line in chain.from_iterable(_blocks(text)):
        headings = find_headings(text, line.begin, line.end)
        if section == "family history" and not headings and _leaves_family(text, last, line):
            section = ""
        place, last = line.begin, line.end
        for heading in headings:
            yield from _between(text, place, heading.begin, section, line)
            if heading.begin == heading.end:
                section = _after_label(section, heading.section)
                continue
            section, place = heading.section, heading.end
            last = 0 if heading.end == line.end else last
            begin, end = trimmed(text, heading.begin, heading.end)
            yield _Piece(Segment(begin, end, section, Kind.HEADING), True, None)
        yield from _between(text, place, line.end, section, line)


def _after_label(section: str, label: str) -> str:
    """Return the section after a label that opens none itself."""
    if label == BODY_SYSTEM:
        if section == "vital signs":
            return "exam"
        return "" if section in closed_by("body systems") else section
    return "" if section in closed_by("unknown") else section


def _leaves_family(text: str, last: int, line: _Line) -> bool:
    """Return whether a line after a finished one (it ends at ``last``) is of no relative.

    Many notes have no heading after ``Family history: ...``, and go on with the patient.
    """
    if not last or (text[last - 1] not in ".!?" and not line.first):
        return False
    if BULLET.match(text, line.begin, line.end):
        return False
    words = _LETTERS.findall(text[line.begin : line.end].lower())
    return classes()["relative"].isdisjoint(words) and "family" not in words


def _between(text: str, begin: int, end: int, section: str, line: _Line) -> Iterator[_Piece]:
    """Yield the item, the cells or the prose between two places of a line."""
    begin, end = trimmed(text, begin, end)
    if begin == end:
        return
    opens, closing = begin == line.begin, line if end == line.end else None
    bullet = BULLET.match(text, begin, end)
    inner = bullet.end() if bullet else begin
    if text.find("\t", inner, end) == -1 and text.find("|", inner, end) == -1:
        kind = Kind.ITEM if bullet and opens else Kind.SENTENCE
        yield _Piece(Segment(begin, end, section, kind), opens, closing)
        return
    for cell in _CELL.finditer(text, begin, end):
        left, right = trimmed(text, cell.start(), cell.end())
        if left < right:
            yield _Piece(Segment(left, right, section, Kind.CELL), opens, None)


def _joined(text: str, pieces: Iterator[_Piece]) -> Iterator[Segment]:
    """Yield headings, cells, items and paragraphs: lines that go on are put together."""
    held: _Piece | None = None
    single = True
    for piece in pieces:
        if held is not None and _goes_on(text, held, piece):
            joint = Segment(
                held.segment.begin, piece.segment.end, held.segment.section, held.segment.kind
            )
            held, single = _Piece(joint, held.opens_line, piece.line), False
            continue
        if held is not None:
            yield _as_item(text, held) if single else held.segment
        held, single = piece, True
    if held is not None:
        yield _as_item(text, held) if single else held.segment


def _as_item(text: str, piece: _Piece) -> Segment:
    """Return a short line without a full stop, one of several, as an item."""
    segment, line = piece.segment, piece.line
    if (
        segment.kind is not Kind.SENTENCE
        or line is None
        or line.alone
        or not piece.opens_line
        or segment.end - segment.begin > 2 * _NARROW
        or text[segment.end - 1] in ".!?:"
    ):
        return segment
    return Segment(segment.begin, segment.end, segment.section, Kind.ITEM)


def _goes_on(text: str, held: _Piece, piece: _Piece) -> bool:
    """Return whether a piece is the wrapped rest of the one before."""
    last, line, new = held.line, piece.line, piece.segment
    if last is None or not piece.opens_line or new.kind is not Kind.SENTENCE:
        return False
    if line is None or line.first or new.section != held.segment.section:
        return False
    if held.segment.kind is Kind.ITEM and line.indent > last.indent:
        return True
    if _UNFINISHED.search(text, max(last.begin, last.end - 6), last.end):
        return True
    if line.width < _NARROW:
        return False
    if text[new.begin].islower():
        return True
    word = text[new.begin : new.begin + _NARROW].split(None, 1)[0]
    return line.wrapped and last.end - last.begin + 1 + len(word) > 0.9 * line.width
