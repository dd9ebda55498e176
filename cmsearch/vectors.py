"""Nearest vectors: an exact reference in numpy, and FAISS behind the same interface.

Vectors are stored in half precision; all scores are dot products of the stored values,
so that numpy and FAISS rank the same numbers. This module knows rows, never text.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import IndexFolderError, need
from cmsearch.types import Vectors

Rows = NDArray[np.int64]
# Vectors in the precision in which they are stored.
Stored = NDArray[np.float16]
_SMALL = 20_000

# FAISS 1.15 ends the process on a memory-mapped file that is cut within its head.
_HEAD_BYTES = 64
_OPENING = Lock()


class Kind(Enum):
    """How FAISS stores and searches the vectors."""

    FLAT = "flat"
    HNSW = "hnsw"
    IVFPQ = "ivfpq"


class VectorIndex(Protocol):
    """Finds the rows whose vectors have the largest dot product with a query."""

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first; row -1 is no row."""
        ...

    def vectors(self, rows: Rows) -> Vectors:
        """Return the stored vectors of the rows, float32, (n, dim)."""
        ...


def half(vectors: Vectors) -> Vectors:
    """Return the vectors with the precision in which they are stored."""
    return vectors.astype(np.float16).astype(np.float32)


class ExactVectors:
    """The reference: every dot product, in numpy; ties go to the smaller row."""

    def __init__(self, vectors: Vectors) -> None:
        self._vectors = half(vectors)

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first."""
        scores = queries @ self._vectors.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
        return np.take_along_axis(scores, rows, axis=1), rows

    def vectors(self, rows: Rows) -> Vectors:
        """Return the stored vectors of the rows, float32, (n, dim)."""
        return self._vectors[rows]


class FaissVectors:
    """A FAISS index over half-precision vectors.

    Args:
        index: a FAISS index of inner products.
        kind: how it was built.
    """

    def __init__(self, index: Any, kind: Kind) -> None:
        self._index = index
        self.kind = kind

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """How many dimensions the vectors have."""
        return int(self._index.d)

    @classmethod
    def build(cls, vectors: Vectors, *, kind: Kind = Kind.FLAT) -> FaissVectors:
        """Return an index over the rows of ``vectors``, float32, (n, dim), unit length.

        ``flat`` compares with every vector; ``hnsw`` (arXiv 1603.09320) walks a graph;
        ``ivfpq`` (Jegou et al. 2011) compares short codes of the nearest cells and then
        the stored vectors of the best. Too few vectors for cells make it ``flat``.
        """
        faiss = _faiss()
        count, dim = vectors.shape
        rows = np.ascontiguousarray(vectors, dtype=np.float32)
        half_precision = faiss.ScalarQuantizer.QT_fp16
        product = faiss.METRIC_INNER_PRODUCT
        if kind is Kind.IVFPQ and count < 10_000:
            kind = Kind.FLAT
        if kind is Kind.HNSW:
            index = faiss.IndexHNSWSQ(dim, half_precision, 32, product)
            index.hnsw.efConstruction = 200
            index.hnsw.efSearch = 256
        elif kind is Kind.IVFPQ:
            cells = min(int(4 * np.sqrt(count)), count // 39)
            coarse = faiss.IndexFlatIP(dim)
            codes = faiss.IndexIVFPQ(coarse, dim, cells, dim // 4, 8, product)
            codes.own_fields = True
            coarse.this.disown()
            codes.nprobe = max(16, cells // 16)
            codes.cp.seed = 1
            stored = faiss.IndexScalarQuantizer(dim, half_precision, product)
            index = faiss.IndexRefine(codes, stored)
            index.own_fields = index.own_refine_index = True
            codes.this.disown()
            stored.this.disown()
            index.k_factor = 4.0
        else:
            index = faiss.IndexScalarQuantizer(dim, half_precision, product)
        index.train(rows)
        index.add(rows)
        return cls(index, kind)

    @classmethod
    def of_stored(cls, stored: Stored) -> FaissVectors:
        """Return an index that compares with every one of the stored rows; they are copied."""
        faiss = _faiss()
        count, dim = stored.shape
        index = faiss.IndexScalarQuantizer(
            dim, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT
        )
        if count:
            rows = np.ascontiguousarray(stored).view(np.uint8).reshape(count, dim * 2)
            index.add_sa_codes(rows)
        return cls(index, Kind.FLAT)

    @classmethod
    def open(cls, path: Path, *, kind: Kind) -> FaissVectors:
        """Return the index of a file, memory-mapped where its kind allows.

        Raises:
            IndexFolderError: the file is missing, damaged or truncated.
        """
        flags = _faiss().IO_FLAG_MMAP_IFC if kind is Kind.FLAT else 0
        return cls(_read(path, flags, "rebuild with: cmsearch index --rebuild"), kind)

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Python writes it: what FAISS writes itself is cut short on a full disk without a
        word when the rest fits into the buffer of the C library.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        _write(self._index, path)

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first; row -1 is no row."""
        k = min(k, len(self))
        if k == 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        queries = np.ascontiguousarray(queries, dtype=np.float32)
        workers = _faiss().omp_get_max_threads()
        if self.kind is Kind.FLAT and len(queries) < workers and len(self) > _SMALL:
            return self._scan_in_parts(queries, k=k, parts=workers)
        scores, rows = self._index.search(queries, k)
        best = np.lexsort((rows, -scores), axis=1)
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)

    def _scan_in_parts(self, queries: Vectors, *, k: int, parts: int) -> tuple[Vectors, Rows]:
        """Search ranges of rows side by side: FAISS gives each query one thread only."""
        faiss = _faiss()
        bounds = np.linspace(0, len(self), parts + 1, dtype=np.int64).tolist()

        def scan(part: int) -> tuple[Vectors, Rows]:
            chosen = faiss.IDSelectorRange(bounds[part], bounds[part + 1])
            found: tuple[Vectors, Rows] = self._index.search(
                queries, k, params=faiss.SearchParameters(sel=chosen)
            )
            return found

        with ThreadPoolExecutor(parts) as pool:
            found = list(pool.map(scan, range(parts)))
        scores = np.hstack([part[0] for part in found])
        rows = np.hstack([part[1] for part in found])
        best = np.lexsort((rows, -scores), axis=1)[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)

    def vectors(self, rows: Rows) -> Vectors:
        """Return the stored vectors of the rows, float32, (n, dim)."""
        index = self._index
        if self.kind is Kind.IVFPQ:
            index = index.refine_index
        found: Vectors = index.reconstruct_batch(np.ascontiguousarray(rows, dtype=np.int64))
        return found


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
