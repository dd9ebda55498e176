"""The rows of an index: concepts, text forms, crosswalk lines, as plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConceptRow:
    """A concept as the index stores it; ``details`` is JSON (notes, seventh characters)."""

    id: int
    system: str
    code: str
    title: str
    level: str
    parent: int | None
    billable: bool
    chapter: str
    grouping: str
    details: str


@dataclass(frozen=True, slots=True)
class FormRow:
    """A text form as the index stores it; ``vector`` is its row among the vectors."""

    id: int
    concept: int
    system: str
    code: str
    template: str
    text: str
    terms: str
    vector: int


@dataclass(frozen=True, slots=True)
class CrosswalkRow:
    """One line of a GEM between two concepts of the index; target None is no map."""

    source: int
    target: int | None
    approximate: bool
    no_map: bool
    combination: bool
    scenario: int
    choice_list: int
