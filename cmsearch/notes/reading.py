"""A note as it is read for coding: its segments, words, spans and candidates."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import islice, takewhile

from cmsearch.codes import System
from cmsearch.lexicon import Lexicon
from cmsearch.notes.assertion import contexts
from cmsearch.notes.choice import features
from cmsearch.notes.experience import Experience
from cmsearch.notes.layout import Kind, Segment, segments
from cmsearch.notes.linking import Candidate, Found, Linker
from cmsearch.notes.mentions import Finder, Span, Word, words
from cmsearch.notes.senses import Sense, Senses
from cmsearch.notes.trees import Matrix

_RAREST = 12.0


@dataclass(frozen=True, slots=True)
class Reading:
    """What is found in a note before anything is chosen.

    Attributes:
        text: the note.
        segments: its sentences, list items, cells and headings.
        words: its telling words.
        found: the spans that are forms of codes, with section and assertion.
        senses: its ambiguous short forms, in order, and what they stand for where that is clear.
    """

    text: str
    segments: tuple[Segment, ...]
    words: tuple[Word, ...]
    found: tuple[Found, ...]
    senses: tuple[Sense, ...] = ()

    def spelled_out(self, begin: int, end: int) -> str:
        """Return the words of a stretch, with what its ambiguous short forms stand for."""
        pieces, last = [], begin
        first = bisect_left(self.senses, begin, key=lambda one: one.begin)
        for sense in takewhile(lambda one: one.end <= end, islice(self.senses, first, None)):
            if sense.words:
                pieces += [self.text[last : sense.begin], sense.words]
                last = sense.end
        return "".join((*pieces, self.text[last:end]))

    def section_at(self, place: int) -> str:
        """Return the section in which a place of the text lies."""
        row = bisect_right(self.segments, place, key=lambda part: part.begin) - 1
        return self.segments[row].section if row >= 0 else ""


class Reader:
    """Reads notes with one index; remembers what it looked up there.

    Args:
        lexicon: the lexical half of an index.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self.lexicon = lexicon
        self._finder = Finder(lexicon)
        self._rarity: dict[str, float] = {}
        self._senses = Senses.load()
        self.linker = Linker(lexicon)

    def read(self, text: str) -> Reading:
        """Return what is found in a note."""
        parts = segments(text)
        stretches = [(part.begin, part.end) for part in parts]
        found = words(text, stretches)
        senses = self._senses.of(text, parts, found)
        instead = {sense.begin: sense.stems for sense in senses if sense.words}
        if instead:
            found = words(text, stretches, instead)
        spans = self._finder.spans(found)
        said = contexts(text, parts, [(span.begin, span.end) for span in spans])
        within = _segments_of(spans, parts)
        return Reading(
            text=text,
            segments=tuple(parts),
            words=tuple(found),
            found=tuple(
                Found(span, part.section, part.kind is Kind.HEADING, context.assertion)
                for span, part, context in zip(spans, within, said, strict=True)
            ),
            senses=tuple(senses),
        )

    def candidates(
        self, reading: Reading, experience: Experience, systems: Collection[System]
    ) -> list[Candidate]:
        """Return the candidates of a note, in order of their codes."""
        return self.linker.candidates(reading.found, reading.words, experience, systems)

    def features(
        self, reading: Reading, candidates: Sequence[Candidate], experience: Experience
    ) -> Matrix:
        """Return the features of the candidates of a note, (n, f) float32."""
        keys = {match.found.span.key for item in candidates for match in item.matches}
        rarity = {key: self._rarity_of(key) for key in keys}
        return features(candidates, experience, words=len(reading.words), rarity=rarity)

    def _rarity_of(self, key: str) -> float:
        """Return the summed rarity (inverse frequency in the index) of a phrase's words."""
        known = self._rarity.get(key)
        if known is None:
            stems = key.split()
            counts = self.lexicon.terms(stems)
            total = len(self.lexicon.table.concept)
            known = math.fsum(
                min(_RAREST, math.log(total / max(1, counts.get(word, (0, 1))[1])))
                for word in stems
            )
            self._rarity[key] = known
        return known


def _segments_of(spans: Sequence[Span], parts: Sequence[Segment]) -> list[Segment]:
    """Return the segment of each span; spans come in the order of the text."""
    found, place = [], 0
    for span in spans:
        while parts[place].end <= span.begin:
            place += 1
        found.append(parts[place])
    return found
