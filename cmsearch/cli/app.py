"""The Typer application: all commands, and the one place where errors become exit codes."""

from __future__ import annotations

import os
import sys
from io import TextIOWrapper
from typing import Annotated, NoReturn

import typer

from cmsearch.cli import atlas, build, jobs, look, measure, notes, notesearch, probing, training
from cmsearch.errors import CmsearchError

app = typer.Typer(
    name="cmsearch",
    help="Find the ICD code for what somebody wrote. Offline: nothing leaves this machine.",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("query")(look.query)
app.command("similar")(look.similar)
app.command("show")(look.show)
app.command("batch")(jobs.batch)
app.command("suggest")(notes.suggest)
app.command("mentions")(notes.mentions)
app.command("index")(build.index)
app.add_typer(build.ontology, name="ontology")
app.add_typer(notesearch.notes, name="notes")
app.command("eval")(measure.evaluate)
app.command("atlas")(atlas.atlas)
training.train.command("probe")(probing.probe)
app.add_typer(training.train, name="train")


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"cmsearch {version('cmsearch')}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Find the ICD code for what somebody wrote."""


def main() -> None:
    """Run the command line; errors of ours end in one line on stderr and exit code 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # whatever the locale: JSON is UTF-8
            stream.reconfigure(encoding="utf-8", errors="replace")
    try:
        try:
            app()
        finally:
            sys.stdout.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            _quietly(0)
        what = error.filename or "standard output"
        print(f"error: {what}: {error.strerror or error}", file=sys.stderr)  # noqa: T201
        _quietly(1)
    except CmsearchError as error:
        print(f"error: {' '.join(str(error).splitlines())}", file=sys.stderr)  # noqa: T201
        sys.exit(1)
    except SystemExit as error:
        # Typer ends with 1 when the reader of our output went away (head, less); that is
        # no error of ours.
        if not isinstance(error.__context__, BrokenPipeError):
            raise
        _quietly(0)


def _quietly(code: int) -> NoReturn:
    """End without another attempt to write what standard output did not take."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    sys.exit(code)
