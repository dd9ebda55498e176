"""Which concepts may be hits."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from cmsearch.codes import System, undot
from cmsearch.rows import ConceptRow, FormRow


@dataclass(frozen=True, slots=True)
class Filters:
    """Which concepts may be hits.

    Attributes:
        systems: their code systems; empty for the current ones of the index (ICD-10).
        billable: only billable codes; a code that needs a 7th character stands for its
            first (mostly the initial encounter).
        prefix: a code, block or beginning of a code that they lie under.
        expand: put the billable codes under a header right after it.
    """

    systems: tuple[System, ...] = ()
    billable: bool = False
    prefix: str = ""
    expand: bool = False


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

    def __call__(self, row: FormRow | ConceptRow) -> bool:
        if row.system not in self.systems:
            return False
        code = row.code.replace(".", "")
        return self.first <= code[: len(self.first)] and code[: len(self.last)] <= self.last
