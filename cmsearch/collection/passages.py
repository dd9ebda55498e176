"""A note in passages: a few sentences of one section each, the last one repeated."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from cmsearch.notes.layout import segments

# About 60 words: enough for a finding and what is said of it, and short enough that one
# vector still says what it is about.
WIDTH = 360
# A sentence of more characters is cut at a blank.
_LONGEST = 720


@dataclass(frozen=True, slots=True)
class Passage:
    """A stretch of a note: where it stands, in code points, and in what section."""

    begin: int
    end: int
    section: str


def passages(text: str) -> list[Passage]:
    """Return the passages of a note, in its order; none for a blank note.

    Each is a run of sentences of one section, about 360 characters wide, and begins with
    the last sentence of the one before. Every word of the note stands in one of them.
    """
    found: list[Passage] = []
    held: list[Passage] = []
    for piece in _pieces(text):
        if held and piece.section != held[-1].section:
            found.append(_joined(held))
            held = []
        elif held and piece.end - held[0].begin > WIDTH:
            found.append(_joined(held))
            last = held[-1]
            short = len(held) > 1 and piece.end - last.begin <= WIDTH
            held = [last] if short else []
        held.append(piece)
    if held:
        found.append(_joined(held))
    return found


def _joined(pieces: list[Passage]) -> Passage:
    return Passage(pieces[0].begin, pieces[-1].end, pieces[0].section)


def _pieces(text: str) -> Iterator[Passage]:
    """Yield the sentences and items of a note; long ones in parts."""
    for segment in segments(text):
        begin = segment.begin
        while segment.end - begin > _LONGEST:
            blank = text.rfind(" ", begin + 1, begin + _LONGEST)
            cut = blank if blank > begin else begin + _LONGEST
            yield Passage(begin, cut, segment.section)
            begin = cut
        if text[begin : segment.end].strip():
            yield Passage(begin, segment.end, segment.section)
