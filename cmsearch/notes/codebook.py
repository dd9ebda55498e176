"""What the tabular list says of a code, ready to be asked: its notes and its headers'."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from cmsearch.codes import Code
from cmsearch.lexicon import Lexicon
from cmsearch.notes.noterefs import Reference, references
from cmsearch.rows import ConceptRow

_CACHED = 20_000
# Words that leave it to the record whether a note asks for anything.
_CONDITIONAL = (
    "if applicable", "if known", "if any", "if desired", "when specified", "any ", "such as",
    "associated", "as applicable", "where applicable",
)  # fmt: skip
_SHOWN = 3


class Kind(Enum):
    """The notes that point to other codes. The value is their name in the index."""

    EXCLUDES1 = "excludes1"
    EXCLUDES2 = "excludes2"
    CODE_FIRST = "code_first"
    USE_ADDITIONAL = "use_additional"
    CODE_ALSO = "code_also"

    __hash__ = object.__hash__  # members are single; the hash of their name costs more

    @property
    def words(self) -> str:
        """What the book prints before the note."""
        return _WORDS[self]


_WORDS = {
    Kind.EXCLUDES1: "Excludes1",
    Kind.EXCLUDES2: "Excludes2",
    Kind.CODE_FIRST: "code first",
    Kind.USE_ADDITIONAL: "use additional",
    Kind.CODE_ALSO: "code also",
}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a note, or a note in short, with the codes that it names.

    Attributes:
        text: the words as printed.
        origin: the code, block or chapter that it stands at.
        broad: whether that is a block or chapter.
        references: the codes that it names.
        binding: whether the note asks for one of its codes whatever the record says.
    """

    text: str
    origin: str
    broad: bool
    references: tuple[Reference, ...]
    binding: bool = False


@dataclass(frozen=True, slots=True)
class Pointers:
    """The notes of one kind that hold for a code.

    Attributes:
        named: the lines by the code or block that they name.
        ranges: the lines that name a range, with it.
        lines: all lines, those of the code itself first.
        calls: whole notes that ask for one of their codes in any case.
    """

    named: Mapping[str, Sequence[tuple[Reference, Line]]]
    ranges: Sequence[tuple[Reference, Line]]
    lines: Sequence[Line]
    calls: Sequence[Line]


_NONE = Pointers({}, (), (), ())


@dataclass(frozen=True, slots=True)
class Node:
    """A code with all that holds for it.

    Attributes:
        row: the concept as the index has it.
        undotted: its code without the dot.
        path: codes above it, nearest first.
        beginnings: every code and block that it lies under, undotted, itself among them.
        notes: the notes that point to other codes, inherited ones too.
        seventh: sign and meaning of each 7th character that is defined for it.
        expansion: whether it arises from its parent by a 7th character.
    """

    row: ConceptRow
    undotted: str
    path: tuple[str, ...]
    beginnings: frozenset[str]
    notes: Mapping[Kind, Pointers]
    seventh: tuple[tuple[str, str], ...]
    expansion: bool


class Codebook:
    """The code sets of an index as rules ask for them; what was asked once is kept.

    Args:
        lexicon: the lexicon of the index.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._nodes: dict[Code, Node | None] = {}
        self._by_id: dict[int, Node] = {}
        self._children: dict[int, list[ConceptRow]] = {}
        self._categories: dict[tuple[str, str], list[ConceptRow]] = {}

    def node(self, code: Code) -> Node | None:
        """Return what holds for a code; None where the index does not hold it."""
        if code not in self._nodes:
            if len(self._nodes) >= _CACHED:
                self._nodes.clear()
                self._by_id.clear()
                self._children.clear()
                self._categories.clear()
            rows = self._lexicon.by_code(code.value)
            row = next((row for row in rows if row.system == code.system.value), None)
            self._nodes[code] = self._made(row) if row is not None else None
        return self._nodes[code]

    def children(self, row: ConceptRow) -> list[ConceptRow]:
        """Return the codes right below one, in their order."""
        return self._below(row.id)

    def siblings(self, row: ConceptRow) -> list[ConceptRow]:
        """Return the codes with the same parent, the code itself among them."""
        return self._below(row.parent) if row.parent is not None else []

    def _below(self, concept: int) -> list[ConceptRow]:
        if concept not in self._children:
            self._children[concept] = self._lexicon.children(concept)
        return self._children[concept]

    def category(self, row: ConceptRow) -> list[ConceptRow]:
        """Return the codes of the category that a code belongs to."""
        key = (row.system, row.code.partition(".")[0])
        if key not in self._categories:
            found = self._lexicon.starting_with(key[1], limit=2000)
            self._categories[key] = [other for other in found if other.system == row.system]
        return self._categories[key]

    def arises(self, row: ConceptRow) -> bool:
        """Whether a code arises from its parent by a 7th character."""
        return bool(self._lexicon.details(row).get("expansion"))

    def parent(self, row: ConceptRow) -> ConceptRow | None:
        """Return the concept above one."""
        if row.parent is None:
            return None
        if row.parent in self._by_id:
            return self._by_id[row.parent].row
        return self._lexicon.concepts([row.parent])[row.parent]

    def _made(self, row: ConceptRow) -> Node:
        """Return the node of a concept, made from that of its parent."""
        if row.id in self._by_id:
            return self._by_id[row.id]
        parent = self.parent(row)
        above = self._made(parent) if parent is not None else None
        details: dict[str, Any] = self._lexicon.details(row)
        own = details.get("notes") or {}
        broad = row.level != "code"
        undotted = row.code.replace(".", "")
        begun = {undotted[:length] for length in range(3, len(undotted) + 1)}
        node = Node(
            row=row,
            undotted=undotted,
            path=(above.row.code, *above.path) if above else (),
            beginnings=frozenset({row.code} if broad else begun)
            | (above.beginnings if above else frozenset()),
            notes={
                kind: _pointers(kind, own.get(kind.value, ()), row.code, broad, above)
                for kind in Kind
            },
            seventh=tuple((sign, meaning) for sign, meaning in details.get("seventh") or ())
            or (above.seventh if above else ()),
            expansion=bool(details.get("expansion")),
        )
        self._by_id[row.id] = node
        return node


def _pointers(
    kind: Kind, texts: Sequence[str], origin: str, broad: bool, above: Node | None
) -> Pointers:
    """Return the notes of a code with those of its headers; the same object where it has none."""
    inherited = above.notes[kind] if above else _NONE
    if not texts:
        return inherited
    named = {key: list(lines) for key, lines in inherited.named.items()}
    ranges = list(inherited.ranges)
    lines = [Line(_clean(text), origin, broad, references(text)) for text in texts]
    for line in lines:
        for reference in line.references:
            key = reference.first
            if reference.is_range:
                ranges.append((reference, line))
                key = f"{reference.first}-{reference.last}"
            named.setdefault(key, []).append((reference, line))
    calls = [call for call in _calls(kind, texts, origin, broad) if call.binding]
    return Pointers(named, ranges, [*lines, *inherited.lines], [*calls, *inherited.calls])


def _calls(kind: Kind, texts: Sequence[str], origin: str, broad: bool) -> Iterator[Line]:
    """Yield whole notes: a heading with the lines below it, or a line of its own."""
    if kind in (Kind.EXCLUDES1, Kind.EXCLUDES2) or broad:
        return
    for group in _groups(texts):
        header = group[0].lower()
        found = tuple(ref for text in group for ref in references(text))
        if kind is Kind.CODE_FIRST:
            binding = header.startswith(("underlying", "the underlying")) and " if " not in header
        else:
            binding = bool(found) and not any(word in header for word in _CONDITIONAL)
        yield Line(_summary(group), origin, broad, found, binding)


def _groups(texts: Sequence[str]) -> list[list[str]]:
    groups: list[list[str]] = []
    for text in texts:
        heading = text.rstrip().endswith(":") or text.lower().startswith("code")
        if heading or not groups or not groups[-1][0].rstrip().endswith(":"):
            groups.append([text])
        else:
            groups[-1].append(text)
    return groups


def _summary(group: Iterable[str]) -> str:
    header, *lines = group
    more = len(lines) - _SHOWN
    tail = f"; and {more} more" if more > 0 else ""
    return " ".join([_clean(header), "; ".join(lines[:_SHOWN])]).strip() + tail


def _clean(text: str) -> str:
    return text.strip().lstrip(",").strip().rstrip(".")
