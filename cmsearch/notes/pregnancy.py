"""What a note of a pregnancy is coded with besides: the week, and the outcome of delivery.

Source: ICD-10-CM Official Guidelines I.C.21.c.11 (weeks of gestation) and I.C.15.b.5 (outcome
of delivery), and the notes at chapter 15 and at Z37.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from cmsearch.codes import Code, System
from cmsearch.notes.linking import Linker
from cmsearch.notes.proposals import Proposal
from cmsearch.notes.reading import Reading
from cmsearch.notes.visit import Stated

_WEEKS = re.compile(
    r"(?<![\d.-])(\d{1,2})(?:\s*(?:\+|&|and)\s*[0-6]|\s+[0-6]/7)?[\s-]*(?:weeks?|wks?)\b"
    r"(?:[\s,]*(?:and\s+)?[0-6]\s*days?\b)?\W{0,3}(?:of\s+|estimated\s+|by\s+)*"
    r"(?:gestation(?:al age)?|pregnan(?:t|cy)|ega|iup|intrauterine pregnancy)\b",
    re.IGNORECASE,
)
_LIVEBORN = re.compile(
    r"\b(?:live[ -]?born|viable|live|living|healthy|vigorous)\s+(?:term\s+|single\s+|singleton\s+)?"
    r"(?:female|male|infant|baby|newborn|neonate|girl|boy)\b",
    re.IGNORECASE,
)
_STILLBORN = re.compile(r"\b(?:still[ -]?born|stillbirth)\b", re.IGNORECASE)
_SEVERAL = re.compile(r"\b(?:twins?|triplets?|quadruplets?)\b", re.IGNORECASE)
_EARLY = ("O00", "O01", "O02", "O03", "O04", "O07", "O08")
_LAST_WEEK = 42


def with_pregnancy(
    found: Sequence[Proposal], reading: Reading, linker: Linker, least: float
) -> list[Proposal]:
    """Return proposals with the codes that a chapter 15 code asks for, as the note states them.

    Args:
        found: the proposals.
        reading: the note.
        linker: gives concepts by code.
        least: the chance from which on a code counts.
    """
    expecting = [
        item.chance
        for item in found
        if item.concept.code.startswith("O")
        and not item.concept.code.startswith(_EARLY)
        and item.chance >= least
        and not item.held_back
    ]
    if not expecting:
        return list(found)
    text = reading.text
    added = list(found)
    weeks = _WEEKS.search(text)
    outcome, code = _LIVEBORN.search(text), "Z37.0"
    if outcome is None:
        outcome, code = _STILLBORN.search(text), "Z37.1"
    if _SEVERAL.search(text):
        outcome = None  # which of several were born alive is for the reader
    for match, value, source in (
        (weeks, _of_week(int(weeks[1])) if weeks else "", "I.C.21.c.11: weeks of gestation"),
        (outcome, code, "I.C.15.b.5: outcome of delivery"),
    ):
        concept = linker.by_code(Code(value, System.ICD10CM)) if match else None
        if match is None or concept is None:
            continue
        begin, end = match.span()
        stated = Stated(concept, 0.0, begin, end, reading.section_at(begin), match[0], "")
        because = f"Official Guidelines {source}"
        added.append(Proposal(concept, max(expecting), stated=(stated,), because=because))
    return added


def _of_week(week: int) -> str:
    """Return the code of a completed week of gestation."""
    if week < 8:
        return "Z3A.01"
    return f"Z3A.{week:02}" if week <= _LAST_WEEK else "Z3A.49"
