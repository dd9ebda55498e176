"""FAISS for vectors that lie elsewhere: all compared in half precision, or candidates named.

What ``growing`` keeps on disk is searched by these; like ``vectors`` it knows rows, never
text.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import need
from cmsearch.ivfpq import new_ivfpq
from cmsearch.types import Vectors
from cmsearch.vectors import SPARE, Kind, Rows, read_faiss, write_faiss

# Vectors in the precision in which they are stored.
Stored = NDArray[np.float16]


class HalfVectors:
    """Compares with every one of some stored rows; they are copied into memory.

    Args:
        stored: the rows, (n, dim).
    """

    def __init__(self, stored: Stored) -> None:
        faiss = need("faiss", extra="cpu")
        count, dim = stored.shape
        self._index = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        if count:
            rows = np.ascontiguousarray(stored).view(np.uint8).reshape(count, dim * 2)
            self._index.add_sa_codes(rows)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first; ties to the smaller row."""
        if not len(self):
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        wanted = min(k + SPARE, len(self))
        asked = np.ascontiguousarray(queries, dtype=np.float32)
        scores, rows = self._index.search(asked, wanted)
        best = np.lexsort((rows, -scores), axis=1)[:, : min(k, len(self))]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)


class Approximate:
    """Finds rows that are probably the nearest, and grows: the vectors lie elsewhere.

    Args:
        index: a FAISS index of inner products.
        kind: ``hnsw`` or ``ivfpq``.
    """

    def __init__(self, index: Any, kind: Kind) -> None:
        self._index = index
        self.kind = kind

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @classmethod
    def trained(cls, sample: Vectors, *, kind: Kind, count: int) -> Approximate:
        """Return an empty index for about ``count`` vectors like those of the sample."""
        faiss = need("faiss", extra="cpu")
        dim, product = sample.shape[1], faiss.METRIC_INNER_PRODUCT
        if kind is Kind.HNSW:
            index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 32, product)
            index.hnsw.efConstruction = 160
            # Titles of codes are unlike passages: with 128 one in eight was missed.
            index.hnsw.efSearch = 1024
        else:
            cells = max(1, min(int(4 * np.sqrt(count)), len(sample) // 39))
            index = new_ivfpq(dim, cells)
            index.nprobe = max(128, cells // 8)
            index.cp.max_points_per_centroid = 64
            index.pq.cp.niter = 10
        index.train(np.ascontiguousarray(sample, dtype=np.float32))
        return cls(index, kind)

    @classmethod
    def open(cls, path: Path, *, kind: Kind, grow: bool = False) -> Approximate:
        """Return the index of a file; cells stay on the disk unless it is to grow.

        Raises:
            IndexFolderError: the file is missing, damaged or truncated.
        """
        faiss = need("faiss", extra="cpu")
        mapped = kind is Kind.IVFPQ and not grow
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if mapped else 0
        return cls(read_faiss(path, flags, "index the notes again into another folder"), kind)

    def add(self, vectors: Vectors) -> None:
        """Take vectors in; their rows follow those that are there."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        write_faiss(self._index, path)

    def search(self, queries: Vectors, *, k: int) -> Rows:
        """Return row numbers, (n, k), probably the nearest; row -1 is no row."""
        found: Rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k)[1]
        return found
