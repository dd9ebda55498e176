"""Commands that ask an index: query, similar, show."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cmsearch.cli import render
from cmsearch.cli.progress import BuildProgress
from cmsearch.codes import Code, System, is_dotted

if TYPE_CHECKING:
    from cmsearch.filters import Filters
    from cmsearch.search import Index
    from cmsearch.types import Hit

IndexOption = Annotated[
    Path | None,
    typer.Option("--index", help="Index folder; the default index if left out.", metavar="DIR"),
]
SystemOption = Annotated[
    list[str] | None,
    typer.Option(
        "--system", "-s", metavar="S",
        help="Code system (icd10cm, icd10pcs, icd9cm, icd9proc), repeatable; those in force "
        "(ICD-10) if left out.",
    ),
]  # fmt: skip
FormatOption = Annotated[
    render.Format | None,
    typer.Option("--format", help="table, jsonl or csv; jsonl for many queries."),
]
CountOption = Annotated[int, typer.Option("-k", "--top", min=1, max=1000, help="Hits at most.")]


def open_index(folder: Path | None) -> Index:
    """Return the index; build the default one, showing progress, if there is none."""
    from cmsearch.search import Index

    ensure_built(folder)
    return Index.open(folder)


def ensure_built(folder: Path | None) -> None:
    """Build the default index, showing progress, if it is meant and there is none."""
    from cmsearch import paths
    from cmsearch.manifest import MANIFEST_FILE
    from cmsearch.search import Index

    default = paths.index_folder()
    if folder is None and not (default / MANIFEST_FILE).is_file():
        talk = render.talk()
        talk.print(f"Building the default index in {default} (once, a minute or two)")
        with BuildProgress(talk) as progress:
            Index.build(progress=progress)


def query(
    text: Annotated[
        list[str], typer.Argument(help="Words to find the code for; - reads one query a line.")
    ],
    count: CountOption = 10,
    system: SystemOption = None,
    billable: Annotated[
        bool, typer.Option("--billable", help="Only codes that a claim may carry.")
    ] = False,
    under: Annotated[
        str,
        typer.Option("--under", metavar="CODE", help="Only under a code or range: I21, I20-I25."),
    ] = "",
    expand: Annotated[
        bool, typer.Option("--expand", help="List the billable codes under a header.")
    ] = False,
    details: Annotated[
        bool, typer.Option("--details", help="Show the path and notes of the best hit.")
    ] = False,
    format: FormatOption = None,
    index: IndexOption = None,
) -> None:
    """Find codes for a phrase.

    Example: cmsearch query "crushing chest pain radiating to the left arm"
    """
    from cmsearch.filters import Filters

    filters = Filters(
        systems=tuple(System.parse(name) for name in system or ()),
        billable=billable,
        prefix=under,
        expand=expand,
    )
    opened = open_index(index)
    if text == ["-"]:
        _stream(opened, count, filters, format or render.Format.jsonl)
        return
    words = " ".join(text)
    hits = opened.search([words], k=count, filters=filters)[0]
    release = opened.release(filters.systems)
    if format is render.Format.jsonl:
        render.write_line(words, release, hits)
    elif format is render.Format.csv:
        render.write_csv(words, hits, header=True)
    elif not hits:
        said = (
            opened.no_code(words)
            if is_dotted(words)
            else ("Nothing found; try other English words, a code, or fewer filters.")
        )
        render.talk().print(said, highlight=False, markup=False, soft_wrap=True)
    else:
        render.output().print(render.hit_table(words, release, hits))
        _tell_elsewhere(opened, words, hits)
        if details:
            from cmsearch.description import describe

            render.output().print(render.description_tree(describe(opened, hits[0].code)))


def _tell_elsewhere(opened: Index, words: str, hits: Sequence[Hit]) -> None:
    """Say which codes of other code systems the words are, if they are."""
    for row in opened.files.lexicon.named(words):
        code = Code(row.code, System(row.system))
        if all(hit.code != code for hit in hits):
            render.talk().print(
                f"In {code.system.label} {code} is: {row.title}. See it with: "
                f"cmsearch show {code} --system {code.system.value}",
                highlight=False, markup=False,
            )  # fmt: skip


def _stream(opened: Index, count: int, filters: Filters, format: render.Format) -> None:
    """Answer the lines of stdin in order, each as soon as it is there."""
    release = opened.release(filters.systems)
    header = True
    for line in _lines():
        hits = opened.search([line], k=count, filters=filters)[0]
        if format is render.Format.csv:
            render.write_csv(line, hits, header=header)
            header = False
        elif format is render.Format.table:
            render.output().print(render.hit_table(line, release, hits))
        else:
            render.write_line(line, release, hits)


def _lines() -> Iterator[str]:
    """Yield the lines of stdin; what is not UTF-8 becomes a replacement character.

    Raises:
        CmsearchError: the input begins as UTF-16 does.
    """
    from cmsearch.errors import CmsearchError

    encoding = "utf-8-sig"  # passes over a mark of byte order, which may only stand first
    for raw in iter(sys.stdin.buffer.readline, b""):
        marked = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
        if encoding == "utf-8-sig" and marked and b"\0" in raw:
            raise CmsearchError(
                "standard input is UTF-16, queries are read as UTF-8; put before it: "
                "iconv -f UTF-16 -t UTF-8"
            )
        yield raw.decode(encoding, "replace").rstrip("\r\n")
        encoding = "utf-8"


def similar(
    text: Annotated[list[str], typer.Argument(help="A code, or words.")],
    to: Annotated[
        str, typer.Option("--to", metavar="S", help="Code system to look in; the code's own.")
    ] = "",
    system: Annotated[
        str, typer.Option("--system", "-s", metavar="S", help="Code system of the given code.")
    ] = "",
    count: CountOption = 10,
    format: FormatOption = None,
    index: IndexOption = None,
) -> None:
    """Find the concepts nearest to a code, in its own or another code system.

    Example: cmsearch similar 410.71 --to icd10cm
    """
    from cmsearch.codes import candidates
    from cmsearch.description import crosswalk_lines
    from cmsearch.errors import CodeError
    from cmsearch.filters import Filters

    opened = open_index(index)
    words = " ".join(text)
    target = System.parse(to) if to else None
    gem: list[str] = []
    own = System.parse(system) if system else None
    readings = [code for code in candidates(words) if own is None or code.system is own]
    # "type 1 dm" has the shape of an ICD-10-PCS code; words stay words unless the code exists.
    typed = " " not in words or any(map(opened.files.lexicon.named, readings))
    if typed and readings and any(character.isdigit() for character in words):
        named = opened.concept(readings[0]) if len(readings) == 1 else opened.concept(words)
        hits = opened.nearest(Code(named.code, System(named.system)), k=count, to=target)
        if target is not None and target.value != named.system:
            gem = [
                line
                for line in crosswalk_lines(opened.files.lexicon, named)
                if f"({target.label};" in line or "no code" in line
            ]
        words = f"{named.code} {named.title}"
    elif own is not None:
        raise CodeError(f"{words[:40]!r} is no {own.label} code")
    else:
        filters = Filters(systems=(target,) if target else ())
        hits = opened.search([words], k=count, filters=filters)[0]
    release = opened.release(tuple({hit.code.system for hit in hits}))
    if format is render.Format.jsonl:
        render.write_line(words, release, hits, gem=gem)
    elif format is render.Format.csv:
        render.write_csv(words, hits, header=True)
    else:
        render.output().print(render.hit_table(f"nearest to {words}", release, hits))
        for line in gem:
            render.output().print(f"[dim]the GEM says[/] {line}", highlight=False)


def show(
    code: Annotated[str, typer.Argument(help="A code, with or without its dot.")],
    system: Annotated[
        str, typer.Option("--system", "-s", metavar="S", help="Code system of the code.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    index: IndexOption = None,
) -> None:
    """Show a concept: path, notes, excludes, children, crosswalk.

    Example: cmsearch show E11.9
    """
    from cmsearch.description import describe

    opened = open_index(index)
    wanted = Code.of(System.parse(system), code) if system else code
    about = describe(opened, wanted)
    if json:
        import json as encoder

        sys.stdout.write(encoder.dumps(about.to_dict(), ensure_ascii=False) + "\n")
    else:
        render.output().print(render.description_tree(about))
