"""From the mentions of a note to candidate codes, each with what in the note speaks for it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace

from cmsearch.codes import Code, System
from cmsearch.lexicon import Lexicon
from cmsearch.notes.experience import Experience, Learned
from cmsearch.notes.mentions import Span, Word, denial
from cmsearch.notes.specific import Specifier
from cmsearch.rows import ConceptRow
from cmsearch.types import Assertion

# A phrase alone makes a code a candidate from here on; below, it only supports one.
_SHARE = 0.15
_SURPRISE = 6.0
# A code is a candidate beside others of its category if so many of such notes had it.
_RELATED_SHARE = 0.03
_BESIDE = 5
_ORDER = ("title", "inclusion", "includes", "index", "vocabulary")


@dataclass(frozen=True, slots=True)
class Found:
    """A span of a note with what the note says of it."""

    span: Span
    section: str
    heading: bool
    assertion: Assertion


@dataclass(frozen=True, slots=True)
class Match:
    """A found span that is a form of the candidate: the form's id in the index and its kind.

    ``narrowed`` says that the form is of a header or an unspecified code, and that words
    beside the span led on to the candidate.
    """

    found: Found
    form: int
    template: str
    narrowed: bool = False


@dataclass(slots=True)
class Candidate:
    """A code that a note may have, and what speaks for it.

    Attributes:
        concept: the code.
        matches: the spans that are forms of it.
        learned: the phrases that went with it in training notes.
        related: spans that are forms of other codes of its category, where coders have
            given it beside those.
    """

    concept: ConceptRow
    matches: list[Match] = field(default_factory=list)
    learned: list[Learned] = field(default_factory=list)
    related: list[Match] = field(default_factory=list)

    @property
    def code(self) -> Code:
        """Its identity."""
        return Code(self.concept.code, System(self.concept.system))


class Linker:
    """Turns what was found in a note into candidates; remembers the concepts it read.

    Args:
        lexicon: the lexical half of an index.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._concepts: dict[int, ConceptRow] = {}
        self._templates: dict[int, str] = {}
        self._denying: set[int] = set()
        self._by_code: dict[tuple[str, str], ConceptRow | None] = {}
        self.specifier = Specifier(lexicon)

    def candidates(
        self,
        found: Sequence[Found],
        words: Sequence[Word],
        experience: Experience,
        systems: Collection[System],
    ) -> list[Candidate]:
        """Return the candidates of a note, in order of their codes.

        Args:
            found: its spans.
            words: its words.
            experience: what training notes taught.
            systems: the code systems to look in.
        """
        names = {system.value for system in systems}
        self._read(found)
        pool: dict[int, Candidate] = {}
        for item in found:
            for concept_id, form in item.span.forms:
                concept = self._concepts[concept_id]
                denies = item.span.denying and form not in self._denying
                if concept.system in names and concept.level == "code" and not denies:
                    candidate = pool.setdefault(concept_id, Candidate(concept))
                    candidate.matches.append(Match(item, form, self._templates[form]))
        self._narrow(pool, words)
        if System.ICD10CM in systems:
            self._add_related(pool, experience)
            self._add_learned(pool, experience.recall(words))
        return sorted(pool.values(), key=lambda item: (item.concept.system, item.concept.code))

    def _narrow(self, pool: dict[int, Candidate], words: Sequence[Word]) -> None:
        """Add the more specific codes that the words beside the spans lead to."""
        taken = {
            (concept, id(match.found)) for concept, item in pool.items() for match in item.matches
        }
        for candidate in list(pool.values()):
            concept = candidate.concept
            if concept.billable and "unspecified" not in concept.title.casefold():
                continue
            for match in candidate.matches:
                said = _beside(match.found.span, words)
                for row in self.specifier.narrowed(concept, said).concepts:
                    if (row.id, id(match.found)) not in taken:
                        taken.add((row.id, id(match.found)))
                        narrowed = pool.setdefault(row.id, Candidate(row))
                        narrowed.matches.append(replace(match, narrowed=True))

    def _add_related(self, pool: dict[int, Candidate], experience: Experience) -> None:
        """Add the codes that coders have given beside a mention of their category."""
        mentioned: dict[str, list[Match]] = {}
        for candidate in pool.values():
            if candidate.concept.system == System.ICD10CM.value:
                matches = mentioned.setdefault(candidate.concept.code[:3], [])
                matches += candidate.matches
        for category in sorted(mentioned):
            count, pairs = experience.related.get(category, (0, ()))
            for code, both in pairs:
                concept = self.by_code(Code(code, System.ICD10CM))
                if concept is None or both / count < _RELATED_SHARE:
                    continue
                candidate = pool.setdefault(concept.id, Candidate(concept))
                if not candidate.matches:
                    candidate.related = mentioned[category]

    def _add_learned(self, pool: dict[int, Candidate], learned: Iterable[Learned]) -> None:
        by_code: dict[str, list[Learned]] = {}
        for item in learned:
            by_code.setdefault(item.code, []).append(item)
        for code, items in by_code.items():
            concept = self.by_code(Code(code, System.ICD10CM))
            if concept is None:
                continue
            strong = any(item.share >= _SHARE or item.surprise >= _SURPRISE for item in items)
            if concept.id in pool or strong:
                pool.setdefault(concept.id, Candidate(concept)).learned = items

    def by_code(self, code: Code) -> ConceptRow | None:
        """Return the concept of a code, None if the index has none."""
        place = (code.system.value, code.value)
        if place not in self._by_code:
            rows = self._lexicon.by_code(code.value)
            self._by_code[place] = next((row for row in rows if row.system == place[0]), None)
        return self._by_code[place]

    def _read(self, found: Sequence[Found]) -> None:
        pairs = {pair for item in found for pair in item.span.forms}
        concepts = sorted({concept for concept, _ in pairs} - self._concepts.keys())
        self._concepts.update(self._lexicon.concepts(concepts))
        forms = sorted({form for _, form in pairs} - self._templates.keys())
        for row in self._lexicon.forms(forms):
            self._templates[row.id] = row.template
            if denial(row.text):
                self._denying.add(row.id)


def _beside(span: Span, words: Sequence[Word]) -> frozenset[str]:
    """Return the stems of a span and of the words around it, up to the next break."""
    first = max(0, span.first - _BESIDE)
    near = words[first : span.last + _BESIDE]
    run = words[span.first].run
    return frozenset(word.stem for word in near if word.run == run)


def beside(matches: Iterable[Match], words: Sequence[Word]) -> frozenset[str]:
    """Return the stems of the words in and around the spans of some matches."""
    found: frozenset[str] = frozenset()
    for match in matches:
        found |= _beside(match.found.span, words)
    return found


def strength(match: Match) -> tuple[int, int]:
    """Return what orders the matches of a code, larger for a better one."""
    kind = _ORDER.index(match.template) if match.template in _ORDER else len(_ORDER)
    return match.found.span.words, -kind
