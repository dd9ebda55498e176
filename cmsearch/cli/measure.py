"""The command that measures: eval."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cmsearch.cli import render
from cmsearch.cli.look import IndexOption, open_index
from cmsearch.codes import System

if TYPE_CHECKING:
    from cmsearch.cases import Case
    from cmsearch.evaluate import Ranker
    from cmsearch.report import Report


class ReportFormat(StrEnum):
    """How a report is printed."""

    table = "table"
    json = "json"


def evaluate(
    cases: Annotated[
        list[Path],
        typer.Argument(metavar="CASES", help="Cases (JSONL), TREC qrels or a BEIR folder."),
    ],
    run: Annotated[
        list[Path] | None,
        typer.Option("--run", help="Judge this run (JSONL or TREC) instead of the index."),
    ] = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            "--peer", help="Put a peer beside it: bm25, char3, or an encoder by path or name."
        ),
    ] = None,
    save_run: Annotated[
        Path | None,
        typer.Option("--save-run", help="Write our ranking: TREC if it ends in .trec, or JSONL."),
    ] = None,
    only: Annotated[
        str,
        typer.Option(
            "--only",
            help="Rank with one half alone: dense, cosine (dense, unscored) or lexical.",
            metavar="HALF",
        ),
    ] = "",
    format: Annotated[ReportFormat, typer.Option("--format", help="table or json.")] = (
        ReportFormat.table
    ),
    index: IndexOption = None,
) -> None:
    """Measure how often the right code is found.

    Recall@1/5/10, MRR@10, nDCG@10 and category@1, by kind, with bootstrap 95 %
    intervals. A hit is right if its code equals a gold code or lies below it. A case is a
    line {"query": "sugar diabetes", "codes": ["E11.9"]}, with "system" and "kind" if you like.
    Example: cmsearch eval cases.jsonl --peer bm25
    """
    from cmsearch.casefiles import read_cases
    from cmsearch.evaluate import judge, rank_cases
    from cmsearch.runfiles import read_run, write_run, write_trec_run

    rankers: dict[System, list[Ranker]] = {}
    for path in cases:
        read = read_cases(path)
        runs = [read_run(item) for item in run or ()]
        if not runs:
            system = _system(read)
            if system not in rankers:
                rankers[system] = _rankers(system, index, peer or (), only)
            runs = [rank_cases(ranker, read) for ranker in rankers[system]]
        if save_run is not None:
            write = write_trec_run if save_run.suffix == ".trec" else write_run
            write(save_run, runs[0], read)
        report = judge(read, runs)
        if format is ReportFormat.json:
            sys.stdout.write(report.to_json() + "\n")
        else:
            render.output().print(_table(str(path), report))


def _system(cases: Sequence[Case]) -> System:
    from cmsearch.errors import CasesError

    systems = {case.system for case in cases}
    if len(systems) != 1:
        names = ", ".join(sorted(system.value for system in systems))
        raise CasesError(f"the cases are of several code systems ({names}); split the file")
    return systems.pop()


def _rankers(system: System, folder: Path | None, peers: Sequence[str], only: str) -> list[Ranker]:
    from cmsearch.peers import open_peer
    from cmsearch.ranking import IndexRanker

    opened = open_index(folder)
    rankers: list[Ranker] = [IndexRanker(opened, system, only=only)]
    if peers:
        forms = list(opened.files.lexicon.peer_forms(system.value))
        rankers += [open_peer(name, forms) for name in peers]
    return rankers


def _table(title: str, report: Report) -> Table:
    from cmsearch.report import rows

    header, *lines = rows(report)
    table = Table(title=escape(title), title_justify="left", box=None, header_style="dim")
    for number, name in enumerate(header):
        table.add_column(name, justify="left" if number < 2 else "right", no_wrap=number < 2)
    for line in lines:
        table.add_row(*map(escape, line))
    return table
