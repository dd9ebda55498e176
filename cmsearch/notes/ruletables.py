"""Coding rules that are data: rows of tab-separated files, each with its source.

Codes are written as in the notes of the tabular list: ``A15-A19, B90, C34``. A dash alone
stands for none. ``MCE`` in a source is a concept of the Medicare Code Editor, what begins
with a Roman number a section of the ICD-10-CM Official Guidelines.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from cmsearch.codes import Code, System
from cmsearch.notes.noterefs import Reference, references
from cmsearch.notes.rules import rows

# Tables whose second field holds the codes; the first of the others.
_SECOND = ("patients", "sequences")
TABLES = ("givesway", "histories", "pairs", "patients", "sequences", "symptoms")


@dataclass(frozen=True, slots=True)
class Row:
    """One row of a table: the codes that it is about, its other fields, its source."""

    references: tuple[Reference, ...]
    fields: tuple[str, ...]
    source: str

    def covers(self, undotted: str) -> bool:
        """Whether the row is about a code."""
        return any(reference.covers(undotted) for reference in self.references)


@dataclass(frozen=True, slots=True)
class Combination:
    """Two codes that one combination code stands for."""

    partners: tuple[Reference, ...]
    instead: Code
    source: str


@lru_cache(maxsize=20_000)
def combinations(undotted: str) -> tuple[Combination, ...]:
    """Return what a code makes with others."""
    return tuple(
        Combination(_codes(partners), Code.of(System.ICD10CM, instead), row.source)
        for row in _about("pairs", undotted)
        for partners, instead in [row.fields]
    )


def history(undotted: str, *, family: bool) -> Code | None:
    """Return the code of the personal or family history of a condition; the first row counts."""
    for row in _about("histories", undotted):
        found = row.fields[1 if family else 0]
        return Code.of(System.ICD10CM, found) if found != "-" else None
    return None


def patient_facts(undotted: str) -> tuple[tuple[str, str], ...]:
    """Return what a code says of its patient (female, male, newborn, ...), with the sources."""
    return tuple((row.fields[0], row.source) for row in _about("patients", undotted))


def place(undotted: str) -> tuple[tuple[str, str], ...]:
    """Return whether a code is ``never-first`` or ``only-first``, with the sources."""
    return tuple((row.fields[0], row.source) for row in _about("sequences", undotted))


@lru_cache(maxsize=20_000)
def explanations(undotted: str) -> tuple[tuple[Reference, ...], ...]:
    """Return the diagnoses that a symptom belongs to, a tuple for each row about it."""
    return tuple(_codes(row.fields[0]) for row in _about("symptoms", undotted))


def gives_way(undotted: str) -> tuple[tuple[tuple[Reference, ...], str], ...]:
    """Return the codes beside which a code is not given, with the sources."""
    return tuple((_codes(row.fields[0]), row.source) for row in _about("givesway", undotted))


@lru_cache(maxsize=1_000)
def _codes(text: str) -> tuple[Reference, ...]:
    return references(f"({text})")


@lru_cache(maxsize=50_000)
def _about(name: str, undotted: str) -> tuple[Row, ...]:
    return tuple(row for row in table(name) if row.covers(undotted))


@lru_cache(maxsize=len(TABLES))
def table(name: str) -> tuple[Row, ...]:
    """Return a table in its order."""
    about = 1 if name in _SECOND else 0
    return tuple(
        Row(_codes(fields[about]), (*fields[:about], *fields[about + 1 : -1]), _cited(fields[-1]))
        for fields in rows(name)
    )


def _cited(source: str) -> str:
    """Return a source in full: a bare section is one of the Official Guidelines."""
    return f"Official Guidelines {source}" if source.startswith("I") else source
