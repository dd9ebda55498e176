"""Which candidates a coder would give: features of note and code, and boosted trees."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np

from cmsearch.notes.experience import Experience
from cmsearch.notes.linking import Candidate, strength
from cmsearch.notes.trees import Matrix, Trees
from cmsearch.types import Assertion

_LIKELY = 0.25
MODEL_FILE = "choice.json"
FEATURES = (
    "words", "title_form", "vocabulary_form", "codes_of_phrase", "least_codes_of_phrase",
    "mentions", "outermost_mentions", "whole_mentions", "short_word", "rarity", "place",
    "first_place", "last_place", "given_when_mentioned", "times_mentioned", "given_by_phrase",
    "times_phrase", "learned_share", "learned_notes", "learned_second", "learned_lift",
    "learned_phrases", "learned_surprise", "surprise_second", "prior", "category_prior",
    "given_beside_category", "times_category", "related",
    "same_chapter", "same_chapter_share",

    "depth", "chapter", "billable", "unspecified", "other", "category_candidates",
    "child_is_candidate", "longest_sibling", "note_words", "candidates", "parent_is_candidate",
    "narrowed", "narrowed_alone", "present", "negated", "possible", "historical", "family",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Choice:
    """A model of the coder: what it has seen, trees over features, and a calibration.

    Attributes:
        experience: counts over the training notes.
        trees: the trees.
        logits, probabilities: corners of the calibration, rising, (c,) each.
        threshold: the probability from which on codes are suggested.
    """

    experience: Experience
    trees: Trees
    corners: Matrix
    heights: Matrix
    threshold: float

    @classmethod
    def load(cls) -> Choice:
        """Return the model that ships with cmsearch."""
        text = files("cmsearch.notes").joinpath(MODEL_FILE).read_text(encoding="utf-8")
        return cls.from_json(json.loads(text))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Choice:
        """Return the model of a parsed file.

        Raises:
            ValueError: it was fitted on other features than the code computes.
        """
        if tuple(values["features"]) != FEATURES:
            raise ValueError(f"{MODEL_FILE} was fitted on other features than the code computes")
        return cls(
            experience=Experience.from_json(values["experience"]),
            trees=Trees.from_json(values["trees"]),
            corners=np.asarray(values["calibration"]["logits"], dtype=np.float32),
            heights=np.asarray(values["calibration"]["probabilities"], dtype=np.float32),
            threshold=float(values["threshold"]),
        )

    def probabilities(self, features: Matrix) -> Matrix:
        """Return how likely a coder gives each candidate, (n,) between 0 and 1."""
        logits = self.trees.logits(features)
        found: Matrix = np.interp(logits, self.corners, self.heights).astype(np.float32)
        return found


def features(
    candidates: Sequence[Candidate],
    experience: Experience,
    *,
    words: int,
    rarity: Mapping[str, float],
) -> Matrix:
    """Return the features of the candidates of one note, (n, len(FEATURES)) float32.

    Args:
        candidates: the candidates.
        experience: what training notes taught.
        words: how many telling words the note has.
        rarity: by phrase key, how rare its words are in the index.
    """
    if not candidates:
        return np.empty((0, len(FEATURES)), dtype=np.float32)
    note = _Note.of(candidates, words)
    company = _company(candidates, experience)
    table = [
        _matched(item, note, experience, rarity)
        + _taught(item, experience)
        + kept
        + _placed(item, note)
        + _said(item)
        for item, kept in zip(candidates, company, strict=True)
    ]
    return np.array(table, dtype=np.float32)


@dataclass(frozen=True, slots=True)
class _Note:
    """What the candidates of a note have in common."""

    words: int
    candidates: int
    inner: frozenset[tuple[int, int]]
    categories: Mapping[str, int]
    longest: Mapping[str, int]
    siblings: Mapping[str, Sequence[str]]
    ids: frozenset[int]

    @classmethod
    def of(cls, candidates: Sequence[Candidate], words: int) -> _Note:
        places = sorted(
            {(match.found.span.first, match.found.span.last)
             for item in candidates for match in item.matches},
            key=lambda place: (place[0], -place[1]),
        )  # fmt: skip
        inner, furthest = set(), -1
        for first, last in places:
            if last <= furthest:
                inner.add((first, last))
            furthest = max(furthest, last)
        matched = [item for item in candidates if item.matches]
        siblings: dict[str, list[str]] = {}
        for item in matched:
            siblings.setdefault(item.concept.code[:3], []).append(item.concept.code)
        return cls(
            words=max(1, words),
            candidates=len(candidates),
            inner=frozenset(inner),
            categories=Counter(item.concept.code[:3] for item in matched),
            longest={
                item.concept.code: max(match.found.span.words for match in item.matches)
                for item in matched
            },
            siblings=siblings,
            ids=frozenset(item.concept.id for item in matched),
        )


def _matched(
    item: Candidate, note: _Note, experience: Experience, rarity: Mapping[str, float]
) -> tuple[float, ...]:
    """Return the features of the spans that are forms of the code."""
    if not item.matches:
        return (0.0,) * 10 + (-1.0,) * 4 + (0.0, -1.0, 0.0)
    code = item.concept.code
    best = max(item.matches, key=strength)
    spans = [match.found.span for match in item.matches]
    places = [span.first / note.words for span in spans]
    keys = {span.key for span in spans}
    mentioned, given = experience.mentioned.get(code, (0, 0))
    counts = [experience.keys.get(f"{code} {key}", (0, 0)) for key in keys]
    return (
        best.found.span.words,
        float(best.template == "title"),
        float(best.template == "vocabulary"),
        len(best.found.span.forms),
        min(len(span.forms) for span in spans),
        len({(span.first, span.last) for span in spans}),
        len({span.first for span in spans if (span.first, span.last) not in note.inner}),
        sum(span.whole for span in spans),
        float(all(span.short for span in spans)),
        rarity.get(best.found.span.key, 0.0),
        best.found.span.first / note.words,
        min(places),
        max(places),
        (given + 0.3) / (mentioned + 1.0),
        mentioned,
        max((both + 0.3) / (count + 1.0) for count, both in counts),
        max(count for count, _ in counts),
    )


def _taught(item: Candidate, experience: Experience) -> tuple[float, ...]:
    """Return the features of the phrases that went with the code in training."""
    code = item.concept.code
    shares = sorted((one.share, one.notes) for one in item.learned)[::-1] or [(0.0, 0)]
    beside, given = experience.given_beside(code)
    surprises = sorted((one.surprise for one in item.learned), reverse=True) or [0.0]
    return (
        *shares[0],
        shares[1][0] if len(shares) > 1 else 0.0,
        math.fsum(one.lift for one in item.learned),
        len(item.learned),
        surprises[0],
        surprises[1] if len(surprises) > 1 else 0.0,
        experience.prior(code),
        experience.category_prior(code),
        (given + 0.3) / (beside + 1.0),
        beside,
        float(bool(item.related)),
    )


def _company(candidates: Sequence[Candidate], experience: Experience) -> list[tuple[float, float]]:
    """Return how many likely codes of its chapter stand beside each, and their share.

    MS is multiple sclerosis among neurological findings, mitral stenosis among cardiac ones.
    What shares its words does not count: it is another reading of the same mention.
    """
    belief = [_belief(item, experience) for item in candidates]
    places = [{match.found.span.begin for match in item.matches} for item in candidates]
    likely = [row for row, value in enumerate(belief) if value >= _LIKELY]
    found = []
    for row, item in enumerate(candidates):
        others = [other for other in likely if not places[other] & places[row] and other != row]
        total = math.fsum(belief[other] for other in others)
        same = math.fsum(
            belief[other]
            for other in others
            if candidates[other].concept.code[0] == item.concept.code[0]
        )
        found.append((same, (same + 0.1) / (total + 1.0)))
    return found


def _belief(item: Candidate, experience: Experience) -> float:
    """Return how likely a code is at first sight: by its words, or what went with them."""
    code = item.concept.code
    counts = [
        experience.keys.get(f"{code} {key}", (0, 0))
        for key in {match.found.span.key for match in item.matches}
    ]
    return max(
        max(((both + 0.3) / (count + 1.0) for count, both in counts), default=0.0),
        max((one.share for one in item.learned), default=0.0),
    )


def _placed(item: Candidate, note: _Note) -> tuple[float, ...]:
    """Return the features of the code itself and of the candidates around it."""
    code, title = item.concept.code, item.concept.title.casefold()
    around = [other for other in note.siblings.get(code[:3], ()) if other != code]
    return (
        len(code),
        ord(code[0]) - ord("A"),
        float(item.concept.billable),
        float("unspecified" in title),
        float("other " in title),
        note.categories.get(code[:3], 0),
        float(any(other.startswith(code) for other in around)),
        max((note.longest[other] for other in around), default=0),
        note.words,
        note.candidates,
        float(item.concept.parent in note.ids),
    )


def _said(item: Candidate) -> tuple[float, ...]:
    """Return which share of the mentions is present, negated, ..."""
    count = len(item.matches)
    if not count:
        return (0.0,) * 2 + (-1.0,) * 5
    narrowed = sum(match.narrowed for match in item.matches)
    said = Counter(match.found.assertion for match in item.matches)
    order = (Assertion.PRESENT, Assertion.NEGATED, Assertion.POSSIBLE)
    shares = [said[one] / count for one in (*order, Assertion.HISTORICAL, Assertion.FAMILY)]
    shares[2] += said[Assertion.HYPOTHETICAL] / count
    return (narrowed, float(narrowed == count), *shares)
