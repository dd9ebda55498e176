"""Commands that read notes: suggest, mentions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TextIO

import typer

from cmsearch.cli import notecsv, noteio, render
from cmsearch.cli.look import IndexOption, ensure_built
from cmsearch.codes import System

if TYPE_CHECKING:
    from cmsearch.notes.answer import NoteLine
    from cmsearch.notes.index import Index
    from cmsearch.types import Mention, Suggestion


class NoteFormat(StrEnum):
    """How the codes of a note are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"
    html = "html"


class MentionFormat(StrEnum):
    """How the mentions of a note are printed."""

    table = "table"
    json = "json"
    jsonl = "jsonl"
    csv = "csv"


NoteArgument = Annotated[str, typer.Argument(metavar="FILE", help="A note; - reads it from stdin.")]
OutOption = Annotated[
    Path | None, typer.Option("--output", "-o", metavar="OUT", help="Write to this file.")
]
SystemOption = Annotated[
    list[str] | None,
    typer.Option(
        "--system", "-s", metavar="S", help="Code system, repeatable; icd10cm if left out."
    ),
]


def open_index(folder: Path | None) -> Index:
    """Return the index that reads notes; build the default one if there is none."""
    from cmsearch.notes.index import Index

    ensure_built(folder)
    return Index.open(folder)


def suggest(
    note: NoteArgument,
    format: Annotated[
        NoteFormat,
        typer.Option(
            "--format",
            help='table, json, jsonl, csv or html. With jsonl, - reads lines {"id", "text"} and '
            "answers each with a line.",
        ),
    ] = NoteFormat.table,
    top: Annotated[
        int | None, typer.Option("--top", "-k", min=1, help="Codes at most; all if left out.")
    ] = None,
    min_confidence: Annotated[
        float | None,
        typer.Option(
            "--min-confidence",
            metavar="P",
            min=0.0,
            max=1.0,
            help="Least probability of a code; what balances wrong and missed ones if left out.",
        ),
    ] = None,
    system: SystemOption = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Also unlikely codes, and those that a rule holds back."),
    ] = False,
    code_negated: Annotated[
        bool, typer.Option("--code-negated", help="Also code what the note says is absent.")
    ] = False,
    index: IndexOption = None,
    output: OutOption = None,
) -> None:
    """Suggest codes for a note, each with the words that support it.

    Example: cmsearch suggest note.txt
    """
    systems = _systems(system)
    opened = open_index(index)
    release = opened.release(systems)

    def found(text: str) -> list[Suggestion]:
        return opened.suggest(
            [text],
            top=top,
            min_confidence=min_confidence,
            systems=systems,
            code_negated=code_negated,
            everything=everything,
        )[0]

    _write_suggestions(note, format, found, release, everything=everything, output=output)


def mentions(
    note: NoteArgument,
    format: Annotated[
        MentionFormat,
        typer.Option(
            "--format",
            help='table, json, jsonl or csv. With jsonl, - reads lines {"id", "text"} and '
            "answers each with a line.",
        ),
    ] = MentionFormat.table,
    count: Annotated[
        int, typer.Option("--top", "-k", min=1, max=100, help="Codes at most for a mention.")
    ] = 3,
    system: SystemOption = None,
    index: IndexOption = None,
    output: OutOption = None,
) -> None:
    """Find what in a note is codable: places, sections, assertion and the best codes.

    Example: cmsearch mentions note.txt --format jsonl
    """
    systems = _systems(system)
    opened = open_index(index)
    release = opened.release(systems)

    def found(text: str) -> list[Mention]:
        return opened.mentions([text], k=count, systems=systems)[0]

    _write_mentions(note, format, found, release, output=output)


def _write_suggestions(
    note: str,
    format: NoteFormat,
    found: Callable[[str], list[Suggestion]],
    release: str,
    *,
    everything: bool,
    output: Path | None,
) -> None:
    from cmsearch.notes.answer import as_json, dumped

    def answer(line: NoteLine) -> dict[str, Any]:
        return as_json(line.id, release, found(line.text), everything=everything)

    if note == "-" and format is NoteFormat.jsonl:
        with noteio.writer(output) as stream:
            noteio.stream_answers(answer, stream)
        return
    # Before a file is opened: a bad note leaves the old one as it is.
    line = noteio.read(note, output)
    with noteio.writer(output) as stream:
        if format in (NoteFormat.json, NoteFormat.jsonl):
            indent = 2 if format is NoteFormat.json else None
            stream.write(dumped(answer(line), indent=indent) + "\n")
        elif format is NoteFormat.csv:
            stream.write(notecsv.suggestions(answer(line)))
        elif format is NoteFormat.html:
            from cmsearch.notes.page import page

            stream.write(page(line.text, found(line.text), release, name=Path(note).name))
        else:
            _print_suggestions(line.text, found(line.text), release, output, stream)


def _write_mentions(
    note: str,
    format: MentionFormat,
    found: Callable[[str], list[Mention]],
    release: str,
    *,
    output: Path | None,
) -> None:
    from cmsearch.notes.answer import dumped, mentions_json

    def answer(line: NoteLine) -> dict[str, Any]:
        return mentions_json(line.id, release, found(line.text))

    if note == "-" and format is MentionFormat.jsonl:
        with noteio.writer(output) as stream:
            noteio.stream_answers(answer, stream)
        return
    # Before a file is opened: a bad note leaves the old one as it is.
    line = noteio.read(note, output)
    with noteio.writer(output) as stream:
        if format in (MentionFormat.json, MentionFormat.jsonl):
            indent = 2 if format is MentionFormat.json else None
            stream.write(dumped(answer(line), indent=indent) + "\n")
        elif format is MentionFormat.csv:
            stream.write(notecsv.mentions(answer(line)))
        else:
            _print_mentions(line.text, found(line.text), release, output, stream)


def _systems(names: Sequence[str] | None) -> tuple[System, ...]:
    return tuple(dict.fromkeys(System.parse(name) for name in names or ("icd10cm",)))


def _print_suggestions(
    text: str, found: Sequence[Suggestion], release: str, output: Path | None, stream: TextIO
) -> None:
    from cmsearch.cli import notepage

    console = render.output() if output is None else notepage.plain_console(stream)
    if found:
        page = notepage.suggestion_page(text, found, release, width=console.width)
        console.print(page)
    else:
        render.talk().print("No code is likely enough; --all shows what came near.")


def _print_mentions(
    text: str, found: Sequence[Mention], release: str, output: Path | None, stream: TextIO
) -> None:
    from cmsearch.cli import notepage

    console = render.output() if output is None else notepage.plain_console(stream)
    if found:
        console.print(notepage.mention_page(text, found, release, width=console.width))
    else:
        render.talk().print("Nothing codable found.")
