"""A general-language teacher: its vectors of word pieces and of corpus snippets."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer

Vectors = NDArray[np.float32]


def piece_words(vocabulary: dict[str, int]) -> list[str]:
    """Return the pieces in order of their ids, continuations without their signs."""
    return [
        piece.removeprefix("##")
        for piece, _ in sorted(vocabulary.items(), key=lambda item: item[1])
    ]


def principal_axes(vectors: Vectors, *, dim: int) -> Vectors:
    """Return the rotation onto the ``dim`` axes of largest second moment, (d, dim).

    The axes are those of the uncentred vectors, so that cosines are kept as well as a
    projection can, and the leading dimensions alone make a good shorter vector.
    """
    moment = vectors.T.astype(np.float64) @ vectors.astype(np.float64) / len(vectors)
    values, axes = np.linalg.eigh(moment)
    return np.ascontiguousarray(axes[:, values.argsort()[::-1][:dim]], dtype=np.float32)


def teach(teacher: SentenceTransformer, texts: Sequence[str], *, batch: int = 256) -> Vectors:
    """Return the teacher's vectors of the texts, (n, d) float32, rows of length 1."""
    vectors: Vectors = teacher.encode(
        list(texts), batch_size=batch, normalize_embeddings=True, show_progress_bar=False
    )
    return vectors


def snippets(documents: Iterable[str], *, count: int, per_document: int, seed: int) -> list[str]:
    """Return short stretches of 3 to 20 words from the documents, cut at sentence ends."""
    chance = random.Random(seed)
    found: list[str] = []
    for text in documents:
        sentences = [part.strip() for part in re.split(r"(?<=[.?!;:])\s+|\n", text)]
        sentences = [part for part in sentences if len(part.split()) >= 3]
        for sentence in chance.sample(sentences, min(per_document, len(sentences))):
            words = sentence.split()
            length = chance.randrange(3, 21)
            start = chance.randrange(max(1, len(words) - length + 1))
            found.append(" ".join(words[start : start + length]))
    return chance.sample(found, min(count, len(found)))
