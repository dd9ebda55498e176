"""What the probes are measured on, read from the folder of public sets."""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from cmsearch.errors import TrainingError

Item = TypeVar("Item")
SPLITS = ("train", "dev", "test")
TAGS = ("O", "B-Disease", "I-Disease")
_FILE_OF_SPLIT = {"train": "train", "dev": "devel", "test": "test"}


@dataclass(frozen=True, slots=True)
class Labelled:
    """One text or one sentence in words, with its label or one label for each word.

    Attributes:
        words: the words of a sentence; the one text of a text.
        labels: numbers of the labels, as many as words.
    """

    words: tuple[str, ...]
    labels: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LabelledSet:
    """One labelled task.

    Attributes:
        name: what tables call it.
        labels: names of the labels by number.
        by_word: whether each word has a label, or the whole text.
        parts: the items of ``train``, ``dev`` and ``test``.
    """

    name: str
    labels: tuple[str, ...]
    by_word: bool
    parts: dict[str, tuple[Labelled, ...]]


@dataclass(frozen=True, slots=True)
class Retrieval:
    """Questions, texts, and for each question the numbers of the right texts."""

    questions: tuple[str, ...]
    texts: tuple[str, ...]
    right: tuple[frozenset[int], ...]


def mentions(folder: Path, corpus: str) -> LabelledSet:
    """Return the sentences of a corpus with a tag for each word (B, I of a disease, O).

    Args:
        folder: the folder of the public sets.
        corpus: ``ncbi`` or ``bc5cdr``.
    """
    parts = {}
    for split in SPLITS:
        path = folder / "mentions" / f"{corpus}-disease_{_FILE_OF_SPLIT[split]}.iob.tsv.gz"
        parts[split] = tuple(_sentences(path))
    return LabelledSet(f"mentions {corpus}", TAGS, True, parts)


def specialties(folder: Path) -> LabelledSet:
    """Return the notes that have one clinical specialty."""
    path = folder / "classification" / "mtsamples_specialty.jsonl.gz"
    rows = [row for row in _rows(path) if row["label"] is not None]
    return _texts("specialty", [(row["split"], row["text"], row["label"]) for row in rows])


def roles(folder: Path) -> LabelledSet:
    """Return the sentences of trial abstracts with their role (background, methods, ...)."""
    path = folder / "classification" / "rct_roles.jsonl.gz"
    rows = [(row["split"], text, role) for row in _rows(path) for role, text in row["sentences"]]
    return _texts("sentence role", rows)


def questions(folder: Path) -> Retrieval:
    """Return the questions, the abstracts, and which abstract answers which question."""
    place = folder / "retrieval"
    texts = list(_rows(place / "pubmedqa_corpus.jsonl.gz"))
    asked = list(_rows(place / "pubmedqa_queries.jsonl.gz"))
    number = {row["_id"]: at for at, row in enumerate(texts)}
    right: dict[str, set[int]] = {}
    path = place / "pubmedqa_qrels.tsv"
    for line in _lines(path)[1:]:
        question, text, gain = line.split("\t")
        if int(gain) > 0:
            right.setdefault(question, set()).add(number[text])
    kept = [row for row in asked if row["_id"] in right]
    return Retrieval(
        tuple(row["text"] for row in kept),
        tuple(row["text"] for row in texts),
        tuple(frozenset(right[row["_id"]]) for row in kept),
    )


def some(items: Sequence[Item], count: int, *, seed: int) -> tuple[Item, ...]:
    """Return at most so many of the items, drawn without regard to order; 0 for all."""
    if not 0 < count < len(items):
        return tuple(items)
    return tuple(random.Random(seed).sample(list(items), count))


def _texts(name: str, rows: Sequence[tuple[str, str, str]]) -> LabelledSet:
    labels = tuple(sorted({label for _, _, label in rows}))
    number = {label: at for at, label in enumerate(labels)}
    parts = {
        split: tuple(
            Labelled((text,), (number[label],)) for own, text, label in rows if own == split
        )
        for split in SPLITS
    }
    return LabelledSet(name, labels, False, parts)


def _sentences(path: Path) -> Iterator[Labelled]:
    words: list[str] = []
    tags: list[int] = []
    for row, line in enumerate([*_lines(path), ""], start=1):
        if not line.strip():
            if words:
                yield Labelled(tuple(words), tuple(tags))
            words, tags = [], []
            continue
        word, _, tag = line.rstrip("\n").partition("\t")
        if tag not in TAGS:
            raise TrainingError(f"{path}, row {row}: tag {tag!r} is none of {', '.join(TAGS)}")
        words.append(word)
        tags.append(TAGS.index(tag))


def _rows(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in _lines(path)]


def _lines(path: Path) -> list[str]:
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be read ({error.strerror}); --data names the folder that holds "
            "mentions, classification and retrieval"
        ) from error
    text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode("utf-8")
    return text.removesuffix("\n").split("\n")
