"""The problems that a visit note is about: the short statements of its diagnosis sections."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from cmsearch.notes.layout import Kind, Segment

# Sections that list what was found to be the case (Guidelines section IV.G: code what the
# encounter was for, and IV.J: coexisting conditions that were treated).
DIAGNOSES = frozenset(
    (
        "assessment",
        "diagnoses",
        "discharge diagnoses",
        "postoperative diagnosis",
        "admission diagnoses",
        "problem list",
    )
)
_LONGEST = 120
_MOST_WORDS = 14
_LEAD = re.compile(r"\s*(?:[-*\u2022\u00b7\u25cf\u2013>#]+\s*|\(?\d{1,2}[.)]\s*)*")
_LABEL = re.compile(r"^[A-Z][A-Za-z ]{2,40}:")
# Words of sentences about what was done; a problem is named without them.
_SPOKEN = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|should|can|could|may|i|we|he|she|they|you|"
    r"please|continue|start|follow|return|recommend\w*|discuss\w*|advised?|ordered?|given|"
    r"presents?|reports?|understands?|agrees?|mg|daily|tablets?)\b",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem as the note names it.

    Attributes:
        begin, end: where its words stand, in Unicode code points of the text.
        segment: the segment that states it.
    """

    begin: int
    end: int
    segment: Segment


def problems(text: str, segments: Sequence[Segment]) -> list[Problem]:
    """Return the problems of a note, in its order; none for a note without such sections."""
    found = []
    for part in segments:
        if part.section not in DIAGNOSES or part.kind is Kind.HEADING:
            continue
        if not _opens_line(text, part.begin):
            continue
        begin = part.begin + len(_LEAD.match(text[part.begin : part.end])[0])  # type: ignore[index]
        end = begin + len(text[begin : part.end].rstrip(" .:;,\n\r\t"))
        stated = text[begin:end]
        if (
            0 < len(stated) <= _LONGEST
            and len(stated.split()) <= _MOST_WORDS
            and not _LABEL.match(stated)
            and not _SPOKEN.search(stated)
        ):
            found.append(Problem(begin, end, part))
    return found


def _opens_line(text: str, place: int) -> bool:
    before = text[max(0, place - 200) : place]
    return not before.rpartition("\n")[2].strip()
