"""A note cut into stretches, each with the suggestions that it supports: what pages show."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cmsearch.types import Assertion, Mention

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")
_DIRECTION = re.compile(r"[\u202a-\u202e\u2066-\u2069]")


@dataclass(frozen=True, slots=True)
class Stretch:
    """A stretch of a note.

    Attributes:
        begin, end: where it stands, in code points.
        ranks: the ranks of the suggestions that it supports, or numbers of mentions.
        assertion: what the note says of it; None for a stretch that supports nothing.
        last: the ranks whose mention ends here.
    """

    begin: int
    end: int
    ranks: tuple[int, ...] = ()
    assertion: Assertion | None = None
    last: tuple[int, ...] = ()


def stretches(length: int, mentions: Iterable[tuple[int, Mention]]) -> Iterator[Stretch]:
    """Yield a note in stretches that cover it from begin to end, cut where a mention is.

    Where mentions overlap, the shortest one gives the assertion.

    Args:
        length: how many code points the note has.
        mentions: numbers, such as the ranks of suggestions, with mentions that support them.
    """
    clipped = (
        (max(0, mention.begin), min(length, mention.end), number, mention)
        for number, mention in mentions
    )
    inside = [place for place in clipped if place[0] < place[1]]
    starting: dict[int, list[int]] = {}
    for place, (begin, _, _, _) in enumerate(inside):
        starting.setdefault(begin, []).append(place)
    cuts = sorted({0, length, *(cut for begin, end, _, _ in inside for cut in (begin, end))})
    held: list[int] = []
    for begin, end in zip(cuts, cuts[1:], strict=False):
        held = [place for place in held if inside[place][1] > begin] + starting.get(begin, [])
        if not held:
            yield Stretch(begin, end)
            continue
        nearest = min(held, key=lambda place: inside[place][1] - inside[place][0])
        yield Stretch(
            begin,
            end,
            tuple(sorted({inside[place][2] for place in held})),
            inside[nearest][3].assertion,
            tuple(sorted({inside[place][2] for place in held if inside[place][1] == end})),
        )


def printable(text: str, *, directions: bool = True) -> str:
    """Return a text without characters that command a terminal or break a page.

    Control characters and halves of surrogate pairs become U+FFFD; line ends and tabs stay.

    Args:
        text: any text.
        directions: keep the characters that turn the direction of writing.
    """
    text = _CONTROL.sub("\ufffd", text.replace("\r\n", "\n").replace("\r", "\n"))
    return text if directions else _DIRECTION.sub("", text)
