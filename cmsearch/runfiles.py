"""Files of runs: the JSON lines of ``cmsearch query -`` and TREC runs.

    JSON    {"query": "heart attack", "hits": [{"code": "I21.9", "score": 0.93}]}
    TREC    heart-1 Q0 I21.9 1 0.93 cmsearch

A code value may carry its system in front: ``icd9cm:V70.0``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

from cmsearch.cases import Case, Ranking, Run, plain_query
from cmsearch.lines import (
    Where,
    dump,
    first_double,
    one_word,
    read_json_lines,
    read_lines,
    refuse,
    starts_like_json,
    text_field,
    write_lines,
)


def read_run(path: Path, *, name: str | None = None) -> Run:
    """Return the rankings of a run: the JSON lines of ``cmsearch query -``, or a TREC run.

    Hits are ordered by score, larger first; equal scores keep the order of their ranks.

    Args:
        path: the file, plain or gzip.
        name: what to call it; the name of the file without its suffixes by default.

    Raises:
        CasesError: the file cannot be read or is neither of the two.
    """
    name = name or path.name.split(".")[0]
    if starts_like_json(path):
        return Run(name, by_query=_json_run(path))
    return Run(name, by_id=_trec_run(path))


def write_run(path: Path, run: Run, cases: Iterable[Case]) -> None:
    """Write what a run found for cases as JSON lines, one for each case, in order.

    Raises:
        CasesError: the file cannot be written.
    """
    write_lines(path, (dump(_run_row(case, run.ranking(case) or ())) for case in cases))


def write_trec_run(path: Path, run: Run, cases: Iterable[Case]) -> None:
    """Write what a run found for cases as a TREC run, for trec_eval and its kin.

    Raises:
        CasesError: an id holds white space, or the file cannot be written.
    """
    tag = "-".join(run.name.split()) or "run"
    write_lines(
        path,
        (
            f"{one_word(case.id)} Q0 {one_word(value)} {rank} {score!r} {tag}"
            for case in cases
            for rank, (value, score) in enumerate(run.ranking(case) or (), start=1)
        ),
    )


def _json_run(path: Path) -> dict[str, Ranking]:
    rankings: dict[str, Ranking] = {}
    for where, row in read_json_lines(path):
        hits = row.get("hits")
        if not isinstance(hits, list):
            refuse(where, "field 'hits' is no list", 'write it as "hits": [{"code": ...}]')
        ranking = _ranked([_hit(hit, where) for hit in hits], where)
        query = plain_query(text_field(row, "query", where, blank=True))
        if rankings.setdefault(query, ranking) != ranking:
            refuse(where, f"the query {query[:40]!r} has other hits above", "keep one line of it")
    return rankings


def _hit(hit: object, where: Where) -> tuple[str, float]:
    row: Mapping[str, Any] = hit if isinstance(hit, dict) else {}
    value = text_field(row, "code", where)
    if "system" in row:
        value = f"{text_field(row, 'system', where)}:{value}"
    return value, _score(row.get("score"), where)


def _trec_run(path: Path) -> dict[str, Ranking]:
    found: dict[str, list[tuple[int, str, float]]] = {}
    last: dict[str, Where] = {}
    for where, line in read_lines(path):
        fields = line.split()
        if len(fields) != 6 or not fields[3][:9].isdecimal() or len(fields[3]) > 9:
            refuse(where, "not a line of a TREC run", "write 'query Q0 document rank score tag'")
        query, _, document, rank, score, _ = fields
        found.setdefault(query, []).append((int(rank), document, _score(score, where)))
        last[query] = where
    return {
        query: _ranked([(document, score) for _, document, score in sorted(hits)], last[query])
        for query, hits in found.items()
    }


def _ranked(hits: list[tuple[str, float]], where: Where) -> Ranking:
    twice = first_double(value for value, _ in hits)
    if twice is not None:
        refuse(where, f"the code {twice!r} is ranked twice for one query", "keep its best rank")
    return tuple(sorted(hits, key=lambda hit: -hit[1]))


def _score(value: object, where: Where) -> float:
    try:
        score = math.nan if isinstance(value, bool) else float(cast(float, value))
    except (TypeError, ValueError, OverflowError):
        score = math.nan
    if not math.isfinite(score):
        refuse(where, f"score {str(value)[:20]!r}", "write a finite number, larger for better")
    return score


def _run_row(case: Case, ranking: Ranking) -> dict[str, Any]:
    hits = []
    for rank, (value, score) in enumerate(ranking, start=1):
        system, _, code = value.rpartition(":")
        named = {"system": system} if system else {}
        hits.append({"rank": rank, "code": code, **named, "score": score})
    return {"query": case.query, "hits": hits}
