"""Evaluation cases, and the runs that answer them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from cmsearch.codes import Code, System

Ranking = tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Case:
    """One query and the codes that answer it.

    Attributes:
        id: what TREC and BEIR files call the query; the line number where nothing does.
        query: its text; empty where the cases come from qrels alone.
        codes: the gold codes, at least one, all of one system.
        kind: the group that it is reported with; empty for none.
    """

    id: str
    query: str
    codes: tuple[Code, ...]
    kind: str = ""

    @property
    def system(self) -> System:
        """The system of the gold codes."""
        return self.codes[0].system


@dataclass(frozen=True, slots=True)
class Run:
    """What one system found: rankings by query id or by query text, best hit first."""

    name: str
    by_id: Mapping[str, Ranking] = field(default_factory=dict)
    by_query: Mapping[str, Ranking] = field(default_factory=dict)

    def ranking(self, case: Case) -> Ranking | None:
        """Return the code values and scores found for a case; None where it is missing."""
        if case.id in self.by_id:
            return self.by_id[case.id]
        return self.by_query.get(plain_query(case.query))


def plain_query(query: str) -> str:
    """Return a query with single blanks: what runs without ids know it by."""
    return " ".join(query.split())
