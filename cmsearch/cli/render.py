"""How hits and concepts look: as a table for people, as JSON lines or CSV for programs."""

from __future__ import annotations

import csv
import json
import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.tree import Tree

from cmsearch.values import hit_values

if TYPE_CHECKING:
    from cmsearch.description import Description
    from cmsearch.types import Hit

COLUMNS = (
    "rank", "code", "system", "release", "title", "score", "billable", "chapter", "matched",
    "template", "why",
)  # fmt: skip
_WHY = {
    "exact": "the code or title itself",
    "lexical": "words",
    "dense": "meaning",
    "lexical+dense": "words and meaning",
}


_WIDE = 160
_LONGEST_TITLE = 300


class Format(StrEnum):
    """How results are printed."""

    table = "table"
    jsonl = "jsonl"
    csv = "csv"


def output() -> Console:
    """Return the console for data; in a file or pipe its lines are long, not cut at 80."""
    told = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(highlight=False, soft_wrap=False, width=None if told else _WIDE)


def talk() -> Console:
    """Return the console for talk and progress."""
    return Console(stderr=True, highlight=False)


def write_line(query: str, release: str, hits: Sequence[Hit], **more: Any) -> None:
    """Print the answer to one query as one JSON line, at once."""
    values = {"query": query, "release": release, "hits": [hit_values(hit) for hit in hits]}
    sys.stdout.write(json.dumps({**values, **more}, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def write_csv(query: str, hits: Sequence[Hit], *, header: bool) -> None:
    """Print hits as CSV, the query in the first column; alone if it has no hits."""
    writer = csv.writer(sys.stdout)
    if header:
        writer.writerow(("query", *COLUMNS))
    for hit in hits:
        writer.writerow((query, *hit_values(hit).values()))
    if not hits:
        writer.writerow((query, *[""] * len(COLUMNS)))
    sys.stdout.flush()


def hit_table(title: str, release: str, hits: Sequence[Hit]) -> Table:
    """Return hits as a table for people."""
    table = Table(
        title=escape(title if len(title) <= _LONGEST_TITLE else f"{title[:_LONGEST_TITLE]}…"),
        caption=f"{release} · ● billable, ○ header",
        title_justify="left",
        caption_justify="left",
        box=None,
        pad_edge=False,
        header_style="dim",
        expand=False,
    )
    table.add_column("", justify="right", style="dim")
    table.add_column("code", style="bold cyan", no_wrap=True)
    table.add_column("", no_wrap=True)
    table.add_column("title", ratio=3, min_width=24)
    table.add_column("score", justify="right", no_wrap=True)
    table.add_column("because of", ratio=2, style="dim", min_width=16)
    several = len({hit.code.system for hit in hits}) > 1
    for hit in hits:
        code = f"{hit.code.value}  {hit.code.system.label}" if several else hit.code.value
        table.add_row(
            str(hit.rank),
            code,
            "[green]●[/]" if hit.billable else "[yellow]○[/]",
            escape(hit.title),
            f"{hit.score:.2f}",
            escape(_reason(hit)),
        )
    return table


def _reason(hit: Hit) -> str:
    how = _WHY[hit.why.value]
    if hit.template == "title":
        own = hit.matched == hit.title
        return f"{how}: its title" if own else f"{how}: title “{hit.matched}”"
    source = {"inclusion": "inclusion term", "includes": "includes note", "index": "index entry",
              "vocabulary": "known wording"}.get(hit.template, hit.template)  # fmt: skip
    return f"{how}: {source} “{hit.matched}”"


def description_tree(about: Description) -> Tree:
    """Return a concept as a coder wants to see it: path, notes, children, crosswalk."""
    mark = "[green]billable[/]" if about.billable else "[yellow]not billable[/]"
    tree = Tree(
        f"[bold cyan]{about.code}[/] [bold]{escape(about.title)}[/]  {mark}  "
        f"[dim]{about.code.system.label} {about.release}[/]"
    )
    if about.path:
        branch = tree.add("[dim]path[/]")
        for code, title in about.path:
            branch = branch.add(f"[cyan]{code}[/] {escape(title)}")
    for name, lines in about.sections:
        branch = tree.add(f"[dim]{name}[/]")
        for line in lines:
            branch.add(escape(line))
    for name, relatives in (("children", about.children), ("siblings", about.siblings)):
        if relatives:
            branch = tree.add(f"[dim]{name} ({len(relatives)})[/]")
            for code, title, billable in relatives[:40]:
                dot = "[green]●[/]" if billable else "[yellow]○[/]"
                branch.add(f"{dot} [cyan]{code}[/] {escape(title)}")
            if len(relatives) > 40:
                branch.add(f"[dim]and {len(relatives) - 40} more[/]")
    return tree
