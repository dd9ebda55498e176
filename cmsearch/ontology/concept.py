"""One entry of a code set: its title, its place in the tree and what the book says of it.

A code set is all the entries of one release of one system.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from cmsearch.codes import Code, System


class Level(Enum):
    """Where in the tree a concept stands."""

    CHAPTER = "chapter"
    BLOCK = "block"
    CODE = "code"


@dataclass(frozen=True, slots=True)
class Notes:
    """The instructional notes of one node of the tabular list, as printed.

    ``seventh`` says to which codes a 7th character is added, ``general`` is any other
    note. Source: ICD-10-CM Official Guidelines, section I.A.5 and I.A.10 to I.A.17.
    """

    includes: tuple[str, ...] = ()
    excludes1: tuple[str, ...] = ()
    excludes2: tuple[str, ...] = ()
    code_first: tuple[str, ...] = ()
    use_additional: tuple[str, ...] = ()
    code_also: tuple[str, ...] = ()
    general: tuple[str, ...] = ()
    seventh: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether the book says anything here."""
        return self != NO_NOTES


NO_NOTES = Notes()


@dataclass(frozen=True, slots=True)
class Concept:
    """One chapter, block, category or code of a code set.

    Attributes:
        code: its identity.
        title: the full official title.
        level: chapter, block or code.
        parent: the node above; None at the top.
        billable: whether a claim may carry it: a code with no child in the full list.
        inclusion_terms: conditions that the tabular list names under the code.
        notes: the node's own instructional notes (not the inherited ones).
        seventh: meaning of each 7th character defined at this node.
        expansion: whether the code arises from its parent by a 7th character.
    """

    code: Code
    title: str
    level: Level = Level.CODE
    parent: Code | None = None
    billable: bool = False
    inclusion_terms: tuple[str, ...] = ()
    notes: Notes = NO_NOTES
    seventh: tuple[tuple[str, str], ...] = ()
    expansion: bool = False


@dataclass(frozen=True, slots=True)
class CodeSet:
    """One release of one code system, as read from its files.

    Attributes:
        system: the code system.
        release: what its publisher calls the release, such as ``April 2026``.
        origin: where the files come from, such as ``simple-icd-10-cm 1.5.0``.
        sha256: hexadecimal digest over the files it was read from.
        concepts: chapters, blocks and codes, parents before children, the codes that
            arise by a 7th character among them.
        index_terms: lines of an alphabetic index, each with the code it leads to.
    """

    system: System
    release: str
    origin: str
    sha256: str
    concepts: tuple[Concept, ...]
    index_terms: tuple[tuple[Code, str], ...] = ()
