"""Which concepts may be hits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmsearch.codes import System, undot
from cmsearch.formtable import SYSTEMS, FormTable, Ids
from cmsearch.rows import ConceptRow


@dataclass(frozen=True, slots=True)
class Filters:
    """Which concepts may be hits.

    Attributes:
        systems: their code systems, or names of these; empty for the current ones of the
            index (ICD-10).
        billable: only billable codes; a header stands for the code below it that the query's
            words lead to, with the first 7th character (mostly the initial encounter) where
            they name none.
        prefix: a code, block or beginning of a code that they lie under.
        expand: put the billable codes under a header right after it.
    """

    systems: tuple[System, ...] = ()
    billable: bool = False
    prefix: str = ""
    expand: bool = False

    def __post_init__(self) -> None:
        """Take names of systems too: ``Filters(systems=["icd9cm"])``."""
        named = tuple(
            system if isinstance(system, System) else System.parse(system)
            for system in self.systems
        )
        object.__setattr__(self, "systems", named)


@dataclass(frozen=True, slots=True)
class Gate:
    """Whether a concept passes the filters, by its system and code."""

    systems: frozenset[str]
    first: str
    last: str

    @classmethod
    def of(cls, systems: Iterable[System], prefix: str) -> Gate:
        first, _, last = undot(prefix.replace("\N{EN DASH}", "-")).partition("-")
        return cls(frozenset(system.value for system in systems), first, last or first)

    def forms(self, table: FormTable, ids: Ids) -> NDArray[np.bool_]:
        """Return which forms are of concepts that pass, (n,) bool."""
        concepts = table.concept[ids]
        known = np.array([name in self.systems for name in SYSTEMS])
        passes: NDArray[np.bool_] = known[table.system[concepts]]
        if self.first:
            code = np.char.replace(table.code[concepts], b".", b"")
            passes &= code.astype(f"S{len(self.first)}") >= self.first.encode()
            passes &= code.astype(f"S{len(self.last)}") <= self.last.encode()
        return passes

    def __call__(self, row: ConceptRow) -> bool:
        if row.system not in self.systems:
            return False
        code = row.code.replace(".", "")
        return self.first <= code[: len(self.first)] and code[: len(self.last)] <= self.last
