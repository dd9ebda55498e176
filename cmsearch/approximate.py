"""FAISS for vectors that lie elsewhere: all compared in half precision, or candidates named.

What ``growing`` keeps on disk is searched by these; like ``vectors`` it knows rows, never
text.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import IndexFolderError, need
from cmsearch.types import Vectors
from cmsearch.vectors import Kind, Rows

# Vectors in the precision in which they are stored.
Stored = NDArray[np.float16]
# FAISS leaves it open which of equal scores it keeps at the end of a list.
_SPARE = 16
# FAISS 1.15 ends the process on a memory-mapped file that is cut within its head.
_HEAD_BYTES = 64
_OPENING = Lock()


class HalfVectors:
    """Compares with every one of some stored rows; they are copied into memory.

    Args:
        stored: the rows, (n, dim).
    """

    def __init__(self, stored: Stored) -> None:
        faiss = _faiss()
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
        wanted = min(k + _SPARE, len(self))
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
        faiss = _faiss()
        dim, product = sample.shape[1], faiss.METRIC_INNER_PRODUCT
        if kind is Kind.HNSW:
            index = faiss.IndexHNSWSQ(dim, faiss.ScalarQuantizer.QT_8bit, 32, product)
            index.hnsw.efConstruction = 160
            # Titles of codes are unlike passages: with 128 one in eight was missed.
            index.hnsw.efSearch = 1024
        else:
            cells = max(1, min(int(4 * np.sqrt(count)), len(sample) // 39))
            coarse = faiss.IndexFlatIP(dim)
            index = faiss.IndexIVFPQ(coarse, dim, cells, dim // 4, 8, product)
            index.own_fields = True
            coarse.this.disown()
            index.nprobe = max(128, cells // 8)
            index.cp.seed = 1
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
        faiss = _faiss()
        mapped = kind is Kind.IVFPQ and not grow
        flags = faiss.IO_FLAG_MMAP | faiss.IO_FLAG_READ_ONLY if mapped else 0
        return cls(_read(path, flags, "index the notes again into another folder"), kind)

    def add(self, vectors: Vectors) -> None:
        """Take vectors in; their rows follow those that are there."""
        self._index.add(np.ascontiguousarray(vectors, dtype=np.float32))

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        _write(self._index, path)

    def search(self, queries: Vectors, *, k: int) -> Rows:
        """Return row numbers, (n, k), probably the nearest; row -1 is no row."""
        found: Rows = self._index.search(np.ascontiguousarray(queries, dtype=np.float32), k)[1]
        return found


def _read(path: Path, flags: int, advice: str) -> Any:
    """Return the FAISS index of a file.

    Raises:
        IndexFolderError: the file is missing, damaged or truncated.
    """
    faiss = _faiss()
    try:
        size = path.stat().st_size
        if size < _HEAD_BYTES:
            raise RuntimeError("shorter than the head of any index")
        with _OPENING:
            # A damaged length must not have FAISS ask for terabytes; it makes tables
            # for ivfpq that are not in the file.
            if hasattr(faiss, "set_deserialization_vector_byte_limit"):
                faiss.set_deserialization_vector_byte_limit(16 * size + 2**26)
            return faiss.read_index(str(path), flags)
    except (RuntimeError, MemoryError, OSError) as error:
        raise IndexFolderError(f"{path}: not a readable FAISS file; {advice}") from error


def _write(index: Any, path: Path) -> None:
    path.write_bytes(memoryview(_faiss().serialize_index(index)))


def _faiss() -> Any:
    return need("faiss", extra="cpu")
