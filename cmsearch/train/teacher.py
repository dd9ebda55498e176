"""A general-language teacher: its vectors of word pieces and of corpus snippets, kept in files."""

from __future__ import annotations

import logging
import random
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sentence_transformers import SentenceTransformer
from transformers import PreTrainedTokenizerFast

from cmsearch.encoder.hub import find_folder
from cmsearch.train.config import TuneConfig
from cmsearch.train.model import device, shape_of
from cmsearch.train.terms import Terms

log = logging.getLogger(__name__)
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


class Teacher:
    """The teacher and the axes onto which its vectors are turned."""

    def __init__(self, config: TuneConfig, out: Path) -> None:
        folder, _ = find_folder(config.teacher)
        self.model = SentenceTransformer(str(folder), device=device())
        self.width = shape_of(config.size).width
        self.out = out

    def axes(self, terms: Terms) -> Vectors:
        """Return the principal axes of the teacher's vectors of a twentieth of the queries."""
        path = self.out / "axes.npy"
        if not path.is_file():
            sample = [pair.query for found in terms.pairs.values() for pair in found[::20]]
            vectors = teach(self.model, sample)
            np.save(path, principal_axes(vectors, dim=self.width))
        found: Vectors = np.load(path)
        return found

    def pieces(self, tokenizer: PreTrainedTokenizerFast, terms: Terms) -> Vectors:
        """Return the teacher's vectors of all word pieces on its principal axes."""
        path = self.out / "pieces.npy"
        if not path.is_file():
            log.info("asking the teacher about %d pieces", len(tokenizer))
            words = piece_words(tokenizer.get_vocab())
            np.save(path, teach(self.model, words) @ self.axes(terms))
        found: Vectors = np.load(path)
        return found

    def explain(self, texts: list[str], terms: Terms) -> Vectors:
        """Return the teacher's vectors of the texts on its principal axes, length 1."""
        path = self.out / "snippets.npy"
        if not path.is_file():
            log.info("asking the teacher about %d snippets", len(texts))
            vectors = teach(self.model, texts) @ self.axes(terms)
            np.save(path, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        found: Vectors = np.load(path)
        return found
