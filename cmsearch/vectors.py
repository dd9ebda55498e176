"""Nearest vectors: an exact reference in numpy, and FAISS behind the same interface.

Vectors are stored as bytes, queries are rounded alike, and all scores are sums of whole
numbers: numpy and FAISS, on any processor, rank exactly the same. This module knows rows,
never text.
"""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import IndexFolderError, need
from cmsearch.ivfpq import Lists, from_faiss, new_ivfpq, to_faiss
from cmsearch.paths import index_command
from cmsearch.quantiser import build_lists
from cmsearch.types import Steps, Vectors

Rows = NDArray[np.int64]
# FAISS leaves it open which of equal scores it keeps at the end of a list.
SPARE = 16
# Candidates that IVF-PQ names for each row asked for.
CANDIDATES = 4.0

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


def step_of(vectors: Vectors) -> float:
    """Return the step in which the vectors can be stored: their largest component over 127."""
    return (float(np.abs(vectors).max(initial=0.0)) or 1.0) / 127


def in_steps(vectors: Vectors, step: float | Vectors) -> Vectors:
    """Return the vectors in whole steps, -127 to 127 (what lies beyond is cut), as float32."""
    found: Vectors = np.clip(np.rint(vectors / np.float32(step)), -127, 127)
    return found


def steps_of_queries(queries: Vectors) -> Vectors:
    """Return the step of each query, (n, 1): its own largest component over 127."""
    largest = np.abs(queries).max(axis=1, keepdims=True, initial=0.0)
    found: Vectors = np.where(largest > 0, largest, 1.0).astype(np.float32) / np.float32(127)
    return found


class ExactVectors:
    """The reference: every dot product, in numpy; ties go to the smaller row."""

    def __init__(self, vectors: Vectors) -> None:
        self.step = step_of(vectors)
        self._steps = in_steps(vectors, self.step)

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first."""
        unit = steps_of_queries(queries)
        scores = in_steps(queries, unit) @ self._steps.T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k].astype(np.int64)
        return np.take_along_axis(scores, rows, axis=1) * unit * np.float32(self.step), rows

    def vectors(self, rows: Rows) -> Vectors:
        """Return the stored vectors of the rows, float32, (n, dim)."""
        found: Vectors = self._steps[rows] * np.float32(self.step)
        return found


class FaissVectors:
    """A FAISS index over vectors in bytes.

    Args:
        index: a FAISS index of inner products.
        kind: how it was built.
        step: how much one step of a byte is in a component.
    """

    def __init__(self, index: Any, kind: Kind, step: float) -> None:
        self._index = index
        self.kind = kind
        self.step = step

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """How many dimensions the vectors have."""
        return int(self._index.d)

    @classmethod
    def build(
        cls,
        vectors: Vectors,
        *,
        kind: Kind = Kind.FLAT,
        step: float | None = None,
        device: str = "cpu",
    ) -> FaissVectors:
        """Return an index over the rows of ``vectors``, float32, (n, dim), unit length.

        ``step`` is theirs if left out; that of an index whose vectors are taken over keeps
        these as they were.

        ``flat`` compares with every vector; ``hnsw`` (arXiv 1603.09320) walks a graph;
        ``ivfpq`` (Jegou et al. 2011) compares short codes of the nearest cells and then
        the stored vectors of the best. Too few vectors for cells make it ``flat``.
        On another ``device`` than the CPU cells and codes are found through torch.
        """
        faiss = _faiss()
        count, dim = vectors.shape
        step = step or step_of(vectors)
        rows = np.ascontiguousarray(in_steps(vectors, step))
        as_bytes = faiss.ScalarQuantizer.QT_8bit_direct_signed
        product = faiss.METRIC_INNER_PRODUCT
        if kind is Kind.IVFPQ and count < 10_000:
            kind = Kind.FLAT
        if kind is Kind.HNSW:
            index = faiss.IndexHNSWSQ(dim, as_bytes, 32, product)
            index.hnsw.efConstruction = 200
            index.hnsw.efSearch = 256
        else:
            index = faiss.IndexScalarQuantizer(dim, as_bytes, product)
        index.train(rows)
        index.add(rows)
        if kind is Kind.IVFPQ:
            codes, stored = _coded(rows, device), index
            index = faiss.IndexRefine(codes, stored)
            index.own_fields = index.own_refine_index = True
            codes.this.disown()
            stored.this.disown()
            index.k_factor = CANDIDATES
        return cls(index, kind, step)

    @classmethod
    def open(cls, path: Path, *, kind: Kind, step: float) -> FaissVectors:
        """Return the index of a file, memory-mapped where its kind allows.

        Raises:
            IndexFolderError: the file is missing, damaged or truncated.
        """
        flags = _faiss().IO_FLAG_MMAP_IFC if kind is Kind.FLAT else 0
        advice = f"rebuild with: {index_command(path.parent, '--rebuild')}"
        return cls(read_faiss(path, flags, advice), kind, step)

    def save(self, path: Path) -> None:
        """Write the index to a file.

        Raises:
            OSError: the disk is full, or the folder cannot be written to.
        """
        write_faiss(self._index, path)

    @property
    def lists(self) -> Lists:
        """Cells and codes of an ``ivfpq`` index."""
        return from_faiss(self._codes)

    @property
    def probes(self) -> int:
        """In how many cells of an ``ivfpq`` index a query looks."""
        return int(self._codes.nprobe)

    @property
    def _codes(self) -> Any:
        return _faiss().downcast_index(self._index.base_index)

    def steps(self, first: int, last: int) -> Steps:
        """Return the stored vectors of some rows in whole steps, (last - first, dim)."""
        found: Steps = self._stored.reconstruct_batch(np.arange(first, last)).astype(np.int8)
        return found

    @property
    def _stored(self) -> Any:
        """The part of the FAISS index that holds the vectors themselves."""
        return self._index.refine_index if self.kind is Kind.IVFPQ else self._index

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first; row -1 is no row."""
        wanted, k = k, min(k + SPARE, len(self))
        if k == 0:
            return np.empty((len(queries), 0), np.float32), np.empty((len(queries), 0), np.int64)
        unit = steps_of_queries(queries)
        queries = np.ascontiguousarray(in_steps(queries, unit))
        scores, rows = self._index.search(queries, k)
        best = np.lexsort((rows, -scores), axis=1)[:, :wanted]
        rows = np.take_along_axis(rows, best, axis=1)
        return np.take_along_axis(scores, best, axis=1) * unit * np.float32(self.step), rows

    def vectors(self, rows: Rows) -> Vectors:
        """Return the stored vectors of the rows, float32, (n, dim)."""
        wanted = np.ascontiguousarray(rows, dtype=np.int64)
        found: Vectors = self._stored.reconstruct_batch(wanted)
        return found * np.float32(self.step)


def _coded(rows: Vectors, device: str) -> Any:
    """Return a FAISS index of cells and codes that holds some rows, in whole steps."""
    count, dim = rows.shape
    cells = min(int(4 * np.sqrt(count)), count // 39)
    if device == "cpu":
        index = new_ivfpq(dim, cells)
        index.train(rows)
        index.add(rows)
    else:
        lists = build_lists(rows.astype(np.int8), cells=cells, parts=dim // 4, device=device)
        index = to_faiss(lists)
    index.nprobe = max(16, cells // 16)
    return index


def read_faiss(path: Path, flags: int, advice: str) -> Any:
    """Return the FAISS index of a file.

    Raises:
        IndexFolderError: the file is missing, damaged or truncated; ``advice`` ends it.
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


def write_faiss(index: Any, path: Path) -> None:
    """Write a FAISS index to a file.

    Python writes it: what FAISS writes itself is cut short on a full disk without a
    word when the rest fits into the buffer of the C library.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    path.write_bytes(memoryview(_faiss().serialize_index(index)))


def _faiss() -> Any:
    return need("faiss", extra="cpu")
