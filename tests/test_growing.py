"""Vectors that grow on disk: the kinds by size, against the exact reference, and crashes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cmsearch import growing
from cmsearch.approximate import HalfVectors
from cmsearch.errors import IndexFolderError
from cmsearch.growing import Appender, Extent, GrowingVectors, clear, kind_for
from cmsearch.vectors import Kind

DIM = 16


def unit(count, seed=0):
    values = np.random.default_rng(seed).normal(size=(count, DIM)).astype(np.float32)
    return values / np.linalg.norm(values, axis=1, keepdims=True)


def half(vectors):
    return vectors.astype(np.float16).astype(np.float32)


def exact(vectors, queries, k):
    """Every dot product with the stored values, in numpy; ties go to the smaller row."""
    scores = queries @ half(vectors).T
    found = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, found, axis=1), found


@pytest.fixture(scope="module")
def rows():
    """12,000 unit vectors in 40 groups."""
    noisy = np.repeat(unit(40, seed=1), 300, axis=0) + 0.25 * unit(12_000, seed=2)
    chosen = np.random.default_rng(5).permutation(len(noisy))
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)[chosen]


@pytest.fixture
def small(monkeypatch):
    """Thresholds that a test can reach."""
    monkeypatch.setattr(growing, "EXACT_UP_TO", 1_000)
    monkeypatch.setattr(growing, "GRAPH_UP_TO", 4_000)
    monkeypatch.setattr(growing, "_LATE_ROWS", 100)


def grown(folder, vectors, extent=None):
    appender = Appender(folder, extent or Extent(DIM))
    try:
        for start in range(0, len(vectors), 700):
            appender.append(vectors[start : start + 700])
        return appender.finish()
    finally:
        appender.close()


def share(folder, extent, vectors, k=10):
    """Return the share of the true nearest that are found."""
    queries = unit(30, seed=3) * 0.3 + vectors[:: len(vectors) // 30][:30] * 0.7
    scores, found = GrowingVectors.open(folder, extent).search(queries, k=k)
    true_scores, true = exact(vectors, queries, k)
    both = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    right = np.take_along_axis(queries @ half(vectors).T, found, axis=1)
    assert np.abs(scores - right).max() < 2e-3  # of the stored values, whatever named the row
    if extent.kind == "flat":
        assert found.tolist() == true.tolist()
    return sum(both) / true.size


def test_the_kind_follows_from_the_size():
    assert kind_for(0) is kind_for(growing.EXACT_UP_TO) is Kind.FLAT
    assert kind_for(growing.EXACT_UP_TO + 1) is kind_for(growing.GRAPH_UP_TO) is Kind.HNSW
    assert kind_for(growing.GRAPH_UP_TO + 1) is Kind.IVFPQ


@pytest.mark.parametrize(
    ("count", "kind", "least"),
    [(1, "flat", 1), (900, "flat", 1.0), (3_000, "hnsw", 0.98), (9_000, "ivfpq", 0.95)],
)
def test_the_true_neighbours_are_found(small, tmp_path, rows, count, kind, least):
    extent = grown(tmp_path, rows[:count])
    assert (extent.kind, extent.count) == (kind, count)
    if count >= 30:
        assert share(tmp_path, extent, rows[:count]) >= least
    opened = GrowingVectors.open(tmp_path, extent)
    assert len(opened) == count
    assert np.array_equal(opened.vectors(np.array([0])), half(rows[:1]))
    assert opened.search(rows[:1], k=99_999)[1].shape[0] == 1


def test_growing_through_all_kinds(small, tmp_path, rows):
    extent = Extent(DIM)
    seen, files = [], set()
    for upto in (500, 2_000, 2_050, 3_500, 5_000, 5_050, 12_000):
        extent = grown(tmp_path, rows[extent.count : upto], extent)
        clear(tmp_path, extent)
        seen.append((extent.kind, extent.count - extent.indexed))
        files.add(extent.file)
        assert [path.name for path in tmp_path.glob("*.faiss")] == (
            [extent.file] * bool(extent.file)
        )
        assert share(tmp_path, extent, rows[:upto]) >= 0.95
    assert seen == [("flat", 500), ("hnsw", 0), ("hnsw", 50), ("hnsw", 0), ("ivfpq", 0),
                    ("ivfpq", 50), ("ivfpq", 0)]  # fmt: skip
    assert len(files) == 5
    assert extent.trained == 5_000


def test_cells_are_found_again_when_they_are_outgrown(small, tmp_path, rows, monkeypatch):
    monkeypatch.setattr(growing, "_OUTGROWN", 2)
    extent = grown(tmp_path, rows[:5_000])
    extent = grown(tmp_path, rows[5_000:], extent)
    assert extent.trained == 12_000
    assert share(tmp_path, extent, rows) >= 0.95


def test_what_was_not_finished_is_cut_off(tmp_path, rows):
    extent = grown(tmp_path, rows[:300])
    crashed = Appender(tmp_path, extent)
    crashed.append(rows[300:500])
    crashed.close()
    assert share(tmp_path, extent, rows[:300]) == 1
    extent = grown(tmp_path, rows[600:700], extent)
    assert share(tmp_path, extent, np.vstack([rows[:300], rows[600:700]])) == 1


def test_damaged_files_are_named(small, tmp_path, rows):
    extent = grown(tmp_path, rows[:2_000])
    graph = tmp_path / extent.file
    graph.write_bytes(graph.read_bytes()[:5_000])
    with pytest.raises(IndexFolderError, match=r"hnsw-.*: not a readable FAISS file"):
        GrowingVectors.open(tmp_path, extent)
    with pytest.raises(IndexFolderError, match=r"vectors.f16: has 64,000 bytes, not 64,032"):
        GrowingVectors.open(tmp_path, replace(extent, count=2_001))


def test_stored_rows_are_searched_as_they_are(rows):
    stored = rows[:500].astype(np.float16)
    scores, found = HalfVectors(stored).search(rows[:5], k=7)
    true_scores, true = exact(rows[:500], rows[:5], 7)
    assert found.tolist() == true.tolist()
    assert np.abs(scores - true_scores).max() < 1e-3
    assert len(HalfVectors(stored[:0])) == 0
