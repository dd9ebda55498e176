"""The vectors of an index on a card, compared there through torch.

Scores are sums of whole numbers below 2^24, exact in float32 in any order, and ties go to the
smaller row: ``flat`` and ``hnsw`` answer as ``ExactVectors`` does, to the last row. ``ivfpq``
looks in the cells and codes of the FAISS index; where FAISS found these itself they are no whole
numbers, and a card rounds them, but they only name candidates. faiss-gpu is not used: it leaves
ties open and has neither bytes in flat indexes nor refinement.
"""

from __future__ import annotations

import numpy as np

from cmsearch.errors import IndexFolderError, need
from cmsearch.quantiser import EXTRA, Tensor, whole_numbers
from cmsearch.types import Vectors
from cmsearch.vectors import (
    CANDIDATES,
    SPARE,
    FaissVectors,
    Kind,
    Rows,
    in_steps,
    steps_of_queries,
)

# Queries together; rows compared at once; scores held at once (1 GiB).
_QUERIES, _TILE, _SCORES = 1_024, 2**20, 2**28
# The best of a block stands for it until the best blocks are known.
_BLOCK = 256
# Below every score; a row's place in a key.
_NOTHING, _PLACE = -(2.0**30), 2**32


class DeviceVectors:
    """A ``FaissVectors`` copied to a device, which answers its searches.

    Args:
        index: the index; it still gives out the stored vectors.
        device: what torch calls the device.

    Raises:
        IndexFolderError: torch has no such device here, or its memory is too small.
        MissingDependency: torch is not installed.
    """

    def __init__(self, index: FaissVectors, device: str) -> None:
        torch = need("torch", extra=EXTRA)
        self._index = index
        self.vectors = index.vectors
        try:
            self._rows = torch.empty((len(index), index.dim), dtype=torch.int8, device=device)
            for first in range(0, len(index), _TILE):
                part = index.steps(first, min(first + _TILE, len(index)))
                self._rows[first : first + _TILE] = torch.from_numpy(part)
            self._cells = None
            if index.kind is Kind.IVFPQ:
                self._cells = _Cells(index, device)
        except (RuntimeError, AssertionError) as error:
            raise IndexFolderError(
                f"device {device!r}: torch cannot hold the index there; name cpu, or cuda with "
                f"a GPU that has room for {len(index):,} vectors"
            ) from error

    def __len__(self) -> int:
        return len(self._index)

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first; row -1 is no row."""
        torch = need("torch", extra=EXTRA)
        k = min(k, len(self))
        if not k or not len(queries):
            nothing = (len(queries), k)
            return np.empty(nothing, np.float32), np.empty(nothing, np.int64)
        unit = steps_of_queries(queries)
        asked = torch.from_numpy(in_steps(queries, unit)).to(self._rows.device)
        with whole_numbers():
            found = [self._best(part, k) for part in asked.split(_QUERIES)]
            keys = torch.cat(found).cpu().numpy()
        rows = -keys % _PLACE
        scores = ((keys + rows) // _PLACE).astype(np.float32) * unit * np.float32(self._index.step)
        missing = keys <= int(_NOTHING) * _PLACE
        return np.where(missing, -np.inf, scores).astype(np.float32), np.where(missing, -1, rows)

    def _best(self, asked: Tensor, k: int) -> Tensor:
        """Return the keys of the best rows, (n, k), for queries in whole steps."""
        if self._cells is None:
            return self._compared(asked, k)
        wanted = int(CANDIDATES * min(k + SPARE, len(self)))
        torch = need("torch", extra=EXTRA)
        return torch.cat(
            [
                self._rescored(part, self._cells.named(part, wanted), k)
                for part in asked.split(self._cells.together)
            ]
        )

    def _compared(self, asked: Tensor, k: int) -> Tensor:
        torch = need("torch", extra=EXTRA)
        size = min(_TILE, max(_BLOCK, _SCORES // len(asked) // _BLOCK * _BLOCK))
        best = None
        for first in range(0, len(self), size):
            scores = asked @ self._rows[first : first + size].float().T
            keys = _largest(scores, first, k)
            best = keys if best is None else torch.cat([best, keys], dim=1)
            best = best.topk(min(k, best.shape[1]), dim=1).values
        return best

    def _rescored(self, asked: Tensor, rows: Tensor, k: int) -> Tensor:
        """Return the keys of the best of some rows, (n, candidates); row -1 is no row."""
        torch = need("torch", extra=EXTRA)
        stored = self._rows[rows.clamp(min=0)].float()
        scores = torch.bmm(stored, asked[:, :, None]).squeeze(2)
        scores = torch.where(rows < 0, _NOTHING, scores)
        return _keys(scores, rows.clamp(min=0)).topk(k, dim=1).values


class _Cells:
    """Cells and codes of an index on a device.

    Attributes:
        together: how many queries are asked at once.
    """

    def __init__(self, index: FaissVectors, device: str) -> None:
        torch = need("torch", extra=EXTRA)
        lists, self._probes = index.lists, index.probes
        self._centroids = torch.from_numpy(lists.centroids).to(device)
        self._codebooks = torch.from_numpy(lists.codebooks).to(device)
        self._first = torch.from_numpy(lists.bounds[:-1]).to(device)
        self._sizes = torch.from_numpy(np.diff(lists.bounds)).to(device)
        self._ids = torch.from_numpy(lists.ids).to(device)
        self._codes = torch.from_numpy(np.ascontiguousarray(lists.codes.T)).to(device)
        seen = self._probes * len(lists.ids) // len(lists.centroids)
        self.together = max(1, min(_QUERIES, _SCORES // 8 // max(1, seen)))

    def named(self, asked: Tensor, wanted: int) -> Tensor:
        """Return rows with the best codes, (n, wanted), row -1 for none."""
        torch = need("torch", extra=EXTRA)
        count, device = len(asked), asked.device
        near, probed = (asked @ self._centroids.T).topk(self._probes, dim=1)
        sizes = self._sizes[probed]
        # All rows of the probed cells one after the other: whose they are, where their codes lie.
        lengths = sizes.flatten()
        entry = torch.repeat_interleave(torch.arange(len(lengths), device=device), lengths)
        number = torch.arange(len(entry), device=device)
        place = self._first[probed].flatten()[entry] + number - _before(lengths)[entry]
        query = entry // self._probes
        parts, words, _ = self._codebooks.shape
        tables = torch.einsum(
            "qpd,pwd->qpw", asked.view(count, parts, -1), self._codebooks
        ).flatten()
        scores = near.flatten()[entry]
        base = query * (parts * words)
        for part in range(parts):
            scores += tables[base + part * words + self._codes[part][place]]
        totals = sizes.sum(dim=1)
        width = max(wanted, int(totals.max()))
        keys = torch.full((count, width), int(_NOTHING) * _PLACE, device=device)
        keys[query, number - _before(totals)[query]] = _keys(scores, self._ids[place])
        best = keys.topk(wanted, dim=1).values
        return torch.where(best <= int(_NOTHING) * _PLACE, -1, -best % _PLACE)


def _before(sizes: Tensor) -> Tensor:
    return sizes.cumsum(dim=0) - sizes


def _keys(scores: Tensor, rows: Tensor) -> Tensor:
    """Return numbers that sort by score, then by row, the smaller first."""
    return scores.long() * _PLACE - rows


def _largest(scores: Tensor, first: int, k: int) -> Tensor:
    """Return the keys of the k best of scores, (n, rows from ``first`` on).

    The k best lie in the k blocks with the best of their own: any other block comes after
    k rows that are as good and stand before it, or better.
    """
    torch = need("torch", extra=EXTRA)
    count, size = scores.shape
    scores = torch.nn.functional.pad(scores, (0, -size % _BLOCK), value=_NOTHING)
    blocks = scores.view(count, -1, _BLOCK)
    number = torch.arange(blocks.shape[1], device=scores.device)
    keys = _keys(blocks.amax(dim=2), number)
    kept = -keys.topk(min(k, blocks.shape[1]), dim=1).values % _PLACE
    inside = blocks.gather(1, kept[:, :, None].expand(-1, -1, _BLOCK)).flatten(1)
    rows = kept[:, :, None] * _BLOCK + torch.arange(_BLOCK, device=scores.device)
    return _keys(inside, rows.flatten(1) + first).topk(min(k, size), dim=1).values
