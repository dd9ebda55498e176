"""The index as a ranker of codes, whole or one half of it, for evaluation."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from cmsearch.candidates import gather
from cmsearch.codes import System
from cmsearch.errors import CasesError
from cmsearch.filters import Filters, Gate
from cmsearch.fusion import DENSE_FILE, FEATURES, Fusion, without_words
from cmsearch.query import understand
from cmsearch.search import Index
from cmsearch.types import Why

_COLUMNS = {"cosine": "cosine", "lexical": "overlap"}
_HALVES = ("dense", *_COLUMNS)


class IndexRanker:
    """Ranks the codes of one system.

    Args:
        index: the open index.
        system: the code system of the hits.
        only: one half alone: ``dense`` (what the vectors found, scored by a fusion that
            sees no words), ``cosine`` (the same by the best cosine of a concept's forms) or
            ``lexical`` (the best overlap of weighted words); empty for the whole search.
    """

    def __init__(self, index: Index, system: System, *, only: str = "") -> None:
        if only and only not in _HALVES:
            raise CasesError(f"no half is called {only!r}; they are {', '.join(_HALVES)}")
        self._index = index
        self._system = system
        self._only = only
        self._dense = Fusion.load(DENSE_FILE) if only == "dense" else None

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"cmsearch {self._only}".strip()

    def rank(self, queries: Sequence[str], *, k: int) -> list[list[tuple[str, float]]]:
        """Return up to k codes with scores for each query, best first."""
        if self._only:
            return [self._half(query, k) for query in queries]
        found = self._index.search(queries, k=k, filters=Filters(systems=(self._system,)))
        return [[(hit.code.value, hit.score) for hit in hits] for hits in found]

    def _half(self, text: str, k: int) -> list[tuple[str, float]]:
        files = self._index.files
        query = understand(text, files.lexicon)
        if not text.strip():
            return []
        found = gather(
            query,
            self._index.encoder.encode(query.variants),
            lexicon=files.lexicon,
            index=files.vectors,
            allowed=Gate.of((self._system,), "").forms,
        )
        if self._dense is not None:
            scores = self._dense.probabilities(without_words(found.features))
        else:
            scores = found.features[:, FEATURES.index(_COLUMNS[self._only])]
        lexical = self._only == "lexical"
        kept = np.flatnonzero([lexical or why is not Why.LEXICAL for why in found.why])
        order = kept[np.lexsort((found.codes[kept], -scores[kept]))]
        return [(found.codes[row].decode(), float(scores[row])) for row in order[:k]]
