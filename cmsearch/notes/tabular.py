"""Rules that the tabular list states itself: billable codes, 7th characters, notes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from cmsearch.notes.codebook import Kind, Line
from cmsearch.notes.scene import Item, Rule, Scene
from cmsearch.rows import ConceptRow

_SHOWN = 4
_MANIFESTATION = re.compile(r"\bclassified elsewhere\b", re.IGNORECASE)


def is_manifestation(item: Item) -> bool:
    """Whether the code is a manifestation by its title (``in diseases classified elsewhere``)."""
    return bool(
        _MANIFESTATION.search(item.node.row.title)
        and not item.under("B95", "B96", "B97")
        and any(not line.broad for line in item.node.notes[Kind.CODE_FIRST].lines)
    )


def _characters(item: Item, scene: Scene) -> list[ConceptRow]:
    """Return the codes that arise from one by a 7th character."""
    if item.node.row.billable or not item.node.seventh:
        return []
    below = scene.codebook.children(item.node.row)
    return [row for row in below if scene.codebook.arises(row)]


def _not_billable(item: Item, scene: Scene) -> Iterator[str]:
    if item.node.row.billable or _characters(item, scene):
        return
    below = scene.codebook.children(item.node.row)
    if below:
        yield f"a header, no claim may carry it; choose below it: {_listed(below)}"
    else:
        yield "no claim may carry it"


def _seventh(item: Item, scene: Scene) -> Iterator[str]:
    meanings = dict(item.node.seventh)
    choices = [
        f"{row.code} {meanings.get(row.code[-1], row.title)}" for row in _characters(item, scene)
    ]
    if choices:
        yield f"needs a 7th character: {_cut(choices)}"


def _quoted(line: Line) -> str:
    return f"the note at {line.origin} says “{line.text}”"


def _listed(rows: Sequence[ConceptRow]) -> str:
    return _cut([f"{row.code} {row.title}" for row in rows])


def _cut(texts: Sequence[str]) -> str:
    more = len(texts) - _SHOWN
    return "; ".join(texts[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _excludes1(item: Item, scene: Scene) -> Iterator[str]:
    for number, line in sorted(scene.excludes1.get(item.number, {}).items()):
        other = scene.items[number]
        if scene.counts(other, item):
            yield (
                f"not coded together with {other.code} unless the two are unrelated; "
                f"{_quoted(line)}"
            )


def _excludes2(item: Item, scene: Scene) -> Iterator[str]:
    for other, line in scene.pointed(item, Kind.EXCLUDES2, broad=False):
        yield (
            f"{other.code} is no part of this code; both may be coded where both are present "
            f"({_quoted(line)})"
        )


def _code_first(item: Item, scene: Scene) -> Iterator[str]:
    found = list(scene.pointed(item, Kind.CODE_FIRST))
    for other, line in found:
        yield f"{other.code} goes before this code; {_quoted(line)}"
    if found:
        return
    for call in item.node.notes[Kind.CODE_FIRST].calls:
        yield f"none suggested; the note at {call.origin} says “code first {call.text}”"


def _companions(item: Item, scene: Scene, kind: Kind, where: str) -> Iterator[str]:
    found = set()
    for other, line in scene.pointed(item, kind):
        found.add(line.origin)
        yield f"{other.code} is coded as well{where}; {_quoted(line)}"
    for call in item.node.notes[kind].calls:
        if call.origin not in found:
            yield f"none suggested; the note at {call.origin} says “{kind.words} {call.text}”"


def _use_additional(item: Item, scene: Scene) -> Iterator[str]:
    yield from _companions(item, scene, Kind.USE_ADDITIONAL, ", after this code")


def _code_also(item: Item, scene: Scene) -> Iterator[str]:
    yield from _companions(item, scene, Kind.CODE_ALSO, ", in either order")


def _manifestation(item: Item, scene: Scene) -> Iterator[str]:
    if is_manifestation(item):
        yield "a manifestation, never the first code: its cause goes before it"


def _in_pregnancy(item: Item, scene: Scene) -> Iterator[str]:
    if not scene.patient.pregnant or item.under("O", "Z"):
        return
    for kind in (Kind.EXCLUDES1, Kind.EXCLUDES2):
        for line in item.node.notes[kind].lines:
            if any(reference.first[0] == "O" for reference in line.references):
                yield f"the note says pregnant; {_quoted(line)}"
                return


TABULAR = (
    Rule("not-billable", "Official Guidelines I.B.2", _not_billable),
    Rule("7th-character", "Official Guidelines I.A.5", _seventh),
    Rule("excludes1", "Excludes1 note, Official Guidelines I.A.12.a", _excludes1),
    Rule("code-first", "code first note, Official Guidelines I.A.13", _code_first),
    Rule("manifestation", "Official Guidelines I.A.13", _manifestation),
    Rule("use-additional", "use additional code note, Official Guidelines I.A.13", _use_additional),
    Rule("code-also", "code also note, Official Guidelines I.A.17", _code_also),
    Rule("pregnancy", "Official Guidelines I.C.15.a.1", _in_pregnancy),
    Rule("excludes2", "Excludes2 note, Official Guidelines I.A.12.b", _excludes2),
)
