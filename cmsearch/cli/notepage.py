"""How a note and its codes look in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from cmsearch.notes.marks import Stretch, printable, stretches
from cmsearch.types import Assertion, Mention, Suggestion

STYLES = {
    Assertion.PRESENT: "bold green",
    Assertion.POSSIBLE: "bold yellow",
    Assertion.HISTORICAL: "bold blue",
    Assertion.FAMILY: "bold magenta",
    Assertion.HYPOTHETICAL: "bold cyan",
    Assertion.NEGATED: "strike red",
}
_RAISED = str.maketrans("0123456789", "⁰¹²³⁴⁵⁶⁷⁸⁹")
_BESIDE = 150
_LONG = 120
_AROUND = 1


def suggestion_page(
    text: str, suggestions: Sequence[Suggestion], release: str, *, width: int
) -> RenderableType:
    """Return a note with its codes: beside it where there is room, else below it."""
    pairs = [(item.rank, mention) for item in suggestions for mention in item.evidence]
    note = Panel(_note(text, pairs), title="note", title_align="left", border_style="dim")
    codes = Group(_codes(suggestions), _legend(pairs, release))
    return _placed(note, codes, width)


def mention_page(
    text: str, mentions: Sequence[Mention], release: str, *, width: int
) -> RenderableType:
    """Return a note with what in it is codable."""
    pairs = list(enumerate(mentions, start=1))
    note = Panel(_note(text, pairs), title="note", title_align="left", border_style="dim")
    return _placed(note, Group(_mentions(mentions), _legend(pairs, release)), width)


def plain_console(file: object, width: int = 100) -> Console:
    """Return a console that writes plain text into a file."""
    return Console(file=file, width=width, highlight=False, color_system=None)  # type: ignore[arg-type]


def _placed(note: RenderableType, codes: RenderableType, width: int) -> RenderableType:
    if width < _BESIDE:
        return Group(note, Padding(codes, (1, 0, 0, 0)))
    page = Table.grid(padding=(0, 2), expand=True)
    page.add_column(ratio=1)
    page.add_column(ratio=1)
    page.add_row(note, codes)
    return page


def _note(text: str, pairs: Iterable[tuple[int, Mention]]) -> Text:
    """Return the note with its mentions in colour, each with raised numbers behind it."""
    shown = Text(overflow="fold")
    for stretch in stretches(len(text), pairs):
        words = printable(text[stretch.begin : stretch.end], directions=False)
        shown.append(words, style=_style(stretch))
        if stretch.last:
            numbers = ",".join(map(str, stretch.last))
            shown.append(numbers.translate(_RAISED), style="dim")
    return _shortened(shown)


def _style(stretch: Stretch) -> str:
    return STYLES[stretch.assertion] if stretch.assertion is not None else ""


def _shortened(shown: Text) -> Text:
    """Return a long note with the lines around its mentions alone."""
    lines = shown.split("\n", allow_blank=True)
    if len(lines) <= _LONG:
        shown.rstrip()
        return shown
    marked = {number for number, line in enumerate(lines) if line.spans}
    near = {other for number in marked for other in range(number - _AROUND, number + _AROUND + 1)}
    kept: list[Text] = []
    left_out = 0
    for number, line in enumerate(lines):
        if number in near:
            if left_out:
                kept.append(_gap(left_out))
            left_out = 0
            kept.append(line)
        else:
            left_out += 1
    if left_out:
        kept.append(_gap(left_out))
    return Text("\n").join(kept)


def _gap(count: int) -> Text:
    lines = "1 line" if count == 1 else f"{count} lines"
    return Text(f"… {lines} that support no code …", style="dim italic")


def _codes(suggestions: Sequence[Suggestion]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("code", no_wrap=True)
    table.add_column("probability", justify="right", no_wrap=True)
    table.add_column("title, evidence and what to check", ratio=1)
    for item in suggestions:
        held = bool(item.suppressed)
        table.add_row(
            str(item.rank),
            Text(item.code.value, style="dim strike" if held else "bold cyan"),
            Text(f"{item.probability:.2f}", style="dim" if held else ""),
            _about(item),
        )
    return table


def _about(item: Suggestion) -> Group:
    held = bool(item.suppressed)
    lines = [Text(item.title, style="dim" if held else "bold")]
    snippets = Text(overflow="fold")
    for text, assertion in dict.fromkeys((m.text, m.assertion) for m in item.evidence):
        words = " ".join(printable(text, directions=False).split())
        snippets.append("“" if not snippets else " · “", style="dim")
        snippets.append(words, style=STYLES[assertion])
        snippets.append("”", style="dim")
        if assertion is not Assertion.PRESENT:
            snippets.append(f" {assertion.value}", style="dim")
    if snippets:
        lines.append(snippets)
    if item.why:
        lines.append(Text(item.why, style="dim"))
    if held:
        lines.append(_check("held back", item.suppressed, "red"))
    else:
        lines += [_check("check", warning, "yellow") for warning in item.warnings]
    return Group(*lines)


def _check(label: str, sentence: str, style: str) -> Text:
    """Return a warning, its source in brackets less loud than what it says."""
    said, bracket, source = sentence.rpartition(" [")
    line = Text(f"{label}  ", style=style)
    line.append(said or sentence, style="default")
    if said:
        line.append(f"{bracket}{source}", style="dim")
    return line


def _mentions(mentions: Sequence[Mention]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", expand=True)
    table.add_column("", justify="right", style="dim", no_wrap=True)
    table.add_column("mention", ratio=2)
    table.add_column("section", style="dim")
    table.add_column("codes", ratio=3)
    for number, mention in enumerate(mentions, start=1):
        words = Text(
            " ".join(printable(mention.text, directions=False).split()),
            style=STYLES[mention.assertion],
        )
        words.append(f"\n{mention.assertion.value}", style="dim not bold not strike")
        codes = Text("\n").join(
            Text.assemble((hit.code.value, "cyan"), " ", hit.title) for hit in mention.hits
        )
        table.add_row(str(number), words, printable(mention.section), codes)
    return table


def _legend(pairs: Iterable[tuple[int, Mention]], release: str) -> Text:
    found = {mention.assertion for _, mention in pairs}
    line = Text("\n")
    for assertion in STYLES:
        if assertion in found:
            line.append(assertion.value, style=STYLES[assertion])
            line.append("  ")
    line.append(release, style="dim")
    return line
