"""The codable mentions of a note, each with its best codes: for those who want them alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cmsearch.arrange import hit
from cmsearch.candidates import Candidate as Ranked
from cmsearch.codes import System
from cmsearch.notes.linking import Candidate, Found, Match, strength
from cmsearch.notes.suggest import LONGEST_NOTE, coder_of
from cmsearch.search import Index
from cmsearch.types import Hit, Mention, Why

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
    """
    lister = _Lister(index, systems or (System.ICD10CM,), k)
    return [lister.mentions(text) for text in texts]


class _Lister:
    """Lists the mentions of notes with one index."""

    def __init__(self, index: Index, systems: Sequence[System], k: int) -> None:
        self._index = index
        self._coder = coder_of(index)
        self._systems = systems
        self._k = k

    def mentions(self, text: str) -> list[Mention]:
        """Return the mentions of one note."""
        reader, choice = self._coder.reader, self._coder.choice
        reading = reader.read(text[:LONGEST_NOTE])
        pool = reader.candidates(reading, choice.experience, self._systems)
        chances = choice.probabilities(reader.features(reading, pool, choice.experience))
        by_place: dict[tuple[int, int], list[tuple[float, Candidate, Match]]] = {}
        for item, chance in zip(pool, chances.tolist(), strict=True):
            for match in item.matches:
                span = match.found.span
                by_place.setdefault((span.begin, span.end), []).append((chance, item, match))
        kept = {
            place: options
            for place, options in by_place.items()
            if max(chance for chance, _, _ in options) >= _LEAST
        }
        return [self._mention(text, kept[place]) for place in _apart(kept)]

    def _mention(self, text: str, options: Sequence[tuple[float, Candidate, Match]]) -> Mention:
        found: Found = options[0][2].found
        return Mention(
            text=text[found.span.begin : found.span.end],
            begin=found.span.begin,
            end=found.span.end,
            section=found.section,
            assertion=found.assertion,
            hits=self._hits(options),
        )

    def _hits(self, options: Sequence[tuple[float, Candidate, Match]]) -> tuple[Hit, ...]:
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


def _apart(places: Mapping[tuple[int, int], object]) -> list[tuple[int, int]]:
    """Return the longest places that do not overlap, in order."""
    kept: list[tuple[int, int]] = []
    for begin, end in sorted(places, key=lambda place: (place[0] - place[1], place[0])):
        if all(end <= first or last <= begin for first, last in kept):
            kept.append((begin, end))
    return sorted(kept)
