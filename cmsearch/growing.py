"""Vectors on disk that grow: all of them stored one after the other, and a way in by size.

``vectors.f16`` holds every vector in half precision, appended and never changed. A few are
compared one by one; from thousands on a graph (HNSW), from many on short codes in cells
(IVF-PQ) name candidates, which are then compared by their stored vectors. Rows that came
after the graph or the cells were written are compared one by one, until they are many.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cmsearch.approximate import Approximate, HalfVectors, Stored
from cmsearch.errors import IndexFolderError
from cmsearch.types import Vectors
from cmsearch.vectors import Kind, Rows

# The kind follows from the number of vectors; python -m benchmarks.notes_search compares them.
EXACT_UP_TO = 200_000
GRAPH_UP_TO = 500_000
# Rows that are not in the graph or the cells yet: so many at most, or this share.
_LATE_ROWS, _LATE_SHARE = 4_096, 0.02
# Cells are found again when the rows are this many times those they were found from.
_OUTGROWN = 4
# Candidates that are compared by their stored vectors, for each row asked for, and at least.
_CANDIDATES, _LEAST_CANDIDATES = 8, 400
_PART = 16_384
_SAMPLE = 262_144
STORED_FILE = "vectors.f16"


def kind_for(count: int) -> Kind:
    """Return how so many vectors are searched."""
    if count <= EXACT_UP_TO:
        return Kind.FLAT
    return Kind.HNSW if count <= GRAPH_UP_TO else Kind.IVFPQ


@dataclass(frozen=True, slots=True)
class Extent:
    """How far the vectors of a folder reach; what lies beyond was never finished.

    Attributes:
        dim: dimensions of a vector.
        count: how many vectors count.
        kind: how they are searched.
        file: the file of the graph or the cells; empty where there is none.
        indexed: how many vectors are in it.
        trained: how many there were when it was begun.
    """

    dim: int
    count: int = 0
    kind: str = Kind.FLAT.value
    file: str = ""
    indexed: int = 0
    trained: int = 0


class GrowingVectors:
    """The vectors of a folder, open for searching.

    Args:
        stored: all vectors, memory-mapped.
        late: those that are compared one by one: all, or those after ``first``.
        first: the row of the first of them.
        approximate: the graph or the cells; None where there is none.
    """

    def __init__(
        self, stored: Stored, late: HalfVectors, first: int, approximate: Approximate | None
    ) -> None:
        self._stored = stored
        self._late = late
        self._first = first
        self._approximate = approximate

    def __len__(self) -> int:
        return len(self._stored)

    @classmethod
    def open(cls, folder: Path, extent: Extent) -> GrowingVectors:
        """Return the vectors of a folder.

        Raises:
            IndexFolderError: a file is missing, damaged or too short.
        """
        stored = stored_vectors(folder, extent)
        approximate = None
        if extent.file:
            approximate = Approximate.open(folder / extent.file, kind=Kind(extent.kind))
        late = HalfVectors(stored[extent.indexed :])
        return cls(stored, late, extent.indexed, approximate)

    def search(self, queries: Vectors, *, k: int) -> tuple[Vectors, Rows]:
        """Return scores and row numbers, both (n, k), best first; row -1 is no row."""
        scores, rows = self._late.search(queries, k=k)
        rows = np.where(rows < 0, -1, rows + self._first)
        if self._approximate is not None:
            wanted = min(len(self._approximate), max(_LEAST_CANDIDATES, _CANDIDATES * k))
            named = self._approximate.search(queries, k=wanted)
            scores = np.hstack([scores, self._scores(queries, named)])
            rows = np.hstack([rows, named])
        best = np.lexsort((rows, -scores), axis=1)[:, :k]
        return np.take_along_axis(scores, best, axis=1), np.take_along_axis(rows, best, axis=1)

    def vectors(self, rows: Rows) -> Vectors:
        """Return the stored vectors of the rows, float32, (n, dim)."""
        return self._stored[rows].astype(np.float32)

    def _scores(self, queries: Vectors, named: Rows) -> Vectors:
        """Return the dot products of each query with its rows; -inf for row -1."""
        scores = np.full(named.shape, -np.inf, dtype=np.float32)
        for line, (query, rows) in enumerate(zip(queries, named, strict=True)):
            there = rows >= 0
            scores[line, there] = self._stored[rows[there]].astype(np.float32) @ query
        return scores


def stored_vectors(folder: Path, extent: Extent) -> Stored:
    """Return all vectors of a folder, memory-mapped, (count, dim).

    Raises:
        IndexFolderError: the file is missing or too short.
    """
    path = folder / STORED_FILE
    if not extent.count:
        return np.empty((0, extent.dim), dtype=np.float16)
    held = path.stat().st_size if path.is_file() else 0
    if held < extent.count * extent.dim * 2:
        raise IndexFolderError(
            f"{path}: has {held:,} bytes, not {extent.count * extent.dim * 2:,}; "
            "index the notes again into another folder"
        )
    return np.memmap(path, np.float16, "r", shape=(extent.count, extent.dim))


class Appender:
    """Appends vectors to those of a folder. Nothing counts before ``finish`` is recorded.

    Args:
        folder: the folder.
        extent: how far its vectors reach.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, extent: Extent) -> None:
        self._folder = folder
        self._extent = extent
        self._count = extent.count
        self._file = (folder / STORED_FILE).open("ab")
        self._file.truncate(extent.count * extent.dim * 2)

    def append(self, vectors: Vectors) -> None:
        """Store vectors, float32, (n, dim)."""
        self._file.write(np.ascontiguousarray(vectors.astype(np.float16)).tobytes())
        self._count += len(vectors)

    def finish(self) -> Extent:
        """Have everything on the disk, graph or cells too; return how far it reaches now."""
        self._file.flush()
        os.fsync(self._file.fileno())
        extent = replace(self._extent, count=self._count)
        self._extent = _indexed(self._folder, extent)
        return self._extent

    def close(self) -> None:
        """Close the file; what was not finished is cut off next time."""
        self._file.close()


def _indexed(folder: Path, extent: Extent) -> Extent:
    """Return the extent with its graph or cells brought up to date, in a new file."""
    kind = kind_for(extent.count)
    if kind is Kind.FLAT:
        return replace(extent, kind=kind.value, file="", indexed=0, trained=0)
    outgrown = kind is Kind.IVFPQ and extent.count >= _OUTGROWN * extent.trained
    begun = extent.file and extent.kind == kind.value and not outgrown
    late = extent.count - extent.indexed
    if begun and late <= max(_LATE_ROWS, _LATE_SHARE * extent.indexed):
        return extent
    stored = stored_vectors(folder, extent)
    if begun:
        grown = Approximate.open(folder / extent.file, kind=kind, grow=True)
        first, trained = extent.indexed, extent.trained
    else:
        grown = Approximate.trained(_sample(stored), kind=kind, count=extent.count)
        first, trained = 0, extent.count
    for part in _parts(stored, first):
        grown.add(part)
    file = f"{kind.value}-{secrets.token_hex(4)}.faiss"
    grown.save(folder / file)
    with (folder / file).open("rb+") as written:
        os.fsync(written.fileno())
    return replace(extent, kind=kind.value, file=file, indexed=extent.count, trained=trained)


def _sample(stored: Stored) -> Vectors:
    """Return vectors to find cells from: all, or some spread evenly over them."""
    step = max(1, len(stored) // _SAMPLE)
    return stored[::step].astype(np.float32)


def _parts(stored: Stored, first: int) -> Iterator[Vectors]:
    for start in range(first, len(stored), _PART):
        yield stored[start : start + _PART].astype(np.float32)


def clear(folder: Path, extent: Extent) -> None:
    """Remove graphs and cells that the extent does not name."""
    for path in folder.glob("*.faiss"):
        if path.name != extent.file and path.name.startswith(("hnsw-", "ivfpq-")):
            path.unlink(missing_ok=True)
