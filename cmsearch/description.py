"""A concept as a coder wants to see it: its path, notes, relatives and crosswalk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cmsearch.codes import Code, System
from cmsearch.lexicon import Lexicon
from cmsearch.rows import ConceptRow, CrosswalkRow
from cmsearch.search import Index

_NOTE_NAMES = {
    "includes": "includes",
    "excludes1": "excludes 1 (not coded here)",
    "excludes2": "excludes 2 (not included here, may be coded as well)",
    "code_first": "code first",
    "use_additional": "use additional code",
    "code_also": "code also",
    "general": "notes",
}

_MANY = 40


@dataclass(frozen=True, slots=True)
class Description:
    """Everything that the index knows of one concept.

    Attributes:
        path: codes and titles from the chapter down to the parent.
        sections: names and lines: inclusion terms, notes (inherited ones say from
            where), seventh characters, group, everyday wording, crosswalk.
        children, siblings: code, title and billable flag.
    """

    code: Code
    title: str
    release: str
    billable: bool
    path: tuple[tuple[str, str], ...]
    sections: tuple[tuple[str, tuple[str, ...]], ...]
    children: tuple[tuple[str, str, bool], ...]
    siblings: tuple[tuple[str, str, bool], ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the description as the JSON interface has it."""
        return {
            "code": self.code.value,
            "system": self.code.system.value,
            "title": self.title,
            "release": self.release,
            "billable": self.billable,
            "path": [{"code": code, "title": title} for code, title in self.path],
            "sections": dict(self.sections),
            "children": [_relative(row) for row in self.children],
            "siblings": [_relative(row) for row in self.siblings],
        }


def _relative(row: tuple[str, str, bool]) -> dict[str, Any]:
    return {"code": row[0], "title": row[1], "billable": row[2]}


def describe(index: Index, code: Code | str) -> Description:
    """Return what the index knows of a code, or of what people type for one.

    Raises:
        CodeError: the index does not hold it, or it is a code of two systems.
    """
    lexicon = index.files.lexicon
    row = index.concept(code)
    above = _ancestors(lexicon, row)
    siblings = lexicon.children(row.parent) if row.parent is not None else []
    if len(siblings) > _MANY:  # a system without headers: what differs in the last character
        siblings = [other for other in siblings if other.code[:-1] == row.code[:-1]]
    sections = [*_notes(lexicon, row, above), *_more(lexicon, row, above)]
    return Description(
        code=Code(row.code, System(row.system)),
        title=row.title,
        release=index.manifest.releases[row.system],
        billable=row.billable,
        path=tuple((item.code, item.title) for item in reversed(above)),
        sections=tuple((name, tuple(lines)) for name, lines in sections if lines),
        children=tuple((c.code, c.title, c.billable) for c in lexicon.children(row.id)),
        siblings=tuple((s.code, s.title, s.billable) for s in siblings if s.id != row.id),
    )


def _ancestors(lexicon: Lexicon, row: ConceptRow) -> list[ConceptRow]:
    above = []
    while row.parent is not None:
        row = lexicon.concepts([row.parent])[row.parent]
        above.append(row)
    return above


def _notes(
    lexicon: Lexicon, row: ConceptRow, above: Sequence[ConceptRow]
) -> list[tuple[str, list[str]]]:
    """Return inclusion terms and instructional notes; a header's hold for all below it."""
    details: dict[str, Any] = lexicon.details(row)
    sections = [("inclusion terms", list(details["inclusion_terms"]))]
    for key, name in _NOTE_NAMES.items():
        lines = list(details["notes"].get(key, ()))
        for ancestor in above:
            inherited: dict[str, Any] = lexicon.details(ancestor)
            lines += [f"{note} [{ancestor.code}]" for note in inherited["notes"].get(key, ())]
        sections.append((name, lines))
    return sections


def _more(
    lexicon: Lexicon, row: ConceptRow, above: Sequence[ConceptRow]
) -> list[tuple[str, list[str]]]:
    seventh: list[Any] = []
    for item in (row, *above):
        found: dict[str, Any] = lexicon.details(item)
        if found["seventh"]:
            seventh = found["seventh"]
            break
    wording = [
        form.text for form in lexicon.forms_of_concept(row.id) if form.template == "vocabulary"
    ]
    return [
        ("7th character", [f"{sign}: {meaning}" for sign, meaning in seventh]),
        ("group", [row.grouping] if row.grouping else []),
        ("people say", wording),
        ("crosswalk (GEM 2018)", crosswalk_lines(lexicon, row)),
    ]


def crosswalk_lines(lexicon: Lexicon, row: ConceptRow) -> list[str]:
    """Return the GEM's translations of a concept, with what the flags say."""
    entries = lexicon.crosswalk(row.id)
    targets = lexicon.concepts([entry.target for entry in entries if entry.target is not None])
    return [_crosswalk_line(entry, targets) for entry in entries]


def _crosswalk_line(entry: CrosswalkRow, targets: dict[int, ConceptRow]) -> str:
    if entry.target is None:
        return "no code of the other system corresponds"
    target = targets[entry.target]
    flags = ["approximate" if entry.approximate else "exact"]
    if entry.combination:
        flags.append(f"part {entry.choice_list} of combination {entry.scenario}")
    return f"{target.code} {target.title} ({System(target.system).label}; {', '.join(flags)})"
