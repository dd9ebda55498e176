"""The codes that somebody may have meant: near in spelling, or the header of what was typed."""

from __future__ import annotations

from collections.abc import Sequence

from rapidfuzz import process
from rapidfuzz.distance import OSA

from cmsearch.codes import Code, undot

# Letters typed for digits that look like them.
_LOOKALIKES = str.maketrans("OQILZSB", "0011258")
_POOL = 200


def near(text: str, codes: Sequence[Code], *, limit: int = 5) -> list[Code]:
    """Return the codes that a mistyped one may stand for, the likeliest first.

    First those that look the same (I1O: I10), then the longest code that it begins with
    (E11.99: E11.9), then the codes that begin with it (250: 250.00), then by the number of
    characters to change, exchange, drop or add (optimal string alignment; at most one, or
    two where five or more were typed), exchanged ones first (J81.9: J18.9), then by how
    much of the beginning is the same.

    Args:
        text: what was typed; one character, or more than 12, are near to nothing.
        codes: the codes to choose from.
        limit: the largest number of codes to return.
    """
    typed = undot(text)
    if not 2 <= len(typed) <= 12:
        return []
    spellings = [code.undotted for code in codes]
    cutoff = 2 if len(typed) >= 5 else 1
    matches = process.extract(
        typed, spellings, scorer=OSA.distance, score_cutoff=cutoff, limit=_POOL
    )
    distances = {codes[index]: int(distance) for _, distance, index in matches}
    spelled = sorted(distances, key=lambda code: (distances[code], *_likeness(typed, code)))
    alike = [code for code in spelled if _looks(code.undotted) == _looks(typed)]
    begun, beginning = _along(typed, codes) if "-" not in typed else ([], [])
    return list(dict.fromkeys([*alike, *begun, *beginning, *spelled]))[:limit]


def _along(typed: str, codes: Sequence[Code]) -> tuple[list[Code], list[Code]]:
    """Return the longest code that the text begins with, and all that begin with it."""
    begun = [code for code in codes if typed.startswith(code.undotted) and len(code.undotted) > 2]
    beginning = [code for code in codes if code.undotted.startswith(typed) and not code.is_range]
    longest = sorted(begun, key=lambda code: len(code.undotted))[-1:]
    return longest, sorted(beginning, key=lambda code: (len(code.undotted), code))


def _looks(spelling: str) -> str:
    return spelling.translate(_LOOKALIKES)


def _likeness(typed: str, code: Code) -> tuple[bool, int, int, Code]:
    """Return what orders codes at one distance: exchanged, same beginning, short, spelling."""
    spelling = code.undotted
    pairs = zip(typed, spelling, strict=False)
    shared = next((i for i, (a, b) in enumerate(pairs) if a != b), min(len(typed), len(spelling)))
    return (sorted(typed) != sorted(spelling), -shared, len(spelling), code)
