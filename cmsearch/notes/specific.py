"""From a header to the most specific code that a note supports, and what it leaves open."""

from __future__ import annotations

import re
from collections.abc import Sequence, Set
from dataclasses import dataclass

from cmsearch.lexicon import Lexicon
from cmsearch.rows import ConceptRow
from cmsearch.wording import terms, tokens

_SIDES = frozenset(("left", "right", "bilater"))
# Words of titles that say that nothing is said.
_SILENT = re.compile(r"unspecified|not otherwise specified|\bnos\b", re.IGNORECASE)
# Titles of a condition alone, where the others name what came of it.
_SIMPLE = re.compile(r"\buncomplicated\b|\bwithout (?:\w+ )?complications?\b", re.IGNORECASE)
_NAMED = 4
_REMEMBERED = 100_000


@dataclass(frozen=True, slots=True)
class Specific:
    """The code that a note supports under a header.

    Attributes:
        concepts: the codes, two where a bilateral condition has a code for each side.
        missing: what the note would have to say to be more specific; empty for nothing.
    """

    concepts: tuple[ConceptRow, ...]
    missing: str = ""


class Specifier:
    """Goes down from headers; remembers what it read.

    Args:
        lexicon: the lexical half of an index.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._below: dict[int, list[ConceptRow]] = {}
        self._above: dict[int, ConceptRow | None] = {}
        self._stems: dict[int, frozenset[str]] = {}
        self._narrowed: dict[tuple[int, frozenset[str]], Specific] = {}

    def narrowed(self, concept: ConceptRow, said: frozenset[str]) -> Specific:
        """Return ``specific`` for the words alone; remembered, since mentions come again."""
        place = (concept.id, said)
        if place not in self._narrowed:
            if len(self._narrowed) > _REMEMBERED:
                self._narrowed.clear()
            self._narrowed[place] = self.specific(concept, said)
        return self._narrowed[place]

    def specific(
        self,
        concept: ConceptRow,
        said: Set[str],
        *,
        around: Set[str] = frozenset(),
        encounter: str = "A",
        preferred: Sequence[str] = (),
    ) -> Specific:
        """Return the codes under a concept that the words of a note lead to.

        A code that says "unspecified" gives way to a sibling that says what the note says.

        Args:
            concept: a concept.
            said: stems of the words of the mention, and the side that it is on.
            around: stems of the whole note; of these only the part of the body counts, of
                which a title tells the side.
            encounter: 7th character of the encounter (A initial, D subsequent, S sequela).
            preferred: codes to take where the words do not decide, best first.
        """
        missing = ""
        if concept.billable and _silent(concept):
            above = self._parent(concept)
            if above is not None and not above.billable:
                own = self._of(concept)
                more = [row for row in self._children(above) if self._of(row) - own]
                chosen = self._stated(above, more, said, around)
                if chosen:
                    return Specific(tuple(chosen), "")
        while not concept.billable:
            below = self._children(concept)
            if not below:
                break
            if _by_seventh_character(concept, below):
                concept = _seventh(below, encounter)
                continue
            chosen = self._stated(concept, below, said, around) or self._open(
                concept, below, said, preferred
            )
            if len(chosen) == 2:
                both = [
                    self.specific(one, said, around=around, encounter=encounter) for one in chosen
                ]
                return Specific(tuple(row for one in both for row in one.concepts), missing)
            if not chosen:
                names = "/".join(row.code for row in below[:_NAMED])
                what = "laterality" if self._tells_sides(concept, below) else "more"
                missing = f"{what} not stated: {names}" + ("/..." if len(below) > _NAMED else "")
                break
            concept = chosen[0]
        return Specific((concept,), missing)

    def _stated(
        self, concept: ConceptRow, below: list[ConceptRow], said: Set[str], around: Set[str]
    ) -> list[ConceptRow]:
        """Return the child that the words name, or those of both sides; or none."""
        own = self._of(concept)
        ranked = []
        for row in below:
            extra = self._of(row) - own
            if not extra or _silent(row):
                continue
            sides = extra & _SIDES
            if sides <= said and extra - sides <= (said | around if sides else said):
                ranked.append((-len(extra), row.code, row))
        if ranked:
            return [min(ranked)[2]]
        if "bilater" in said or {"left", "right"} <= said:
            near = said | around
            sided = [self._sided(concept, below, near, side) for side in ("right", "left")]
            if sided[0] is not None and sided[1] is not None:
                return [sided[0], sided[1]]
        return []

    def _open(
        self,
        concept: ConceptRow,
        below: list[ConceptRow],
        said: Set[str],
        preferred: Sequence[str],
    ) -> list[ConceptRow]:
        """Return the child for a note that does not say; or none."""
        own = self._of(concept)
        simple = [row for row in below if _SIMPLE.search(row.title)]
        if simple:
            return simple[:1]
        silent = [row for row in below if _silent(row)]
        if silent:
            return [max(silent, key=lambda row: (len(self._of(row) & said), row.code))]
        for code in preferred:
            for row in below:
                if code.startswith(row.code) and not (self._of(row) & _SIDES) - said:
                    return [row]
        plain = [row for row in below if self._of(row) <= own]
        return plain[:1]

    def _sided(
        self, concept: ConceptRow, below: list[ConceptRow], said: Set[str], side: str
    ) -> ConceptRow | None:
        own = self._of(concept)
        for row in below:
            extra = self._of(row) - own
            if side in extra and extra - {side} <= said:
                return row
        return None

    def _tells_sides(self, concept: ConceptRow, below: list[ConceptRow]) -> bool:
        own = self._of(concept)
        return any((self._of(row) - own) & _SIDES for row in below)

    def _children(self, concept: ConceptRow) -> list[ConceptRow]:
        if concept.id not in self._below:
            self._below[concept.id] = self._lexicon.children(concept.id)
        return self._below[concept.id]

    def _parent(self, concept: ConceptRow) -> ConceptRow | None:
        if concept.parent is None:
            return None
        if concept.parent not in self._above:
            found = self._lexicon.concepts([concept.parent])
            self._above[concept.parent] = found.get(concept.parent)
        return self._above[concept.parent]

    def _of(self, concept: ConceptRow) -> frozenset[str]:
        if concept.id not in self._stems:
            self._stems[concept.id] = frozenset(terms(tokens(concept.title)))
        return self._stems[concept.id]


def _by_seventh_character(concept: ConceptRow, below: list[ConceptRow]) -> bool:
    return all(
        len(row.code.replace(".", "")) == 7 and row.title.startswith(concept.title) for row in below
    )


def _silent(concept: ConceptRow) -> bool:
    return _SILENT.search(concept.title) is not None


def _seventh(below: list[ConceptRow], encounter: str) -> ConceptRow:
    """Return the code of an encounter; the first one if the header has no such character."""
    return next((row for row in below if row.code.endswith(encounter)), below[0])
