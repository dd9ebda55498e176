"""The codable mentions of a note, each with its best codes: for those who want them alone.

A mention is a form of a code that the note may have, or a name of a condition or an injury
that no form spells; the codes of the latter are searched.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from weakref import WeakKeyDictionary

from cmsearch.arrange import hit
from cmsearch.candidates import Candidate as Ranked
from cmsearch.codes import System
from cmsearch.filters import Filters
from cmsearch.notes.assertion import contexts
from cmsearch.notes.injuries import injuries
from cmsearch.notes.linking import Candidate, Found, Match, strength
from cmsearch.notes.namer import Namer
from cmsearch.notes.problems import itself
from cmsearch.notes.reading import Reading
from cmsearch.notes.suggest import LONGEST_NOTE, coder_of
from cmsearch.notes.tagger import Tagger
from cmsearch.search import Index
from cmsearch.types import Assertion, Hit, Mention, Why

# Shorthand that names a code somewhere, and in notes hardly ever.
_MEASURES = frozenset("no yes hr hrs bp hx pan wt ht temp".split())  # noqa: SIM905
_LABEL = 3  # a heading as short as this ("PE:") names its section
_LEAST = 0.05  # below, the words of a form stand in the note by chance


def mentions(
    index: Index, texts: Sequence[str], *, k: int = 3, systems: Sequence[System] = ()
) -> list[list[Mention]]:
    """Return the codable mentions of each note, in its order; they never overlap.

    Args:
        index: an open index.
        texts: notes of any length.
        k: how many codes at most for a mention.
        systems: the code systems to look in; ICD-10-CM if left out.

    Raises:
        TypeError: one text was given instead of a list.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one note; mentions takes a list of them: [text]")
    lister = _Lister(index, systems or (System.ICD10CM,), k)
    return [lister.mentions(text) for text in texts]


def _says_nothing(words: str, found: Found) -> bool:
    """Whether the words of a form are a heading's label or a measure of the note."""
    return words.casefold() in _MEASURES or (found.heading and len(words) <= _LABEL)


_Option = tuple[float, Candidate, Match]
_Places = dict[tuple[int, int], Sequence[_Option]]
_NAMERS: WeakKeyDictionary[Index, Namer] = WeakKeyDictionary()


def namer_of(index: Index) -> Namer:
    """Return what finds names of conditions with an open index."""
    if index not in _NAMERS:
        _NAMERS[index] = Namer(index.files.lexicon, Tagger.load())
    return _NAMERS[index]


class _Lister:
    """Lists the mentions of notes with one index."""

    def __init__(self, index: Index, systems: Sequence[System], k: int) -> None:
        self._index = index
        self._coder = coder_of(index)
        self._systems = systems
        self._k = k
        self._namer = namer_of(index)
        self._searched: dict[str, tuple[Hit, ...]] = {}

    def mentions(self, text: str) -> list[Mention]:
        """Return the mentions of one note."""
        reader, choice = self._coder.reader, self._coder.choice
        reading = reader.read(text[:LONGEST_NOTE])
        pool = reader.candidates(reading, choice.experience, self._systems)
        chances = choice.probabilities(reader.features(reading, pool, choice.experience))
        by_place: dict[tuple[int, int], list[_Option]] = {}
        for item, chance in zip(pool, chances.tolist(), strict=True):
            for match in item.matches:
                span = match.found.span
                if _says_nothing(text[span.begin : span.end], match.found):
                    continue
                by_place.setdefault((span.begin, span.end), []).append((chance, item, match))
        kept = _likely(by_place)
        apart = _apart(kept)
        names = {place: place for place in self._namer.names(reading)}
        for found in injuries(reading.text, reading.segments):
            names[found.begin, found.end] = itself(reading.text, found)
        named = [
            place for place in sorted(names) if place not in kept and _within(apart, place) < 2
        ]
        places = [names[place] for place in named]
        said = dict(zip(named, contexts(reading.text, reading.segments, places), strict=True))
        return [
            self._named(reading, place, said[place].assertion)
            if place in said
            else self._mention(text, kept[place])
            for place in _apart({*kept, *named})
        ]

    def _named(self, reading: Reading, place: tuple[int, int], assertion: Assertion) -> Mention:
        """Return a mention that no form spells; its codes are searched."""
        begin, end = place
        words = " ".join(reading.spelled_out(begin, end).split())
        if words not in self._searched:
            filters = Filters(systems=tuple(self._systems))
            self._searched[words] = tuple(
                self._index.search([words], k=self._k, filters=filters)[0]
            )
        return Mention(
            text=reading.text[begin:end],
            begin=begin,
            end=end,
            section=reading.section_at(begin),
            assertion=assertion,
            hits=self._searched[words],
        )

    def _mention(self, text: str, options: Sequence[_Option]) -> Mention:
        found: Found = options[0][2].found
        return Mention(
            text=text[found.span.begin : found.span.end],
            begin=found.span.begin,
            end=found.span.end,
            section=found.section,
            assertion=found.assertion,
            hits=self._hits(options),
        )

    def _hits(self, options: Sequence[_Option]) -> tuple[Hit, ...]:
        """Return the codes of a mention as hits, the likeliest first."""
        ranked = sorted(options, key=lambda one: (-round(one[0], 4), one[1].concept.code))[
            : self._k
        ]
        lexicon = self._index.files.lexicon
        hits = []
        for rank, (chance, item, _) in enumerate(ranked, start=1):
            best = max(item.matches, key=strength)
            form = lexicon.forms([best.form])[0]
            candidate = Ranked(item.concept, form, Why.LEXICAL)
            hits.append(hit(rank, candidate, chance, self._index.manifest.releases))
        return tuple(hits)


def _likely(by_place: Mapping[tuple[int, int], Sequence[_Option]]) -> _Places:
    """Return the places that likely name something.

    One with words left out ("type 1 and 2 diabetes") must say more than what stands in it.
    """
    best = {place: max(chance for chance, _, _ in options) for place, options in by_place.items()}
    kept: _Places = {}
    for place, options in by_place.items():
        if best[place] < _LEAST:
            continue
        if not any(match.found.span.whole for _, _, match in options):
            within = (
                value
                for other, value in best.items()
                if other != place and place[0] <= other[0] and other[1] <= place[1]
            )
            if best[place] < max(within, default=0.0):
                continue
        kept[place] = options
    return kept


def _within(apart: Sequence[tuple[int, int]], place: tuple[int, int]) -> int:
    """Return how many places that do not overlap lie within a place."""
    first = bisect_left(apart, (place[0], 0))
    count = 0
    while first + count < len(apart) and apart[first + count][1] <= place[1]:
        count += 1
    return count


def _apart(places: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return the longest places that do not overlap, in order."""
    kept: list[tuple[int, int]] = []
    for begin, end in sorted(places, key=lambda place: (place[0] - place[1], place[0])):
        row = bisect_left(kept, (begin, end))
        before = row == 0 or kept[row - 1][1] <= begin
        if before and (row == len(kept) or end <= kept[row][0]):
            kept.insert(row, (begin, end))
    return kept
