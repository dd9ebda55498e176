"""What coded notes have taught: how often a code is given, and after which words.

Counts over training notes, nothing else: of notes, of codes, of codes whose words stand in
the note, and of phrases (up to three telling words) with the codes of their notes. No count
is of one note alone, and no text of a note is kept.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cmsearch.notes.mentions import Word

LONGEST = 3
Pairs = tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class Learned:
    """A phrase of a note whose notes had a code more often than others.

    Attributes:
        code: the code.
        phrase: the stems.
        begin, end: where the phrase stands first.
        share: share of the notes with the phrase that have the code, smoothed.
        notes: how many have both.
        lift: logarithm of how many times more often than without the phrase.
        surprise: by how many standard deviations.
    """

    code: str
    phrase: str
    begin: int
    end: int
    share: float
    notes: int
    lift: float
    surprise: float


@dataclass(frozen=True, slots=True)
class Experience:
    """Counts over training notes.

    Attributes:
        notes: how many there are.
        codes, categories: how many have a code, a 3-character category.
        mentioned: by code: how many mention its words, and how many of them have it.
        keys: the same by code and phrase key, written ``code key``.
        phrases: by phrase: how many have it, and with which codes how many.
        related: by category: how many mention a code of it, and which codes of it are given
            then, how often.
    """

    notes: int
    codes: Mapping[str, int]
    categories: Mapping[str, int]
    mentioned: Mapping[str, tuple[int, int]]
    keys: Mapping[str, tuple[int, int]]
    phrases: Mapping[str, tuple[int, Pairs]]
    related: Mapping[str, tuple[int, Pairs]]

    @classmethod
    def none(cls) -> Experience:
        """Return the experience of somebody who has coded nothing."""
        return cls(0, {}, {}, {}, {}, {}, {})

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Experience:
        """Return an experience from what ``to_json`` made."""
        return cls(
            notes=int(values["notes"]),
            codes=dict(values["codes"]),
            categories=dict(values["categories"]),
            mentioned={code: (pair[0], pair[1]) for code, pair in values["mentioned"].items()},
            keys={key: (pair[0], pair[1]) for key, pair in values["keys"].items()},
            phrases=_counted(values["phrases"]),
            related=_counted(values["related"]),
        )

    def to_json(self) -> dict[str, object]:
        """Return the counts as plain values."""
        return {
            "notes": self.notes,
            "codes": dict(sorted(self.codes.items())),
            "categories": dict(sorted(self.categories.items())),
            "mentioned": dict(sorted(self.mentioned.items())),
            "keys": dict(sorted(self.keys.items())),
            "phrases": dict(sorted(self.phrases.items())),
            "related": dict(sorted(self.related.items())),
        }

    def given_beside(self, code: str) -> tuple[int, int]:
        """Return how many notes mention the category of a code, and how many have the code."""
        count, pairs = self.related.get(code[:3], (0, ()))
        return count, next((both for other, both in pairs if other == code), 0)

    def prior(self, code: str) -> float:
        """Return the share of the notes that have a code."""
        return self.codes.get(code, 0) / self.notes if self.notes else 0.0

    def category_prior(self, code: str) -> float:
        """Return the share of the notes that have a code of its category."""
        return self.categories.get(code[:3], 0) / self.notes if self.notes else 0.0

    def recall(self, found: Sequence[Word]) -> list[Learned]:
        """Return what the phrases among the words of a note speak for."""
        learned = []
        for phrase, (begin, end) in phrases(found).items():
            if phrase not in self.phrases:
                continue
            count, pairs = self.phrases[phrase]
            for code, both in pairs:
                share, lift, surprise = association(count, both, self.prior(code))
                learned.append(Learned(code, phrase, begin, end, share, both, lift, surprise))
        return learned


def _counted(values: Mapping[str, Any]) -> dict[str, tuple[int, Pairs]]:
    return {
        name: (count, tuple((code, both) for code, both in pairs))
        for name, (count, pairs) in values.items()
    }


def association(count: int, both: int, prior: float) -> tuple[float, float, float]:
    """Return share, lift and surprise of a code among ``count`` notes with a phrase."""
    expected = count * prior
    return (
        (both + prior) / (count + 1.0),
        math.log((both + prior) / (expected + 1.0)) if both else -2.0,
        (both - expected) / math.sqrt(expected + 0.3),
    )


def phrases(found: Sequence[Word]) -> dict[str, tuple[int, int]]:
    """Return the phrases of up to three words in a row, with the place of the first one."""
    places: dict[str, tuple[int, int]] = {}
    for first, word in enumerate(found):
        stems: list[str] = []
        for last in range(first, min(first + LONGEST, len(found))):
            if found[last].run != word.run:
                break
            stems.append(found[last].stem)
            if not all(part.isdigit() for part in stems):
                places.setdefault(" ".join(stems), (word.begin, found[last].end))
    return places


def telling(
    phrases_of: Iterable[tuple[str, int, Mapping[str, int]]],
    priors: Mapping[str, float],
    *,
    least_share: float = 0.1,
    least_surprise: float = 2.5,
) -> dict[str, tuple[int, Pairs]]:
    """Return the phrases, with their counts, that speak for a code; all others go.

    Args:
        phrases_of: phrase, number of its notes, and with which codes how many.
        priors: the share of all notes that have a code.
    """
    kept: dict[str, tuple[int, Pairs]] = {}
    for phrase, count, codes in phrases_of:
        pairs = []
        for code, both in codes.items():
            if both < 2:
                continue
            share, lift, surprise = association(count, both, priors[code])
            if share >= least_share and surprise >= least_surprise and lift >= 0.4:
                pairs.append((code, both))
        if pairs:
            kept[phrase] = (count, tuple(sorted(pairs)))
    return kept
