"""The names of conditions in a note, by the tagger: also those that no form spells."""

from __future__ import annotations

from functools import cached_property

from cmsearch.lexicon import Lexicon
from cmsearch.notes.layout import Kind
from cmsearch.notes.reading import Reading
from cmsearch.notes.shortforms import ShortForms
from cmsearch.notes.tagger import Counts, Tagger, describe, known, split, stretches

_LONGEST_SEGMENT = 5_000
_MOST_WORDS = 12


class Namer:
    """Finds names of conditions in notes.

    Args:
        lexicon: the lexical half of an index.
        tagger: the tagger.
    """

    def __init__(self, lexicon: Lexicon, tagger: Tagger) -> None:
        self._lexicon = lexicon
        self._tagger = tagger
        self._counts = Counts(lexicon)

    @cached_property
    def _chapters(self) -> dict[int, str]:
        return self._lexicon.chapters("icd10cm")

    def names(self, reading: Reading) -> list[tuple[int, int]]:
        """Return begin and end of each name in a note, in its order."""
        found: list[tuple[int, int]] = []
        spans = [item.span for item in reading.found]
        short_forms = ShortForms()
        row = 0
        for part in reading.segments:
            while row < len(spans) and spans[row].begin < part.begin:
                row += 1
            last = row
            while last < len(spans) and spans[last].begin < part.end:
                last += 1
            if part.kind is Kind.HEADING or part.end - part.begin > _LONGEST_SEGMENT:
                continue
            tokens = split(reading.text, part.begin, part.end)
            words = [token.text for token in tokens]
            marks = known(tokens, spans[row:last], self._chapters)
            labels = self._tagger.labels(describe(words, marks, self._counts(words)))
            labels = short_forms.applied(tokens, labels)
            found += [
                (begin, end)
                for begin, end in stretches(tokens, labels)
                if len(reading.text[begin:end].split()) <= _MOST_WORDS
            ]
        return found
