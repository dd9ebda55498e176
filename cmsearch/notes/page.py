"""A note and its codes as one HTML page that needs nothing but itself: no script, no net."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files

from cmsearch.notes.marks import Stretch, printable, stretches
from cmsearch.types import Assertion, Mention, Suggestion

_LEGEND = {
    Assertion.PRESENT: "present",
    Assertion.POSSIBLE: "possible",
    Assertion.HISTORICAL: "in the past",
    Assertion.FAMILY: "in the family",
    Assertion.HYPOTHETICAL: "hypothetical",
    Assertion.NEGATED: "negated",
}


def page(text: str, suggestions: Sequence[Suggestion], release: str, *, name: str = "") -> str:
    """Return an HTML page: the note with its evidence marked, the codes beside it.

    Everything that comes from the note is escaped; the page's own policy forbids scripts
    and whatever would be loaded. Pointing at a code, or tabbing to it, lights its evidence
    up by style sheet alone.

    Args:
        text: the note.
        suggestions: its codes.
        release: the releases that they come from.
        name: what the note is called.
    """
    title = f"Codes for {name}" if name else "Codes for a note"
    kept = [item for item in suggestions if not item.suppressed]
    held = [item for item in suggestions if item.suppressed]
    places = _places(suggestions)
    return "".join(
        (
            '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n',
            '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
            "style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'\">\n",
            '<meta name="viewport" content="width=device-width, initial-scale=1">\n',
            '<meta name="referrer" content="no-referrer">\n',
            f"<title>{_safe(title)}</title>\n<style>\n{_style(suggestions)}</style>\n",
            "</head>\n<body>\n",
            f"<header><h1>{_safe(title)}</h1>\n<p>{_counted(kept, held)} · {_safe(release)}"
            "</p></header>\n<main>\n",
            '<section class="note" aria-labelledby="note-heading">\n',
            '<h2 id="note-heading">Note</h2>\n',
            _legend(suggestions),
            f'<div class="text" dir="auto">{"".join(_note(text, suggestions, places))}</div>\n',
            '</section>\n<section class="codes" aria-labelledby="codes-heading">\n',
            '<h2 id="codes-heading">Suggested codes</h2>\n',
            _codes(kept, places) if kept else "<p>No code is likely enough.</p>\n",
            _held(held, places),
            "</section>\n</main>\n",
            "<footer>Suggestions for a coder to check, made on this machine by cmsearch. "
            "The underlined words are the evidence.</footer>\n</body>\n</html>\n",
        )
    )


def _safe(text: str) -> str:
    return escape(printable(text), quote=True)


def _places(suggestions: Sequence[Suggestion]) -> dict[tuple[int, int], str]:
    """Return an anchor for each place of the note that supports a code."""
    spans = {(one.begin, one.end) for item in suggestions for one in item.evidence}
    return {span: f"e{number}" for number, span in enumerate(sorted(spans), start=1)}


def _counted(kept: Sequence[Suggestion], held: Sequence[Suggestion]) -> str:
    codes = "1 code suggested" if len(kept) == 1 else f"{len(kept)} codes suggested"
    return f"{codes}, {len(held)} held back" if held else codes


def _style(suggestions: Sequence[Suggestion]) -> str:
    """Return the style sheet, with the rules that tie each code to its evidence."""
    sheet = files("cmsearch.notes").joinpath("data", "page.css").read_text(encoding="utf-8")
    ties = []
    for item in suggestions:
        code, mark = f"#c{item.rank}", f"mark.c{item.rank}"
        ties.append(
            f"body:has({code}:hover) {mark},body:has({code}:focus-within) {mark},"
            f"body:has({code}:focus) {mark}{{background:var(--lit);color:var(--lit-ink)}}\n"
            f"body:has({mark}:hover) {code},body:has({mark}:target) {code}"
            "{border-color:var(--accent);background:var(--raised)}\n"
        )
    return sheet + "".join(ties)


def _legend(suggestions: Sequence[Suggestion]) -> str:
    found = {one.assertion for item in suggestions for one in item.evidence}
    shown = [
        f'<li><mark class="{assertion.value}">{label}</mark></li>'
        for assertion, label in _LEGEND.items()
        if assertion in found
    ]
    return f'<ul class="legend" aria-label="Legend">{"".join(shown)}</ul>\n' if shown else ""


def _note(
    text: str, suggestions: Sequence[Suggestion], places: dict[tuple[int, int], str]
) -> Iterator[str]:
    pairs = [(item.rank, mention) for item in suggestions for mention in item.evidence]
    anchors: dict[int, list[str]] = {}
    for (begin, _), anchor in places.items():
        anchors.setdefault(max(0, begin), []).append(anchor)
    for stretch in stretches(len(text), pairs):
        words = _safe(text[stretch.begin : stretch.end])
        if stretch.assertion is None:
            yield words
            continue
        names = anchors.get(stretch.begin, [])
        yield "".join(f'<a class="anchor" id="{name}"></a>' for name in names[1:])
        yield _mark(stretch, words, names[0] if names else "")


def _mark(stretch: Stretch, words: str, anchor: str) -> str:
    assertion = stretch.assertion or Assertion.PRESENT
    classes = " ".join((assertion.value, *(f"c{rank}" for rank in stretch.ranks)))
    name = f' id="{anchor}"' if anchor else ""
    numbers = ", ".join(map(str, stretch.last))
    links = f"<sup>{numbers}</sup>" if stretch.last else ""
    said = "" if assertion is Assertion.PRESENT else f' title="{_LEGEND[assertion]}"'
    spoken = (
        ""
        if assertion is Assertion.PRESENT or not stretch.last
        else f'<span class="unseen"> ({_LEGEND[assertion]})</span>'
    )
    return f'<mark class="{classes}"{name}{said}>{words}{spoken}{links}</mark>'


def _codes(suggestions: Sequence[Suggestion], places: dict[tuple[int, int], str]) -> str:
    return f"<ol>\n{''.join(_code(item, places) for item in suggestions)}</ol>\n"


def _held(suggestions: Sequence[Suggestion], places: dict[tuple[int, int], str]) -> str:
    if not suggestions:
        return ""
    return (
        f'<details><summary>Held back ({len(suggestions)})</summary>\n<ol class="held">\n'
        f"{''.join(_code(item, places) for item in suggestions)}</ol></details>\n"
    )


def _code(item: Suggestion, places: dict[tuple[int, int], str]) -> str:
    percent = round(item.probability * 100)
    warnings = [f'<li class="held-back">{_sourced(item.suppressed)}</li>'] if item.suppressed else [
        f"<li>{_sourced(warning)}</li>" for warning in item.warnings
    ]  # fmt: skip
    why = f'<p class="why">{_safe(item.why)}</p>\n' if item.why else ""
    checks = f'<ul class="checks" aria-label="To check">{"".join(warnings)}</ul>\n'
    return (
        f'<li id="c{item.rank}" tabindex="0" value="{item.rank}"><div class="head">'
        f'<span class="rank">{item.rank}</span>'
        f'<span class="code">{_safe(item.code.value)}</span>'
        f'<span class="system">{_safe(item.code.system.label)}</span>'
        f'<span class="chance"><span class="bar" aria-hidden="true">'
        f'<span style="width:{percent}%"></span></span>{percent}&nbsp;%</span></div>\n'
        f'<p class="title">{_safe(item.title)}</p>\n'
        f"{_evidence(item.evidence, places)}{why}{checks if warnings else ''}</li>\n"
    )


def _evidence(mentions: Sequence[Mention], places: dict[tuple[int, int], str]) -> str:
    if not mentions:
        return ""
    links = []
    for mention in mentions:
        words = " ".join(mention.text.split())
        about = ", ".join(
            part
            for part in (
                "" if mention.assertion is Assertion.PRESENT else _LEGEND[mention.assertion],
                mention.section,
            )
            if part
        )
        anchor = places[mention.begin, mention.end]
        small = f" <small>{_safe(about)}</small>" if about else ""
        links.append(
            f'<li><a href="#{anchor}" class="{mention.assertion.value}" dir="auto">'
            f"{_safe(words)}</a>{small}</li>"
        )
    return f'<ul class="evidence" aria-label="Evidence">{"".join(links)}</ul>\n'


def _sourced(sentence: str) -> str:
    """Return a warning with its rule and its source set apart."""
    said, bracket, source = sentence.rpartition(" [")
    if not bracket:
        return _safe(sentence)
    rule, colon, rest = said.partition(": ")
    name = f"<strong>{_safe(rule.replace('-', ' '))}</strong> " if colon else ""
    return f"{name}{_safe(rest if colon else said)} <small>{_safe(source.rstrip(']'))}</small>"
