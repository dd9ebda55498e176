"""Commands for collections of notes: notes index, notes search."""

from __future__ import annotations

import json as encoder
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cmsearch.cli import render
from cmsearch.cli.jobprogress import CountProgress
from cmsearch.cli.jobs import SET_ASIDE, InputFormat
from cmsearch.cli.look import IndexOption, open_index

if TYPE_CHECKING:
    from cmsearch.batch.source import Source
    from cmsearch.collection.folder import Entry
    from cmsearch.collection.search import FoundNote

_FAULTS_SHOWN = 20

notes = typer.Typer(no_args_is_help=True, help="Notes that can be searched.")

FolderOption = Annotated[
    Path | None,
    typer.Option("--notes", metavar="DIR", help="Folder of the collection; a default one."),
]


def _folder(named: Path | None) -> Path:
    from cmsearch import paths

    return named if named is not None else paths.home() / "notes" / "default"


@notes.command("index")
def index_notes(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES...",
            help="CSV, TSV, JSONL or Parquet files, plain, gzip or zstd; .txt files; folders of "
            ".txt; - for stdin.",
        ),
    ],
    folder: FolderOption = None,
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
        typer.Option("--from", help="What the files are, where endings do not say it."),
    ] = None,
    encoder_name: Annotated[
        str, typer.Option("--encoder", metavar="PATH_OR_NAME", help="Another encoder.")
    ] = "",
) -> None:
    """Make notes searchable, or add notes to those that are.

    What is there already is passed over; a note that has changed takes the place of the old
    one. The words of the notes lie in the folder of the collection, unencrypted, and
    nowhere else. Exit code 3: some rows were set aside. Example:
    cmsearch notes index notes.csv --text-column note --id-column note_id
    """
    from cmsearch.batch.source import Format, Source
    from cmsearch.collection.folder import add_notes
    from cmsearch.collection.search import NoteIndex
    from cmsearch.encoder import open_encoder

    sources = [
        Source.of(
            file,
            format=Format(input_format.value) if input_format else None,
            text_column=text_column,
            id_column=id_column,
        )
        for file in files
    ]
    talk = render.talk()
    faults: list[str] = []
    place = _folder(folder)
    with CountProgress(talk, "notes", "passages") as progress:
        done = add_notes(
            place,
            _entries(sources, faults),
            encoder=open_encoder(encoder_name),
            encoder_source=encoder_name,
            progress=progress,
        )
    faults += [f"{name}: the id stands twice, with another text" for name in done.doubled]
    opened = NoteIndex.open(place)
    count, passages = opened.book.counts()
    talk.print(
        f"{place}: {done.added:,} notes taken in ({done.changed:,} of them changed), "
        f"{done.known:,} known already; it holds {count:,} notes in {passages:,} passages, "
        f"FAISS {opened.state.extent.kind}",
        soft_wrap=True,
    )
    for fault in faults[:_FAULTS_SHOWN]:
        talk.print(f"set aside: {fault}", markup=False, soft_wrap=True)
    if len(faults) > _FAULTS_SHOWN:
        talk.print(f"set aside: {len(faults) - _FAULTS_SHOWN:,} more rows")
    if faults:
        raise typer.Exit(SET_ASIDE)


def _entries(sources: list[Source], faults: list[str]) -> Iterator[Entry]:
    """Yield the notes of the sources; what is wrong with the other rows goes to ``faults``."""
    from cmsearch.batch.rows import Fault
    from cmsearch.collection.folder import Entry

    for source in sources:
        name = Path(source.path).name
        for item, _ in source.rows():
            if isinstance(item, Fault):
                faults.append(f"{name}, row {item.row} ({item.id}): {item.reason}")
            else:
                yield Entry(item.id, name, item.text)


@notes.command("search")
def search_notes(
    text: Annotated[
        list[str] | None, typer.Argument(help="Words, or a code; - reads one query a line.")
    ] = None,
    like: Annotated[
        Path | None, typer.Option("--like", metavar="FILE", help="Find notes like this one.")
    ] = None,
    code: Annotated[
        bool, typer.Option("--code/--words", help="Take the query for a code, or for words.")
    ] = False,
    count: Annotated[int, typer.Option("-k", "--top", min=1, max=1000, help="Notes at most.")] = 10,
    folder: FolderOption = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON lines.")] = False,
    index: IndexOption = None,
) -> None:
    """Find notes by words, by a code, or by another note.

    What looks like a code is searched by the code's own titles and terms. A passage that
    denies a condition, or says it of a relative, counts half. Example:
    cmsearch notes search I21.4
    """
    from cmsearch.collection.search import NoteIndex

    if (like is None) == (not text):
        raise typer.BadParameter("give words, a code, or --like FILE")
    opened = NoteIndex.open(_folder(folder))
    if like is not None:
        _show(str(like), opened.like(_note(like), k=count), json)
        return
    queries = (
        [line.rstrip("\r\n") for line in sys.stdin] if text == ["-"] else [" ".join(text or [])]
    )
    for query in queries:
        if code or _is_code(query):
            _show(query, opened.about(query, index=open_index(index), k=count), json)
        else:
            _show(query, opened.search([query], k=count)[0], json)


def _is_code(query: str) -> bool:
    """Whether a query is spelled like a code and like nothing else."""
    from cmsearch.codes import candidates

    digits = any(character.isdigit() for character in query)
    return digits and " " not in query.strip() and bool(candidates(query))


def _note(path: Path) -> str:
    from cmsearch.notes.text import read_note

    return read_note(path)


def _where(note: FoundNote) -> str:
    """Return the section of a passage, and what it says of what was asked, if not: it is so."""
    said = "" if note.assertion in ("", "present") else f"[red]{note.assertion}[/]"
    return "\n".join(filter(None, (escape(note.section), said)))


def _show(query: str, found: list[FoundNote], json: bool) -> None:
    if json:
        line = {"query": query, "notes": [asdict(note) for note in found]}
        sys.stdout.write(encoder.dumps(line, ensure_ascii=False) + "\n")
        sys.stdout.flush()
        return
    if not found:
        render.talk().print("Nothing found; try other words.")
        return
    table = Table(
        title=escape(query), title_justify="left", box=None, pad_edge=False, header_style="dim"
    )
    table.add_column("", justify="right", style="dim")
    table.add_column("note", style="bold cyan")
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("section", style="dim")
    table.add_column("passage", ratio=1, min_width=40)
    for note in found:
        table.add_row(str(note.rank), escape(f"{note.note}\n{note.source}"), f"{note.score:.2f}",
                      _where(note), escape(" ".join(note.passage.split())))  # fmt: skip
    render.output().print(table)
