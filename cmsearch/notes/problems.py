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
_FAR = 200
_LONGEST = 120
_MOST_WORDS = 14
_LEAD = re.compile(
    r"\s*(?:#\d{1,2}[.):]?\s+|[-*\u2022\u00b7\u25cf\u2013>#]+\s*|\(?\d{1,2}[.)]\s*)*"
)
_LABEL = re.compile(r"^[A-Z][A-Za-z ]{2,40}:")
# A numbered problem before its plan: "# AKI: hold lisinopril".
_LABELLED = re.compile(
    r"\s*(?:#\d{0,2}[.):]?|\(?\d{1,2}[.)])\s*([A-Z][\w ,/()'-]{1,60}?)\s*:(?=\s+\S)"
)
_NO_PROBLEM = re.compile(
    r"\b(?:ppx|prophylaxis|diet|fen|dispo\w*|code|labs?|imaging|follow|activity|medications?|meds|plan|"
    r"neuro|cv|resp|pulm|gi|gu|renal|id|heme|onc|endo|psych|msk|access|lines?|contact|goals?|social|"
    r"vaccin\w+|immuniz\w+|screening|assessment|diagnos[ei]s|impression|education|instructions?)\b",
    re.IGNORECASE,
)
# What lists of problems end with: how far to go, and how the patient eats and moves.
_STANDING = re.compile(
    r"full code|code status\b.*|(?:regular|cardiac|renal) diet|npo", re.IGNORECASE
)
# Words of sentences about what was done; a problem is named without them.
_SPOKEN = re.compile(
    r"\b(?:is|are|was|were|has|have|had|will|would|should|can|could|may|i|we|he|she|they|you|"
    r"please|continue|start|follow|return|recommend\w*|discuss\w*|advised?|ordered?|given|"
    r"presents?|reports?|show(?:s|ed)|reveal(?:s|ed)|demonstrat(?:es|ed)|understands?|agrees?|mg|daily|tablets?)\b",
    re.IGNORECASE,
)
# What parts a problem from its plan: "COPD exacerbation - start prednisone".
_PLAN = re.compile(r"\s+[-\u2013\u2014>]+\s+")
_NUMBER = re.compile(r"\(?\d{1,2}[.)]\s|#\d{1,2}[.):]?\s")
_WITHOUT = re.compile(r"\s+without\s", re.IGNORECASE)
# What opens a statement that is no problem of the patient's.
_NONE_OF_THEIRS = re.compile(
    r"(?:no|normal|negative|without|unremarkable|none|same|family history|fh|father|mother|"
    r"brother|sister|parents?|son|daughter|aunt|uncle|grand(?:father|mother|parents?))\b",
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

    def overlaps(self, other: Problem) -> bool:
        """Return whether a word belongs to both."""
        return self.begin < other.end and other.begin < self.end


def problems(text: str, segments: Sequence[Segment]) -> list[Problem]:
    """Return the problems of a note, in its order; none for a note without such sections."""
    found = []
    headed = -1  # where the heading before a segment ends
    for part in segments:
        if part.kind is Kind.HEADING:
            headed = part.end
        if part.section not in DIAGNOSES or part.kind is Kind.HEADING:
            continue
        numbered = _NUMBER.match(text, part.begin, part.end)
        if not numbered and not _opens_line(text, max(headed, 0), part.begin):
            continue
        begin = part.begin + len(_LEAD.match(text[part.begin : part.end])[0])  # type: ignore[index]
        end = begin + len(text[begin : part.end].rstrip(" .:;,\n\r\t"))
        stated = text[begin:end]
        label = _LABELLED.match(text, part.begin, part.end)
        if label is not None and not _NO_PROBLEM.search(label[1]):
            end = label.end(1)
            stated = text[begin:end]
        plan = _PLAN.search(stated)
        if plan is not None and _SPOKEN.search(stated, plan.end()):
            end = begin + plan.start()
            stated = text[begin:end]
        if (
            0 < len(stated) <= _LONGEST
            and len(stated.split()) <= _MOST_WORDS
            and not _LABEL.match(stated)
            and not _SPOKEN.search(stated)
            and not _STANDING.fullmatch(stated)
            and not _NONE_OF_THEIRS.match(stated)
        ):
            found.append(Problem(begin, end, part))
    return found


def itself(text: str, problem: Problem) -> tuple[int, int]:
    """Return begin and end of a problem up to what it goes without, which denies no more."""
    without = _WITHOUT.search(text, problem.begin, problem.end)
    return problem.begin, without.start() if without else problem.end


def _opens_line(text: str, headed: int, place: int) -> bool:
    """Whether nothing but a heading stands before a place on its line."""
    before = text[max(headed, place - _FAR, 0) : place]
    if headed <= place - _FAR:
        return not before.rpartition("\n")[2].strip()
    return not before.rpartition("\n")[2].strip(" \t:-*_#")
