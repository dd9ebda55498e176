"""Which tokens of a batch are hidden, and by what: the task of masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import TrainingError
from cmsearch.train.packing import Batch, Specials

# Of the hidden tokens, eight in ten become [MASK], one another piece, one stays itself.
# Source: Devlin et al., arXiv 1810.04805, section 3.1.
_MASKED, _REPLACED = 0.8, 0.1
# A term's score, uniform on (0, 1), is raised to this power: at a share of 0.3 that makes
# it about twice as likely to be among the lowest as a word outside of terms.
_TERM_POWER = 2.0
UNITS = ("piece", "word", "term")


@dataclass(frozen=True, slots=True)
class Masked:
    """A batch as the model sees it.

    Attributes:
        ids: token ids, (rows, length) int64, some of them hidden.
        chosen: which places are to be told, (rows, length) bool.
        labels: what stood there before, (rows, length) int64.
    """

    ids: NDArray[np.int64]
    chosen: NDArray[np.bool_]
    labels: NDArray[np.int64]


class Masker:
    """Hides a share of each batch.

    Args:
        continues: for each id of the vocabulary whether it continues a word, (pieces,) bool.
        specials: tokens that are never hidden.
        unit: what is hidden as a whole or not at all: ``piece``, ``word``, or ``term``: the
            words of a clinical term together, twice as likely as a word outside of one.
        terms: finds the terms; needed for ``term``.
    """

    def __init__(
        self,
        continues: NDArray[np.bool_],
        specials: Specials,
        *,
        unit: str = "piece",
        terms: TermFinder | None = None,
    ) -> None:
        if unit == "term" and terms is None:
            raise TrainingError("hiding whole terms needs token shards with terminologies")
        self._continues = continues
        self._never = np.zeros(len(continues), bool)
        self._never[[specials.begin, specials.end, specials.pad, specials.mask]] = True
        self._mask = specials.mask
        self._ordinary = np.flatnonzero(~self._never)
        self._unit = unit
        self._terms = terms

    def __call__(self, batch: Batch, *, rate: float, chance: np.random.Generator) -> Masked:
        """Return the batch with ``rate`` of its places hidden, always the same number."""
        ids = batch.ids
        count = round(rate * ids.size)
        scores = chance.random(ids.size)
        if self._unit != "piece":
            scores = self._by_unit(ids, scores)
        scores[self._never[ids].ravel()] = 2.0
        picked = np.argsort(scores, kind="stable")[:count]
        flat = np.zeros(ids.size, bool)
        flat[picked[scores[picked] < 1.0]] = True
        chosen = flat.reshape(ids.shape)
        fate = chance.random(ids.shape)
        other = chance.choice(self._ordinary, size=ids.shape)
        seen = np.where(chosen & (fate < _MASKED), self._mask, ids)
        replaced = chosen & (fate >= _MASKED) & (fate < _MASKED + _REPLACED)
        return Masked(np.where(replaced, other, seen), chosen, ids)

    def _by_unit(self, ids: NDArray[np.int64], scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give all tokens of a unit the score of its first; terms a score that wins more often."""
        begins = ~self._continues[ids] | self._never[ids]
        begins[:, 0] = True
        inside = np.zeros(ids.shape, bool)
        if self._terms is not None and self._unit == "term":
            for row, line in enumerate(ids):
                for first, last in self._terms.find(line, begins[row]):
                    begins[row, first + 1 : last] = False
                    inside[row, first:last] = True
        found = scores[np.flatnonzero(begins.ravel())][np.cumsum(begins.ravel()) - 1]
        return np.where(inside.ravel(), found**_TERM_POWER, found)


class TermFinder:
    """Finds clinical terms of several words in rows of token ids, the longest first.

    Args:
        terms: token ids of each term, without special tokens.
    """

    LONGEST = 6  # words

    def __init__(self, terms: list[list[int]]) -> None:
        self._known = {tuple(term) for term in terms if len(term) > 1}
        # Most words begin no term: they are passed over at the price of one look.
        self._firsts = {term[0] for term in self._known}

    def __len__(self) -> int:
        return len(self._known)

    def find(self, ids: NDArray[np.int64], begins: NDArray[np.bool_]) -> list[tuple[int, int]]:
        """Return the stretches (first, behind the last) that are a term, from left to right.

        Args:
            ids: token ids of a row.
            begins: where a word begins; a term begins and ends with whole words.
        """
        row = ids.tolist()
        words = [*np.flatnonzero(begins).tolist(), len(row)]
        found = []
        at = 0
        while at < len(words) - 1:
            step = 1
            if row[words[at]] in self._firsts:
                for size in range(min(self.LONGEST, len(words) - 1 - at), 0, -1):
                    first, last = words[at], words[at + size]
                    if tuple(row[first:last]) in self._known:
                        found.append((first, last))
                        step = size
                        break
            at += step
        return found


def continuing(vocabulary: dict[str, int]) -> NDArray[np.bool_]:
    """Return for each id whether its piece continues a word (``##itis``), (pieces,) bool."""
    found = np.zeros(max(vocabulary.values()) + 1, bool)
    for piece, number in vocabulary.items():
        found[number] = piece.startswith("##")
    return found
