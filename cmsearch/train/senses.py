"""Learning the cues of short forms: the words beside what texts spell out.

A text that has "mitral stenosis" and no other sense of MS shows what stands beside MS where
it means that. Cues are log-odds of how many texts of each sense have a word (naive Bayes),
the strongest of each sense alone; a third of the texts, by a hash of their ids, is held out
to measure.
"""

from __future__ import annotations

import json
import math
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from cmsearch.errors import TrainingError
from cmsearch.notes.mentions import telling, words
from cmsearch.notes.rules import rows
from cmsearch.notes.senses import CLEAR, Senses, near
from cmsearch.train.documents import Document, corpus_documents

_LONGEST = 12_000  # characters of a text that are read
_PLACES = 2  # of one sense in a text
_MOST, _FEWEST = 250, 4  # texts of a sense
_MOST_HELD_OUT = 60
_CUES = 40
_LEAST = 3  # texts that have a cue
_SMOOTHING = 0.25
_FAINT = 0.01
_NEAR_WEIGHT, _FAR_WEIGHT = 0.5, 2.0
_USUAL_WEIGHT = 0.3
# Words of so many texts, of notes or of others, tell the kind of text and not the sense.
_COMMON_NEAR, _COMMON_FAR = 0.3, 0.1
# Texts as clinicians write them come first where there are more than enough.
_CLINICAL = "notes"


@dataclass(frozen=True, slots=True)
class Context:
    """A text in which a sense is spelled out.

    Attributes:
        short, sense: the short form and what it stands for.
        near: for each place of the sense, the stems beside it.
        far: the stems of the whole text, without those of the sense.
        clinical: whether it is a note.
        held_out: whether it measures.
    """

    short: str
    sense: str
    near: tuple[frozenset[str], ...]
    far: frozenset[str]
    clinical: bool
    held_out: bool


@dataclass(frozen=True, slots=True)
class Scores:
    """How often the best sense was right on held-out texts, and that of the clear ones.

    Attributes:
        texts: how many texts.
        right: share of them.
        clear: share of the texts with a sense that is ahead by the margin.
        right_where_clear: share of these.
    """

    texts: int
    right: float
    clear: float
    right_where_clear: float


def contexts(
    found: Iterable[Document], senses: Mapping[str, Mapping[str, Sequence[str]]]
) -> Iterator[Context]:
    """Yield the contexts of every sense in some texts that have no other of its short form.

    Args:
        found: the texts.
        senses: by short form and sense, how else it is spelled out.
    """
    meant: dict[str, list[tuple[str, str]]] = defaultdict(list)  # by spelling
    for short, of_short in senses.items():
        for sense, others in of_short.items():
            for spelling in {_plain(one) for one in (sense, *others)}:
                meant[spelling].append((short, sense))
    longest = sorted(meant, key=lambda one: (-len(one), one))
    pattern = re.compile(rf"\b({'|'.join(map(re.escape, longest))})s?\b(?:\s*\([a-z]{{2,5}}\))?")
    for document in found:
        text = _plain(document.text[:_LONGEST])
        places: dict[tuple[str, str], list[tuple[int, int]]] = defaultdict(list)
        own: dict[tuple[str, str], frozenset[str]] = defaultdict(frozenset)
        for match in pattern.finditer(text):
            for one in meant[match[1]]:
                places[one].append(match.span())
                own[one] |= frozenset(telling(match[1]))
        if not places:
            continue
        read = words(text, [(0, len(text))])
        stems = frozenset(word.stem for word in read)
        spelled = Counter(short for short, _ in places)
        for (short, sense), spans in places.items():
            if spelled[short] == 1:
                yield Context(
                    short,
                    sense,
                    tuple(near(read, *span) - own[short, sense] for span in spans[:_PLACES]),
                    stems - own[short, sense],
                    document.part == _CLINICAL,
                    is_held_out(document.id),
                )


def _plain(text: str) -> str:
    """Return a text in small letters without accents, hyphens and possessives."""
    letters = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return re.sub(r"['\u2019]s\b", "", bare).replace("-", " ")


def is_held_out(identifier: str) -> bool:
    """Return whether a text belongs to the third that measures; by its id alone."""
    return blake2b(identifier.encode(), digest_size=8).digest()[0] % 3 == 0


def fit(found: Sequence[Context]) -> str:
    """Return the cues of the senses as JSON, learned from contexts that are not held out.

    Short forms are left out of which texts spell out fewer than two senses.
    """
    learned = [context for context in found if not context.held_out]
    shares = _shares(learned)
    rare = {
        most: {word for word, share in shares.items() if share <= most}
        for most in (_COMMON_NEAR, _COMMON_FAR)
    }
    by_sense: dict[str, dict[str, list[Context]]] = defaultdict(lambda: defaultdict(list))
    for context in learned:
        by_sense[context.short][context.sense].append(context)
    values = {}
    for short, of_short in sorted(by_sense.items()):
        kept = {
            sense: sorted(some, key=lambda one: not one.clinical)[:_MOST]
            for sense, some in sorted(of_short.items())
            if len(some) >= _FEWEST
        }
        if len(kept) < 2:
            continue
        beside = {sense: [one for some in texts for one in some.near]
                  for sense, texts in kept.items()}  # fmt: skip
        around = {sense: [some.far for some in texts] for sense, texts in kept.items()}
        near_cues = _cues(beside, _NEAR_WEIGHT, rare[_COMMON_NEAR])
        far_cues = _cues(around, _FAR_WEIGHT, rare[_COMMON_FAR])
        values[short] = {
            sense: [near_cues[sense], far_cues[sense], _usual(of_short[sense])] for sense in kept
        }
    return json.dumps(values, separators=(",", ":"), ensure_ascii=False) + "\n"


def _usual(found: Sequence[Context]) -> float:
    """Return what the number of notes with a sense says for it."""
    return round(_USUAL_WEIGHT * math.log1p(sum(one.clinical for one in found)), 2)


def _shares(found: Iterable[Context]) -> dict[str, float]:
    """Return in which share of texts each word stands, of notes or of others, the larger."""
    counts: dict[bool, Counter[str]] = {True: Counter(), False: Counter()}
    texts: Counter[bool] = Counter()
    for context in found:
        counts[context.clinical].update(context.far)
        texts[context.clinical] += 1
    return {
        word: max(counts[kind][word] / max(1, texts[kind]) for kind in counts)
        for word in counts[True].keys() | counts[False].keys()
        if len(word) > 1 and any(letter.isalpha() for letter in word)
    }


def _cues(
    texts: Mapping[str, Sequence[frozenset[str]]], weight: float, allowed: Set[str]
) -> dict[str, dict[str, float]]:
    """Return the weights of the words that speak for each sense, the strongest alone.

    A weight is the log of the share of texts with the word, less the mean of that over senses.
    """
    counts = {sense: Counter(word for one in some for word in one) for sense, some in texts.items()}
    total: Counter[str] = Counter()
    for of_sense in counts.values():
        total.update(of_sense)
    ahead: dict[str, dict[str, float]] = {sense: {} for sense in texts}
    for word, count in total.items():
        if count < _LEAST or word not in allowed:
            continue
        logs = {
            sense: math.log((of_sense[word] + _SMOOTHING / 2) / (len(texts[sense]) + _SMOOTHING))
            for sense, of_sense in counts.items()
        }
        mean = math.fsum(logs.values()) / len(logs)
        for sense, log in logs.items():
            if log - mean >= _FAINT:
                ahead[sense][word] = log - mean
    kept = {}
    for sense, logs in ahead.items():
        sure = {word: log * math.log1p(counts[sense][word]) for word, log in logs.items()}
        best = sorted(sure, key=lambda word: (-sure[word], word))[:_CUES]  # noqa: B023
        kept[sense] = {word: round(weight * logs[word], 2) for word in sorted(best)}
    return kept


def score(senses: Senses, found: Iterable[Context]) -> Scores:
    """Return how often the senses are right on the contexts that are held out.

    Sixty texts of a sense at most count, notes first; senses that were too rare to learn do not.
    """
    held_out: dict[tuple[str, str], list[Context]] = defaultdict(list)
    for context in found:
        if context.held_out and senses.knows(context.short, context.sense):
            held_out[context.short, context.sense].append(context)
    texts = right = clear = right_where_clear = 0
    for context in (
        one
        for some in held_out.values()
        for one in sorted(some, key=lambda one: not one.clinical)[:_MOST_HELD_OUT]
    ):
        best, ahead = senses.best(context.short, context.near[0], context.far)
        texts += 1
        right += best == context.sense
        clear += ahead >= CLEAR
        right_where_clear += ahead >= CLEAR and best == context.sense
    if not texts:
        raise TrainingError("no text that is held out spells out a sense; name a larger corpus")
    return Scores(texts, right / texts, clear / texts, right_where_clear / max(1, clear))


def fit_to_file(corpus: Path, out: Path) -> Scores:
    """Learn the cues of the packaged senses from a corpus, write them, and measure them.

    Raises:
        TrainingError: the corpus cannot be read, or spells out too little.
    """
    senses: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for short, sense, spelled, *_ in rows("senses"):
        senses[short][sense] = spelled.split("; ") if spelled else []
    found = list(contexts(corpus_documents(corpus), senses))
    text = fit(found)
    scores = score(Senses.from_json(text), found)
    out.write_text(text, encoding="utf-8")
    return scores
