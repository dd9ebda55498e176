"""The suggestions of one note side by side, as the rules look at them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from cmsearch.codes import System
from cmsearch.notes.codebook import Codebook, Kind, Line, Node
from cmsearch.notes.noterefs import Reference
from cmsearch.notes.patient import Patient
from cmsearch.types import Assertion, Suggestion

# Another suggestion counts against one when it is at least half as likely: a rule must
# not hold back a probable code for one that hardly stands in the note.
COMPARABLE = 0.5
# What counts for a code when its mentions differ: the first of these that one has.
_STRONGEST = (
    Assertion.PRESENT,
    Assertion.POSSIBLE,
    Assertion.HISTORICAL,
    Assertion.FAMILY,
    Assertion.HYPOTHETICAL,
    Assertion.NEGATED,
)


@dataclass(frozen=True, slots=True)
class Item:
    """A suggestion with what the code set says of its code.

    Attributes:
        number: its place in the scene.
        suggestion: the suggestion.
        node: its code in the code set.
        standing: the strongest assertion of its mentions; present where it has none.
        clinical: whether the code is of ICD-10-CM, whose rules these are.
    """

    number: int
    suggestion: Suggestion
    node: Node
    standing: Assertion
    clinical: bool

    @property
    def code(self) -> str:
        """The code as people write it."""
        return self.node.row.code

    def under(self, *beginnings: str) -> bool:
        """Whether the code lies under one of these undotted codes."""
        return self.node.undotted.startswith(beginnings)


def standing(suggestion: Suggestion) -> Assertion:
    """Return the strongest assertion of a suggestion's mentions."""
    found = {mention.assertion for mention in suggestion.evidence}
    return next((item for item in _STRONGEST if item in found), Assertion.PRESENT)


def items_of(suggestions: Sequence[Suggestion], codebook: Codebook) -> list[Item]:
    """Return the suggestions whose codes the index holds as items, numbered from 0."""
    found: list[Item] = []
    for suggestion in suggestions:
        node = codebook.node(suggestion.code)
        if node is not None:
            clinical = suggestion.code.system is System.ICD10CM
            found.append(Item(len(found), suggestion, node, standing(suggestion), clinical))
    return found


class Scene:
    """The suggestions that a rule may see together.

    Args:
        items: the suggestions, in their order, numbered from 0.
        codebook: the code sets.
        patient: what the note says of its patient.
    """

    def __init__(self, items: Sequence[Item], codebook: Codebook, patient: Patient) -> None:
        self.items = items
        self.codebook = codebook
        self.patient = patient

    @cached_property
    def beginnings(self) -> dict[str, list[int]]:
        """The numbers of the ICD-10-CM items by every code and block that they lie under."""
        found: dict[str, list[int]] = {}
        for item in self.items:
            if item.clinical:
                for beginning in item.node.beginnings:
                    found.setdefault(beginning, []).append(item.number)
        return found

    @cached_property
    def _sorted(self) -> list[tuple[str, int]]:
        return sorted((item.node.undotted, item.number) for item in self.items if item.clinical)

    @cached_property
    def excludes1(self) -> dict[int, dict[int, Line]]:
        """The items that each item is not coded with, and the note that says so."""
        found: dict[int, dict[int, Line]] = {}
        for item in self.items:
            pairs = (*self._named(item, Kind.EXCLUDES1), *self._in_ranges(item, Kind.EXCLUDES1))
            for number, line in pairs:
                if number != item.number:
                    found.setdefault(item.number, {}).setdefault(number, line)
                    found.setdefault(number, {}).setdefault(item.number, line)
        return found

    def counts(self, other: Item, item: Item) -> bool:
        """Whether another suggestion is likely enough to bear on one."""
        return other.suggestion.probability >= COMPARABLE * item.suggestion.probability

    def pointed(self, item: Item, kind: Kind, *, broad: bool = True) -> Iterator[tuple[Item, Line]]:
        """Yield the other suggestions that the notes of one name, each once, with the line.

        Args:
            item: the suggestion whose notes are read.
            kind: which notes.
            broad: whether those of blocks and chapters are read too.
        """
        if not item.node.notes[kind].lines:
            return
        seen = {item.number}
        for number, line in (*self._named(item, kind), *self._in_ranges(item, kind)):
            other = self.items[number]
            if number in seen or (line.broad and not broad) or not self.counts(other, item):
                continue
            seen.add(number)
            yield other, line

    def others(self, references: Iterable[Reference], item: Item) -> Iterator[Item]:
        """Yield the other suggestions that codes or ranges cover, if likely enough."""
        for reference in references:
            for number in self._covered(reference):
                other = self.items[number]
                if number != item.number and self.counts(other, item):
                    yield other

    def _covered(self, reference: Reference) -> Iterator[int]:
        """Yield the numbers of the items that a code or range covers."""
        if not reference.is_range:
            for number in self.beginnings.get(reference.first, ()):
                if reference.asks(self.items[number].node.undotted):
                    yield number
            return
        listed = self._sorted
        at = bisect_left(listed, (reference.first, -1))
        width = len(reference.last)
        while at < len(listed) and listed[at][0][:width] <= reference.last:
            if reference.asks(listed[at][0]):
                yield listed[at][1]
            at += 1

    def _named(self, item: Item, kind: Kind) -> Iterator[tuple[int, Line]]:
        named = item.node.notes[kind].named
        for key in sorted(named.keys() & self.beginnings.keys()):
            for reference, line in named[key]:
                for number in self.beginnings[key]:
                    if reference.asks(self.items[number].node.undotted):
                        yield number, line

    def _in_ranges(self, item: Item, kind: Kind) -> Iterator[tuple[int, Line]]:
        for reference, line in item.node.notes[kind].ranges:
            for number in self._covered(reference):
                yield number, line


Check = Callable[[Item, Scene], Iterator[str]]


@dataclass(frozen=True, slots=True)
class Rule:
    """One coding rule.

    Attributes:
        id: its name in warnings and in ``without``.
        source: the guideline section or note that it comes from.
        check: yields a sentence for the reader for each time that it applies; one that
            cites its own source, of a row of a table, ends with it in brackets.
    """

    id: str
    source: str
    check: Check

    def __call__(self, item: Item, scene: Scene) -> Iterator[str]:
        """Yield what the rule says of a suggestion: its id, the sentence, the source."""
        for sentence in self.check(item, scene):
            cited = sentence if sentence.endswith("]") else f"{sentence} [{self.source}]"
            yield f"{self.id}: {cited}"
