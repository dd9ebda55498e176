"""Rules that compare suggestions: symptoms, headers, combination codes, sides, order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from cmsearch.notes.codebook import Kind
from cmsearch.notes.ruletables import combinations, explanations, gives_way, place
from cmsearch.notes.scene import Item, Rule, Scene
from cmsearch.notes.tabular import is_manifestation
from cmsearch.rows import ConceptRow
from cmsearch.types import Assertion
from cmsearch.wording import tokens

_SIDE = re.compile(r"\b(right|left|bilateral)\b", re.IGNORECASE)
_WITHOUT = re.compile(r"\bwithout (?:mention of )?([^,;()]+)", re.IGNORECASE)
_WITH = re.compile(r"\bwith (?!and without)(.+)", re.IGNORECASE)
_PLAIN = frozenset(
    ("right", "left", "bilateral", "unilateral", "both", "of", "in", "the", "and", "side")
)


def _header(item: Item, scene: Scene) -> Iterator[str]:
    if item.node.row.billable:
        return
    for number in scene.beginnings.get(item.node.undotted, ()):
        other = scene.items[number]
        if number != item.number and scene.counts(other, item):
            yield f"{other.code} below it says more"
            return


def _symptom(item: Item, scene: Scene) -> Iterator[str]:
    if not item.clinical or not item.under("R"):
        return
    for found in explanations(item.node.undotted):
        for other in scene.others(found, item):
            if other.standing is Assertion.PRESENT and not _asks_for(other, item):
                yield f"a symptom that {other.code} {other.node.row.title} explains"
                return


def _asks_for(diagnosis: Item, symptom: Item) -> bool:
    """Whether the tabular list wants the symptom coded beside the diagnosis."""
    return any(
        reference.covers(symptom.node.undotted)
        for kind in (Kind.USE_ADDITIONAL, Kind.CODE_ALSO)
        for line in diagnosis.node.notes[kind].lines
        for reference in line.references
        if reference.first[0] == "R"
    ) or any(
        reference.covers(diagnosis.node.undotted)
        for line in symptom.node.notes[Kind.CODE_FIRST].lines
        for reference in line.references
    )


def _without(item: Item, scene: Scene) -> Iterator[str]:
    lacks = _WITHOUT.search(item.node.row.title)
    if not item.clinical or lacks is None:
        return
    wanted = frozenset(tokens(lacks[1])) - {"or", "and", "of"}
    for number in scene.beginnings.get(item.node.undotted[:3], ()):
        other = scene.items[number]
        has = _WITH.search(other.node.row.title)
        if number == item.number or has is None or not scene.counts(other, item):
            continue
        any_kind = not wanted.isdisjoint(("complication", "complications"))
        if any_kind or not wanted.isdisjoint(tokens(has[1])):
            yield f"{other.code} says with what: {other.node.row.title}"
            return


def _beside(item: Item, scene: Scene) -> Iterator[str]:
    if not item.clinical:
        return
    for partners, source in gives_way(item.node.undotted):
        for other in scene.others(partners, item):
            if other.standing is Assertion.PRESENT:
                yield f"not given beside {other.code} {other.node.row.title} [{source}]"
                return


def _combination(item: Item, scene: Scene) -> Iterator[str]:
    if not item.clinical:
        return
    for pair in combinations(item.node.undotted):
        node = scene.codebook.node(pair.instead)
        for other in scene.others(pair.partners, item):
            if other.standing is Assertion.PRESENT and node is not None:
                yield (
                    f"with {other.code} the code is {pair.instead} {node.row.title} [{pair.source}]"
                )
                break


def _laterality(item: Item, scene: Scene) -> Iterator[str]:
    side = side_of(item.node.row.title)
    if not item.clinical or not side:
        return
    kind = _kind(item.node.row)
    for number in scene.beginnings.get(item.node.undotted[:3], ()):
        other = scene.items[number]
        theirs = side_of(other.node.row.title)
        if number == item.number or not theirs or theirs == side or not scene.counts(other, item):
            continue
        if not alike(kind, _kind(other.node.row)):
            continue
        if "bilateral" in (side, theirs):
            yield f"one side and both sides are suggested ({item.code} and {other.code})"
        else:
            both = _bilateral(item, scene)
            if both is not None:
                yield f"with {other.code} both sides are coded as {both.code} {both.title}"


def _bilateral(item: Item, scene: Scene) -> ConceptRow | None:
    kind = _kind(item.node.row)
    rows = [
        row
        for row in scene.codebook.category(item.node.row)
        if row.billable and side_of(row.title) == "bilateral" and alike(kind, _kind(row))
    ]
    return min(rows, key=lambda row: (len(_kind(row) ^ kind), row.code), default=None)


def _side_missing(item: Item, scene: Scene) -> Iterator[str]:
    row = item.node.row
    if not item.clinical or "unspecified" not in row.title.casefold() or side_of(row.title):
        return
    codebook = scene.codebook
    base = codebook.parent(row) if item.node.expansion else row
    if base is None:
        return
    tail = row.code[len(base.code) :]
    kind = _kind(base) - {"unspecified"}
    sided = [
        f"{other.code}{tail}"
        for other in codebook.siblings(base)
        if side_of(other.title) and _kind(other) - {"unspecified"} == kind
    ]
    if len(sided) > 1:
        yield f"laterality not stated: {'/'.join(sided)}"


@lru_cache(maxsize=20_000)
def side_of(title: str) -> str:
    """Return the side that a title names; empty for none or more than one."""
    found = {side.lower() for side in _SIDE.findall(title)}
    return found.pop() if len(found) == 1 else ""


def _kind(row: ConceptRow) -> frozenset[str]:
    """Return the words of a title without those of sides."""
    return frozenset(re.findall(r"[a-z0-9-]+", row.title.casefold())) - _PLAIN


def alike(first: frozenset[str], second: frozenset[str]) -> bool:
    """Whether two titles name one condition but for the side (eye, eyes: one may be shorter)."""
    return first <= second or second <= first


def _sequence(item: Item, scene: Scene) -> Iterator[str]:
    if not item.clinical:
        return
    for where, source in place(item.node.undotted):
        if where == "never-first":
            yield f"never the first code [{source}]"
        elif item.number:
            yield f"may only be the first code [{source}]"


def never_first(item: Item) -> bool:
    """Whether a code must not stand first."""
    return is_manifestation(item) or any(
        where == "never-first" for where, _ in place(item.node.undotted)
    )


def in_sequence(items: Sequence[Item], scene: Scene) -> list[Item]:
    """Return items in their order, but causes before manifestations, and a code first that may be.

    A manifestation moves to right behind its cause, nothing else moves. Source: Official
    Guidelines I.A.13 and I.C.20.a.6.
    """
    causes = {
        item.number: {other.number for other, _ in scene.pointed(item, Kind.CODE_FIRST)}
        for item in items
    }
    waiting = list(items)
    found: list[Item] = []
    placed: set[int] = set()
    while waiting:
        ready = (item for item in waiting if causes[item.number] <= placed)
        following = next(ready, waiting[0])
        waiting.remove(following)
        placed.add(following.number)
        found.append(following)
    able = next((item for item in found if item.clinical and not never_first(item)), None)
    if able is not None and found[0].clinical and never_first(found[0]):
        found.remove(able)
        found.insert(0, able)
    return found


HOLDING = (
    Rule("header", "Official Guidelines I.B.2", _header),
    Rule("symptom", "Official Guidelines I.B.5", _symptom),
    Rule("without", "Official Guidelines I.A.15", _without),
    Rule("beside", "Official Guidelines I.A.12", _beside),
)
COMBINATION = Rule("combination", "Official Guidelines I.B.9", _combination)
SIDES = (
    Rule("laterality", "Official Guidelines I.B.13", _laterality),
    Rule("laterality-missing", "Official Guidelines I.B.13", _side_missing),
)
SEQUENCE = Rule("sequence", "Official Guidelines II and IV.G", _sequence)
