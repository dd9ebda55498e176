"""Which tokens of a batch are hidden, and by what: the task of masked language modelling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmsearch.train.packing import Batch, Specials

# Of the hidden tokens, eight in ten become [MASK], one another piece, one stays itself.
# Source: Devlin et al., arXiv 1810.04805, section 3.1.
_MASKED, _REPLACED = 0.8, 0.1


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
        whole_words: hide all pieces of a word or none.
    """

    def __init__(
        self, continues: NDArray[np.bool_], specials: Specials, *, whole_words: bool
    ) -> None:
        self._continues = continues
        self._never = np.zeros(len(continues), bool)
        self._never[[specials.begin, specials.end, specials.pad, specials.mask]] = True
        self._mask = specials.mask
        self._ordinary = np.flatnonzero(~self._never)
        self._whole_words = whole_words

    def __call__(self, batch: Batch, *, rate: float, chance: np.random.Generator) -> Masked:
        """Return the batch with ``rate`` of its places hidden, always the same number."""
        ids = batch.ids
        count = round(rate * ids.size)
        scores = chance.random(ids.size)
        if self._whole_words:
            first = ~self._continues[ids] | self._never[ids]
            first[:, 0] = True
            scores = scores[np.cumsum(first.ravel()) - 1]
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


def continuing(vocabulary: dict[str, int]) -> NDArray[np.bool_]:
    """Return for each id whether its piece continues a word (``##itis``), (pieces,) bool."""
    found = np.zeros(max(vocabulary.values()) + 1, bool)
    for piece, number in vocabulary.items():
        found[number] = piece.startswith("##")
    return found
