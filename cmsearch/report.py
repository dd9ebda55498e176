"""What rankers reached on cases, side by side: estimates, groups, results, a report."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

MEASURES = ("recall@1", "recall@5", "recall@10", "MRR@10", "nDCG@10", "category@1")
LEVEL = 0.95
RESAMPLES = 1000


@dataclass(frozen=True, slots=True)
class Estimate:
    """The mean of one measure with the bounds of its 95 % bootstrap interval."""

    measure: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Group:
    """What one ranker reached on one group of cases.

    Attributes:
        kind: the kind of the cases; None for all of them.
        n: how many cases.
        estimates: one for each of ``MEASURES``, in their order.
    """

    kind: str | None
    n: int
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """What one ranker reached on all cases and on each kind.

    Attributes:
        name: the ranker.
        overall: all cases together.
        kinds: each kind, in alphabetical order; empty where no case has one.
        missing: how many cases the run has no line for; they count as not found.
    """

    name: str
    overall: Group
    kinds: tuple[Group, ...]
    missing: int


@dataclass(frozen=True, slots=True)
class Difference:
    """How far one ranker is ahead of another: mean of the paired differences, per measure."""

    first: str
    second: str
    estimates: tuple[Estimate, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """Rankers side by side on the same cases."""

    results: tuple[Result, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return the report as plain data; its keys are stable."""
        return {
            "cases": self.results[0].overall.n,
            "interval": {"level": LEVEL, "method": "bootstrap", "resamples": RESAMPLES},
            "rankers": [_plain_result(result) for result in self.results],
        }

    def to_json(self) -> str:
        """Return the report as JSON text."""
        return json.dumps(self.to_dict(), ensure_ascii=False, indent=2)


def rows(report: Report, *, intervals: bool = True) -> list[tuple[str, ...]]:
    """Return the report as rows of a table, the names of the columns first.

    The rankers stand side by side: all rows of all cases, then those of each kind.

    Args:
        report: what ``evaluate`` made.
        intervals: whether a cell is ``0.66 [0.63, 0.69]`` rather than ``0.66``.
    """
    table: list[tuple[str, ...]] = [("cases", "n", "ranker", *MEASURES)]
    groups = [[result.overall, *result.kinds] for result in report.results]
    for aligned in zip(*groups, strict=True):
        for result, group in zip(report.results, aligned, strict=True):
            cells = (_cell(estimate, intervals) for estimate in group.estimates)
            label = "all" if group.kind is None else group.kind or "(no kind)"
            table.append((label, str(group.n), result.name, *cells))
    return table


def _cell(estimate: Estimate, interval: bool) -> str:
    bounds = f" [{estimate.low:.3f}, {estimate.high:.3f}]" if interval else ""
    return f"{estimate.value:.3f}{bounds}"


def _plain_result(result: Result) -> dict[str, Any]:
    return {
        "name": result.name,
        "missing": result.missing,
        "overall": _plain_group(result.overall),
        "kinds": [{"kind": group.kind, **_plain_group(group)} for group in result.kinds],
    }


def _plain_group(group: Group) -> dict[str, Any]:
    return {
        "n": group.n,
        "measures": {
            estimate.measure: {
                "value": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
            }
            for estimate in group.estimates
        },
    }
