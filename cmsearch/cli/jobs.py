"""The command for files of notes: batch."""

from __future__ import annotations

import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmsearch.cli import render
from cmsearch.cli.jobprogress import JobProgress
from cmsearch.cli.look import IndexOption, SystemOption, ensure_built
from cmsearch.codes import System

if TYPE_CHECKING:
    from cmsearch.batch.job import Engine
    from cmsearch.batch.rows import Answered
    from cmsearch.batch.source import Source
    from cmsearch.batch.task import Task

SET_ASIDE = 3
STOPPED = 130


class TaskName(StrEnum):
    """What is asked of each note."""

    suggest = "suggest"
    query = "query"
    mentions = "mentions"


class EngineName(StrEnum):
    """What answers."""

    local = "local"
    ray = "ray"


class InputFormat(StrEnum):
    """How the rows of an input are written."""

    csv = "csv"
    tsv = "tsv"
    jsonl = "jsonl"
    parquet = "parquet"
    folder = "folder"


def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="IN",
            help="CSV, TSV, JSONL or Parquet file, plain, gzip or zstd; a folder of .txt; - for "
            "stdin.",
        ),
    ],
    output: Annotated[
        str,
        typer.Argument(
            metavar="OUT",
            help="File that ends in .jsonl, .csv (or either with .gz, .zst) or .parquet; - writes "
            "JSON lines to stdout.",
        ),
    ],
    task: Annotated[
        TaskName,
        typer.Option(
            "--task",
            help="suggest: the codes of each note, with evidence; query: the codes for each row "
            "as one phrase; mentions: what in each note is codable, with codes.",
        ),
    ] = TaskName.suggest,
    text_column: Annotated[
        str, typer.Option("--text-column", metavar="NAME", help="Column of the note.")
    ] = "text",
    id_column: Annotated[
        str,
        typer.Option(
            "--id-column", metavar="NAME", help="Column of its id; id, or the row's number."
        ),
    ] = "",
    input_format: Annotated[
        InputFormat | None,
        typer.Option("--from", help="What IN is, where its ending does not say it."),
    ] = None,
    count: Annotated[
        int | None,
        typer.Option(
            "-k",
            "--top",
            min=1,
            max=1000,
            help="Codes at most: all likely ones for suggest, 10 for query, 3 for each mention.",
        ),
    ] = None,
    system: SystemOption = None,
    billable: Annotated[
        bool, typer.Option("--billable", help="Only codes that a claim may carry (query).")
    ] = False,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence",
            metavar="P",
            min=0.0,
            max=1.0,
            help="Least probability of a code (suggest).",
        ),
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also codes that are unlikely or held back, and why (suggest)."),
    ] = False,
    workers: Annotated[
        int, typer.Option("--workers", "-w", min=0, help="Processes; one for each core for 0.")
    ] = 0,
    engine: Annotated[
        EngineName, typer.Option("--engine", help="local: this machine; ray: a Ray cluster.")
    ] = EngineName.local,
    ray_address: Annotated[
        str,
        typer.Option("--ray-address", metavar="ADDRESS", help="Of the cluster; auto finds it."),
    ] = "",
    device: Annotated[
        str,
        typer.Option("--device", help="cpu or cuda: where texts are encoded and vectors compared."),
    ] = "cpu",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Start anew, whatever an earlier job left.")
    ] = False,
    index: IndexOption = None,
) -> None:
    """Answer a file of notes.

    Rows are answered in order and by all cores. Should the job be stopped, the same command
    goes on where it was: what is done lies in OUT.parts. Beside OUT stand OUT.job.json
    (options, versions, counts) and OUT.errors.jsonl (rows that could not be answered, with
    reasons). Exit code 0: all rows answered; 3: some were set aside. Example:
    cmsearch batch notes.csv codes.parquet --text-column note --id-column note_id
    """
    from cmsearch.batch.source import Format, Source

    read = Source.of(
        source,
        format=Format(input_format.value) if input_format else None,
        text_column=text_column,
        id_column=id_column,
    )
    ensure_built(index)
    asked = _task(task, index, count, system, billable, device, min_confidence, everything)
    runner = _engine(engine, workers, ray_address, device, output)
    try:
        if output == "-":
            set_aside = _to_stdout(read, asked, runner)
        else:
            set_aside = _to_file(read, Path(output), asked, runner, overwrite)
    except KeyboardInterrupt:
        render.talk().print("Stopped; the same command goes on from here.")
        raise typer.Exit(STOPPED) from None
    if set_aside:
        raise typer.Exit(SET_ASIDE)


def _task(
    name: TaskName,
    index: Path | None,
    count: int | None,
    system: list[str] | None,
    billable: bool,
    device: str,
    min_confidence: float | None,
    everything: bool,
) -> Task:
    from cmsearch.batch.tasks import MentionsTask, QueryTask, SuggestTask
    from cmsearch.filters import Filters

    systems = tuple(System.parse(text) for text in system or ())
    if name is TaskName.suggest:
        return SuggestTask(index, count, systems, min_confidence, everything)
    if name is TaskName.mentions:
        return MentionsTask(index, count or 3, systems, device)
    filters = Filters(systems=systems, billable=billable)
    return QueryTask(index, count or 10, filters, device)


def _engine(name: EngineName, workers: int, address: str, device: str, output: str) -> Engine:
    if name is EngineName.ray:
        from cmsearch.batch.ray import RayEngine

        if output == "-":  # Ray itself writes to stdout when a node is lost
            raise typer.BadParameter("with --engine ray OUT must be a file", param_hint="OUT")
        scratch = str(Path(output).absolute().parent)
        return RayEngine(workers, address, gpu=device == "cuda", scratch=scratch)
    from cmsearch.batch.local import LocalEngine

    return LocalEngine(workers=workers)


def _to_file(read: Source, path: Path, task: Task, engine: Engine, overwrite: bool) -> int:
    from cmsearch.batch.job import run
    from cmsearch.batch.output import Output

    talk = render.talk()
    with JobProgress(talk) as progress:
        done = run(read, Output.of(path), task, engine=engine, overwrite=overwrite, watch=progress)
    rows = done.answered + done.set_aside
    before = f" ({done.resumed:,} by an earlier run)" if done.resumed else ""
    rate = rows / max(done.seconds, 1e-6)
    talk.print(
        f"{done.output}: {done.answered:,} rows answered{before} in "
        f"{timedelta(seconds=round(done.seconds))}, {rate:,.1f} a second",
        soft_wrap=True,
    )
    if done.errors is not None:
        talk.print(f"{done.errors}: {done.set_aside:,} rows set aside", soft_wrap=True)
    return done.set_aside


def _to_stdout(read: Source, task: Task, engine: Engine) -> int:
    from cmsearch.batch.job import stream

    def write(found: Answered) -> None:
        sys.stdout.buffer.write(found.lines)
        sys.stdout.buffer.flush()
        sys.stderr.write(found.errors.decode("utf-8"))

    return stream(read, task, engine=engine, write=write).set_aside
