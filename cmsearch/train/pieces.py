"""Pieces a word: how well a tokenizer's vocabulary fits a kind of text."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from cmsearch.errors import TrainingError

_WORD = re.compile(r"[^\W\d_]+")


@dataclass(frozen=True, slots=True)
class Fit:
    """How a tokenizer cuts words.

    Attributes:
        name: the tokenizer's.
        size: pieces in its vocabulary.
        per_token: pieces a token of text: words, figures and signs as they stand.
        per_word: pieces a word of letters, as often as it is written.
        per_distinct_word: pieces a distinct word of letters, rare words counting as much.
        whole: share of the words of letters, as often as written, that are one piece.
    """

    name: str
    size: int
    per_token: float
    per_word: float
    per_distinct_word: float
    whole: float


def measure_fit(tokenizers: dict[str, Tokenizer], texts: Iterable[str]) -> list[Fit]:
    """Return the fit of each tokenizer to the texts.

    Raises:
        TrainingError: there are no words in the texts.
    """
    words: Counter[str] = Counter()
    tokens, kept = 0, []
    for text in texts:
        words.update(_WORD.findall(text))
        tokens += len(re.findall(r"\w+|[^\w\s]", text))
        kept.append(text)
    if not words:
        raise TrainingError("no words to measure tokenizers on")
    return [_fit(name, one, words, tokens, kept) for name, one in tokenizers.items()]


def _fit(
    name: str, tokenizer: Tokenizer, words: Counter[str], tokens: int, texts: Sequence[str]
) -> Fit:
    tokenizer.no_truncation()
    tokenizer.no_padding()
    distinct = sorted(words)
    # With a space before it, as in running text: byte-level vocabularies tell the two apart.
    rows = tokenizer.encode_batch([f" {word}" for word in distinct], add_special_tokens=False)
    pieces = {word: len(row.ids) for word, row in zip(distinct, rows, strict=True)}
    total = sum(words.values())
    running = tokenizer.encode_batch(list(texts), add_special_tokens=False)
    return Fit(
        name=name,
        size=tokenizer.get_vocab_size(),
        per_token=sum(len(row.ids) for row in running) / tokens,
        per_word=sum(pieces[word] * count for word, count in words.items()) / total,
        per_distinct_word=sum(pieces.values()) / len(pieces),
        whole=sum(count for word, count in words.items() if pieces[word] == 1) / total,
    )


def open_tokenizers(paths: Iterable[Path]) -> dict[str, Tokenizer]:
    """Return the tokenizers of files or model folders by their path.

    Raises:
        TrainingError: one cannot be read.
    """
    found = {}
    for path in paths:
        file = path / "tokenizer.json" if path.is_dir() else path
        try:
            found[str(path)] = Tokenizer.from_file(str(file))
        except Exception as error:  # the library raises nothing narrower
            raise TrainingError(f"{file}: no tokenizer ({error})") from error
    return found
