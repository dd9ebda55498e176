"""Cases and rankings in, a report out: how often, how high and how surely codes are found.

A hit is right if its code equals a gold code or lies below it in the same system; that
is read off the spelling: ``E11.9`` lies below ``E11``. For nDCG each gold code counts
once, so that ten descendants of one gold code are no better than one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cmsearch.cases import Case, Run
from cmsearch.codes import Code, System
from cmsearch.errors import CasesError, CodeError
from cmsearch.metrics import (
    Values,
    bootstrap_interval,
    category_at,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)
from cmsearch.report import (
    LEVEL,
    MEASURES,
    RESAMPLES,
    Difference,
    Estimate,
    Group,
    Report,
    Result,
)

DEPTH = 10


class Ranker(Protocol):
    """Whatever finds codes for queries: the index, a peer, a system under test."""

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    def rank(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return up to k code values with scores for each query, best first.

        A value is read in the system of the case unless it names its own in front, as
        ``icd9cm:V70.0`` does.
        """
        ...


def evaluate(
    cases: Sequence[Case], rankers: Sequence[Ranker], *, runs: Sequence[Run] = (), k: int = DEPTH
) -> Report:
    """Return the report of rankers and of finished runs on the same cases.

    Args:
        cases: what to ask, with the gold codes.
        rankers: asked here, in order; they stand before the runs.
        runs: rankings that were made elsewhere.
        k: how many hits to ask for, at least 10.

    Raises:
        CasesError: there is no case or no ranker, a case has no text to ask, two rankers
            have one name, or a run has none of the cases.
    """
    return judge(cases, [*(rank_cases(ranker, cases, k=k) for ranker in rankers), *runs])


def rank_cases(ranker: Ranker, cases: Sequence[Case], *, k: int = DEPTH) -> Run:
    """Return what a ranker finds for the cases, each different query asked once.

    Raises:
        CasesError: a case has no text, as those of bare qrels.
    """
    for case in cases:
        if not case.query:
            raise CasesError(
                f"case {case.id!r} has no query text, so {ranker.name} cannot be asked; "
                "give cases with text, or a run to judge"
            )
    queries = list(dict.fromkeys(case.query for case in cases))
    found = ranker.rank(queries, k=max(k, DEPTH))
    by_query = {query: tuple(hits) for query, hits in zip(queries, found, strict=True)}
    return Run(ranker.name, by_id={case.id: by_query[case.query] for case in cases})


def judge(cases: Sequence[Case], runs: Sequence[Run]) -> Report:
    """Return the report of finished runs on the same cases.

    Raises:
        CasesError: there is no case or no run, two runs have one name, or a run has none
            of the cases.
    """
    if not cases or not runs:
        raise CasesError("nothing to evaluate: give at least one case, and one ranker or run")
    names = [run.name for run in runs]
    if len(set(names)) < len(names):
        raise CasesError(f"two rankers have one name ({', '.join(names)}); rename one of them")
    return Report(tuple(_result(cases, run) for run in runs))


def measure(cases: Sequence[Case], run: Run) -> Values:
    """Return the measures of every case: float64, (cases, measures), as in ``MEASURES``."""
    rankings = [(run.ranking(case) or ())[:DEPTH] for case in cases]
    hits = [
        [_code(value, case.system) for value, _ in ranking]
        for case, ranking in zip(cases, rankings, strict=True)
    ]
    right = np.zeros((len(cases), DEPTH), dtype=np.bool_)
    gains = np.zeros((len(cases), DEPTH))
    ideal = np.zeros((len(cases), max(len(case.codes) for case in cases)))
    for row, (case, codes) in enumerate(zip(cases, hits, strict=True)):
        right[row, : len(codes)] = [is_right(code, case) for code in codes]
        gains[row, : len(codes)] = _first_of_each(codes, case)
        ideal[row, : len(case.codes)] = 1.0
    found = [[_category(code) for code in codes] for codes in hits]
    gold = [{_category(code) for code in case.codes} for case in cases]
    return np.column_stack(
        [
            *(recall_at(right, k=k) for k in (1, 5, 10)),
            reciprocal_rank(right, k=DEPTH),
            ndcg_at(gains, ideal, k=DEPTH),
            category_at(found, gold, k=1),
        ]
    )


def compare(cases: Sequence[Case], first: Run, second: Run) -> Difference:
    """Return how far the first run is ahead of the second, case by case.

    The cases are drawn in pairs, so the interval is that of the difference itself: where
    it holds 0, the two differ by no more than noise.
    """
    values = measure(cases, first) - measure(cases, second)
    return Difference(first.name, second.name, _estimates(values))


def is_right(code: Code | None, case: Case) -> bool:
    """Return whether a code equals a gold code of the case or lies below one."""
    return code is not None and any(code.is_under(gold) for gold in case.codes)


def _result(cases: Sequence[Case], run: Run) -> Result:
    missing = sum(run.ranking(case) is None for case in cases)
    if missing == len(cases):
        raise CasesError(
            f"run {run.name!r} has none of the {len(cases)} cases; JSON lines are matched by "
            "query text, TREC runs by query id: give the run that was made from these cases"
        )
    values = measure(cases, run)
    kinds = np.array([case.kind for case in cases])
    names: Iterable[str] = sorted(set(kinds.tolist())) if kinds.any() else ()
    return Result(
        run.name,
        _group(None, values),
        tuple(_group(kind, values[kinds == kind]) for kind in names),
        missing,
    )


def _group(kind: str | None, values: Values) -> Group:
    return Group(kind, len(values), _estimates(values))


def _estimates(values: Values) -> tuple[Estimate, ...]:
    low, high = bootstrap_interval(values, level=LEVEL, resamples=RESAMPLES)
    columns = zip(MEASURES, values.mean(axis=0), low, high, strict=True)
    return tuple(Estimate(name, *map(float, bounds)) for name, *bounds in columns)


@lru_cache(maxsize=1 << 18)
def _code(value: str, system: System) -> Code | None:
    """Return a value as a code of its own or the given system; None if it is none."""
    own, _, text = value.rpartition(":")
    try:
        return Code.of(System.parse(own) if own else system, text)
    except CodeError:
        return None


def _first_of_each(codes: Sequence[Code | None], case: Case) -> NDArray[np.float64]:
    """Return 1 for each hit that finds a gold code that no better hit has found.

    A hit that lies below several gold codes finds the nearest that is left.
    """
    left = sorted(case.codes, key=lambda gold: -len(gold.undotted))
    gains = np.zeros(len(codes))
    for at, code in enumerate(codes):
        gold = next((gold for gold in left if code is not None and code.is_under(gold)), None)
        if gold is not None:
            left.remove(gold)
            gains[at] = 1.0
    return gains


def _category(code: Code | None) -> str:
    """Return system and category of a code; for ICD-10-PCS the table, its first three."""
    if code is None:
        return ""
    stem = code.value[:3] if code.system is System.ICD10PCS else code.category
    return f"{code.system.value}:{stem}"
