"""Commands that make things: index, ontology add, ontology list."""

from __future__ import annotations

import json as encoder
import sys
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer
from rich.table import Table

from cmsearch.cli import render
from cmsearch.cli.progress import BuildProgress
from cmsearch.codes import System

if TYPE_CHECKING:
    from cmsearch.manifest import Manifest

Choice = TypeVar("Choice", bound=Enum)


def index(
    system: Annotated[
        list[str] | None,
        typer.Option(
            "--system",
            "-s",
            metavar="S",
            help="Code system to index, repeatable: icd10cm, icd9cm, icd10pcs, icd9proc. "
            "Default: those of the index that is there, else icd10cm and icd9cm.",
        ),
    ] = None,
    add: Annotated[
        list[str] | None,
        typer.Option("--add", metavar="S", help="Code system on top of those."),
    ] = None,
    faiss: Annotated[
        str, typer.Option("--faiss", help="flat (exact; the default), hnsw or ivfpq.")
    ] = "",
    template: Annotated[
        list[str] | None,
        typer.Option(
            help="Text form of the concepts, repeatable: title, published, ancestors, "
            "inclusion, includes, index, vocabulary. Default: all but the longer two."
        ),
    ] = None,
    vocabulary: Annotated[
        bool | None,
        typer.Option(
            "--vocabulary/--no-vocabulary",
            help="Index the names and wordings that ship with cmsearch.",
        ),
    ] = None,
    encoder_name: Annotated[
        str, typer.Option("--encoder", metavar="PATH_OR_NAME", help="Another encoder.")
    ] = "",
    device: Annotated[
        str,
        typer.Option(help="cpu or cuda: where texts are encoded and the cells of ivfpq found."),
    ] = "cpu",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Encode every text again.")] = False,
    folder: Annotated[
        Path | None, typer.Option("--index", metavar="DIR", help="Index folder; the default one.")
    ] = None,
) -> None:
    """Build an index, or bring it up to date.

    Whatever is left out stays as it is in the index that is there, and texts that it holds
    already are not encoded again. Example: cmsearch index --add icd10pcs
    """
    from cmsearch import paths
    from cmsearch.contents import BuildOptions
    from cmsearch.search import Index
    from cmsearch.serialise import Template
    from cmsearch.vectors import Kind

    place = paths.index_folder(folder)
    before = _before(place)
    usual = BuildOptions() if before is None else BuildOptions.of(before)
    systems = [System.parse(name) for name in system or ()] or list(usual.systems)
    systems += [System.parse(name) for name in add or ()]
    options = BuildOptions(
        systems=tuple(dict.fromkeys(systems)),
        templates=(
            tuple(choice(Template, name, "--template") for name in template)
            if template
            else usual.templates
        ),
        kind=choice(Kind, faiss, "--faiss") if faiss else usual.kind,
        vocabulary=usual.vocabulary if vocabulary is None else vocabulary,
    )
    talk = render.talk()
    if gone := [known for known in usual.systems if before and known not in options.systems]:
        names = ", ".join(known.label for known in gone)
        talk.print(f"No longer in {place}: {names} (--add puts a code system beside the others)")
    with BuildProgress(talk) as progress:
        manifest = Index.build(
            folder,
            options=options,
            encoder=encoder_name or (before.encoder_source if before else ""),
            device=device,
            anew=rebuild,
            progress=progress,
        )
    talk.print(_built(place, manifest))


def _before(folder: Path) -> Manifest | None:
    """Return what the index that is there says of itself; None if there is none to read."""
    from cmsearch.errors import IndexFolderError
    from cmsearch.manifest import Manifest

    try:
        return Manifest.read(folder)
    except IndexFolderError:
        return None


def _built(folder: Path, manifest: Manifest) -> str:
    """Return one line that says what an index holds."""
    held = ", ".join(
        f"{System(item.system).label} {item.release} ({item.concepts:,})"
        for item in manifest.code_sets
    )
    return (
        f"{folder}: {held}; {manifest.forms:,} text forms, {manifest.vectors:,} vectors of "
        f"{manifest.encoder.dim} dimensions by {manifest.encoder.name}, FAISS {manifest.kind}"
    )


def choice(kind: type[Choice], name: str, option: str) -> Choice:
    """Return the member of an enum that an option names."""
    try:
        return kind(name)
    except ValueError as error:
        known = ", ".join(item.value for item in kind)
        raise typer.BadParameter(f"{name!r} is none of {known}", param_hint=option) from error


ontology = typer.Typer(no_args_is_help=True, help="Code sets: those that ship, and yours.")


@ontology.command("add")
def add_release(
    files: Annotated[
        list[Path], typer.Argument(metavar="PATH...", help="Official release files or zips.")
    ],
) -> None:
    """Take official CDC/CMS release files into use: zips, XML, order files.

    They are checked, copied, and part of the next index. Example:
    cmsearch ontology add icd10cm-tabular-2027.zip icd10cm-index-2027.xml
    """
    from cmsearch import paths
    from cmsearch.ontology.library import add

    talk = render.talk()
    for added in add(files, paths.ontology_folder()):
        state = "added" if added.new else "was here already"
        remark = f"; {added.remark}" if added.remark else ""
        talk.print(
            f"{added.name}: {added.system.label} {added.kind.label}, {added.release}, "
            f"{added.rows:,} rows, {state}{remark}",
            soft_wrap=True,
        )
    talk.print("Now run: cmsearch index")


@ontology.command("list")
def list_releases(
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List every code set with release, counts and origin."""
    from cmsearch import paths
    from cmsearch.ontology.library import code_sets
    from cmsearch.ontology.ontology import Ontology

    loaded = Ontology.load(tuple(System), extra=code_sets(paths.ontology_folder()))
    rows = [
        {
            "system": item.system.value,
            "release": item.release,
            "codes": sum(concept.level.value == "code" for concept in item.concepts),
            "billable": sum(concept.billable for concept in item.concepts),
            "index_terms": len(item.index_terms),
            "origin": item.origin,
        }
        for item in loaded.code_sets
    ]
    if json:
        sys.stdout.write(encoder.dumps(rows) + "\n")
        return
    table = Table(box=None, header_style="dim", pad_edge=False)
    for name in rows[0]:
        table.add_column(name.replace("_", " "), justify="right" if name in (
            "codes", "billable", "index_terms") else "left")  # fmt: skip
    for row in rows:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value)
                        for value in row.values()))  # fmt: skip
    render.output().print(table)
