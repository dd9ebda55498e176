"""Cells and short codes (IVF-PQ, Jegou et al. 2011): as FAISS has them, and as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import need
from cmsearch.types import Vectors

# Values that one byte of a short code tells apart.
CODEWORDS = 256


@dataclass(frozen=True, slots=True)
class Lists:
    """An IVF-PQ index of inner products as arrays.

    Attributes:
        centroids: of the cells, (cells, dim).
        codebooks: what the bytes of a code stand for, (parts, 256, dim / parts).
        bounds: where the cells begin among the codes, and the end, (cells + 1,).
        ids: row numbers, cell after cell, (n,).
        codes: codes of the rows' distances from their centroids, cell after cell, (n, parts).
    """

    centroids: Vectors
    codebooks: Vectors
    bounds: NDArray[np.int64]
    ids: NDArray[np.int64]
    codes: NDArray[np.uint8]


def new_ivfpq(dim: int, cells: int) -> Any:
    """Return an empty FAISS index with a byte for every four dimensions."""
    faiss = need("faiss", extra="cpu")
    product = faiss.METRIC_INNER_PRODUCT
    coarse = faiss.IndexFlatIP(dim)
    index = faiss.IndexIVFPQ(coarse, dim, cells, dim // 4, 8, product)
    index.own_fields = True
    coarse.this.disown()
    index.cp.seed = 1
    return index


def to_faiss(lists: Lists) -> Any:
    """Return the FAISS index of some lists."""
    faiss = need("faiss", extra="cpu")
    cells, dim = lists.centroids.shape
    index = new_ivfpq(dim, cells)
    index.quantizer.add(np.ascontiguousarray(lists.centroids))
    faiss.copy_array_to_vector(lists.codebooks.ravel(), index.pq.centroids)
    index.is_trained = True
    for cell, (first, last) in enumerate(zip(lists.bounds, lists.bounds[1:], strict=False)):
        if last > first:
            ids = np.ascontiguousarray(lists.ids[first:last])
            codes = np.ascontiguousarray(lists.codes[first:last])
            index.invlists.add_entries(
                cell, int(last - first), faiss.swig_ptr(ids), faiss.swig_ptr(codes)
            )
    index.ntotal = len(lists.ids)
    return index


def from_faiss(index: Any) -> Lists:
    """Return the arrays of a FAISS index."""
    faiss = need("faiss", extra="cpu")
    stored = index.invlists
    sizes = [stored.list_size(cell) for cell in range(index.nlist)]
    parts = index.pq.M
    ids = [np.empty(0, np.int64)]
    codes = [np.empty((0, parts), np.uint8)]
    for cell, size in enumerate(sizes):
        if size:
            ids.append(faiss.rev_swig_ptr(stored.get_ids(cell), size).copy())
            held = faiss.rev_swig_ptr(stored.get_codes(cell), size * parts)
            codes.append(held.reshape(size, parts).copy())
    return Lists(
        faiss.downcast_index(index.quantizer).reconstruct_n(0, index.nlist),
        faiss.vector_to_array(index.pq.centroids).reshape(parts, CODEWORDS, index.pq.dsub),
        np.concatenate(([0], np.cumsum(sizes))).astype(np.int64),
        np.concatenate(ids),
        np.concatenate(codes),
    )
