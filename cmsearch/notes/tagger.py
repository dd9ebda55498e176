"""Names of conditions in running text, found word by word: a linear-chain CRF.

Lafferty et al. 2001. The features of a word are its spelling, its neighbours and whether it
stands in a form of the index; the weights were learned from sentences in which people have
marked diseases. It finds what no form of the index spells, so that it can be searched.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from cmsearch.lexicon import Lexicon
from cmsearch.notes.mentions import Span
from cmsearch.wording import plain, stem

TAGGER_FILE = "tagger.json"
LABELS = ("O", "B", "I")
_TOKEN = re.compile(r"[^\W\d_]+|\d+|[^\w\s]|_")
_LONGEST_WORD = 40
_REMEMBERED = 100_000
# Chapters of conditions; factors, causes and codes for special purposes are no names.
_CONDITIONS = frozenset("ABCDEFGHIJKLMNOPQRST")


@dataclass(frozen=True, slots=True)
class Token:
    """A word, a number or a sign, and where it stands."""

    text: str
    begin: int
    end: int


def split(text: str, begin: int, end: int) -> list[Token]:
    """Return the words, numbers and signs of a stretch of text."""
    return [
        Token(match[0], match.start(), match.end()) for match in _TOKEN.finditer(text, begin, end)
    ]


def known(tokens: Sequence[Token], spans: Sequence[Span], chapters: Mapping[int, str]) -> list[str]:
    """Return for each token whether a form of a condition begins, goes on or is not there.

    Args:
        tokens: the tokens of a sentence.
        spans: the spans that are forms, of the whole text.
        chapters: first letter of the code of each concept.
    """
    marks = ["-"] * len(tokens)
    longest: list[Span] = []
    for span in sorted(spans, key=lambda one: (one.begin - one.end, one.begin)):
        if span.short or not any(chapters.get(one, "-") in _CONDITIONS for one, _ in span.forms):
            continue
        if all(span.end <= other.begin or other.end <= span.begin for other in longest):
            longest.append(span)
    for span in longest:
        size = min(3, span.words)
        for row, token in enumerate(tokens):
            if span.begin <= token.begin < span.end:
                marks[row] = f"{'B' if token.begin == span.begin else 'I'}{size}"
    return marks


class Counts:
    """In how many forms of an index the stems of words stand; remembers them.

    Args:
        lexicon: the lexical half of the index.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._known: dict[str, int] = {}

    def __call__(self, words: Sequence[str]) -> list[int]:
        """Return the count of each word."""
        stems = [stem(plain(word[:_LONGEST_WORD])) for word in words]
        fresh = sorted(set(stems) - self._known.keys())
        if fresh:
            if len(self._known) > _REMEMBERED:
                self._known.clear()
                fresh = sorted(set(stems))
            counts = self._lexicon.terms(fresh)
            self._known.update((word, counts.get(word, (0, 0))[1]) for word in fresh)
        return [self._known[word] for word in stems]


def common(count: int) -> str:
    """Return how common a word is in the forms of the index, in steps of four times."""
    return str(min(6, (count.bit_length() + 1) // 2))


def describe(words: Sequence[str], marks: Sequence[str], counts: Sequence[int]) -> list[list[str]]:
    """Return the features of each word of a sentence.

    Args:
        words: the words.
        marks: what ``known`` says of each.
        counts: in how many forms of the index the stem of each stands.
    """
    lower = [word[:_LONGEST_WORD].lower() for word in words]
    levels = [common(number) for number in counts]
    count = len(words)
    found = []
    for row, word in enumerate(lower):
        before = lower[row - 1] if row else "<s>"
        after = lower[row + 1] if row + 1 < count else "</s>"
        before2 = lower[row - 2] if row > 1 else "<s>"
        after2 = lower[row + 2] if row + 2 < count else "</s>"
        level_before = levels[row - 1] if row else "s"
        level_after = levels[row + 1] if row + 1 < count else "s"
        mark = marks[row]
        mark_before = marks[row - 1] if row else "s"
        mark_after = marks[row + 1] if row + 1 < count else "s"
        found.append([
            "w=" + word,
            "-1=" + before,
            "+1=" + after,
            "-2=" + before2,
            "+2=" + after2,
            f"-1w={before} {word}",
            f"w+1={word} {after}",
            "p3=" + word[:3],
            "p4=" + word[:4],
            "s2=" + word[-2:],
            "s3=" + word[-3:],
            "s4=" + word[-4:],
            "s5=" + word[-5:],
            f"c={levels[row]}",
            f"c-1={level_before} {levels[row]}",
            f"c+1={levels[row]} {level_after}",
            f"cs={levels[row]} {word[-4:]}",
            f"c3={level_before} {levels[row]} {level_after}",
            f"-2w={before2} {before}",
            f"w+2={after} {after2}",
            "-1s3=" + before[-3:],
            "-1s4=" + before[-4:],
            "+1s3=" + after[-3:],
            "+1s4=" + after[-4:],
            "h=" + _shape(words[row]),
            "k=" + mark,
            f"k-1={mark_before} {mark}",
            f"k+1={mark} {mark_after}",
            f"kw={mark} {word[-3:]}",
            f"hk={_shape(words[row])} {mark}",
        ])  # fmt: skip
    return found


def _shape(word: str) -> str:
    if word.isdigit():
        return "9"
    if not word[0].isalpha():
        return word[0]
    if word.isupper():
        return "X" * min(6, len(word))
    if word[0].isupper():
        return "Xx" if word[1:].islower() else "XxX"
    return "x" if word.islower() else "xX"


@dataclass(frozen=True, slots=True)
class Tagger:
    """A linear-chain CRF over ``LABELS``.

    Attributes:
        weights: by feature, a weight for each label.
        transitions: [from][to].
    """

    weights: Mapping[str, Sequence[float]]
    transitions: Sequence[Sequence[float]]

    @classmethod
    def load(cls) -> Tagger:
        """Return the tagger that ships with cmsearch."""
        text = files("cmsearch.notes").joinpath(TAGGER_FILE).read_text(encoding="utf-8")
        return cls.from_json(json.loads(text))

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Tagger:
        """Return the tagger of a parsed file, whose weights are hundredths."""
        weights = {
            feature: tuple(weight / 100.0 for weight in row)
            for feature, row in values["weights"].items()
        }
        return cls(weights, values["transitions"])

    def labels(self, features: Sequence[Sequence[str]]) -> list[str]:
        """Return the likeliest labels of a sentence, by its words' features (Viterbi)."""
        best = (0.0, 0.0, 0.0)
        back: list[tuple[int, int, int]] = []
        get = self.weights.get
        moves = self.transitions
        for row, of_word in enumerate(features):
            out = begin = inside = 0.0
            for feature in of_word:
                weight = get(feature)
                if weight is not None:
                    out += weight[0]
                    begin += weight[1]
                    inside += weight[2]
            own = (out, begin, inside)
            if row == 0:
                best = (out, begin, inside - 100.0)  # nothing goes on that has not begun
                back.append((0, 0, 0))
                continue
            came = []
            scores = []
            for label in range(3):
                options = [best[source] + moves[source][label] for source in range(3)]
                source = max(range(3), key=lambda one: (options[one], -one))
                came.append(source)
                scores.append(options[source] + own[label])
            best = (scores[0], scores[1], scores[2])
            back.append((came[0], came[1], came[2]))
        if not features:
            return []
        label = max(range(3), key=lambda one: (best[one], -one))
        path = [label]
        for row in range(len(features) - 1, 0, -1):
            label = back[row][label]
            path.append(label)
        return [LABELS[label] for label in reversed(path)]


def stretches(tokens: Sequence[Token], labels: Sequence[str]) -> list[tuple[int, int]]:
    """Return begin and end of each name that the labels mark."""
    found: list[tuple[int, int]] = []
    open_at = -1
    last = -1
    for token, label in zip(tokens, labels, strict=True):
        if open_at >= 0 and label != "I":
            found.append((open_at, last))
            open_at = -1
        if label == "B" or (label == "I" and open_at < 0):
            open_at = token.begin
        last = token.end
    if open_at >= 0:
        found.append((open_at, last))
    return found
