"""FAISS against the exact reference: the same rows, the same scores, and damaged files."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import one_line, unit

from cmsearch.errors import IndexFolderError, MissingDependency
from cmsearch.vectors import ExactVectors, FaissVectors, Kind, in_steps, step_of

DIM = 16


@pytest.fixture(scope="module")
def rows():
    """12,000 unit vectors in 40 groups: enough for the cells of ivfpq."""
    centres = unit(40, seed=1)
    noisy = np.repeat(centres, 300, axis=0) + 0.25 * unit(12_000, seed=2)
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def queries(rows):
    return unit(20, seed=3) * 0.3 + rows[::600] * 0.7


@pytest.fixture(scope="module")
def exact(rows):
    return ExactVectors(rows)


@pytest.fixture(scope="module", params=list(Kind), ids=lambda kind: kind.value)
def built(request, rows):
    return FaissVectors.build(rows, kind=request.param)


def test_the_reference_is_a_sorted_list_of_dot_products():
    stored = np.array([[1, 0], [0, 1], [0.6, 0.8], [0, 1]], dtype=np.float32)
    scores, found = ExactVectors(stored).search(np.array([[0, 1]], dtype=np.float32), k=4)
    assert found.tolist() == [[1, 3, 2, 0]]
    assert scores[0].tolist() == pytest.approx([1, 1, 0.8, 0], abs=0.01)


def test_a_kind_is_kept(built, rows):
    assert len(built) == len(rows)
    assert built.dim == DIM
    assert built.kind in Kind


# The share of the true ten nearest that each kind finds, at the least.
SHARES = {Kind.FLAT: 1.0, Kind.HNSW: 0.99, Kind.IVFPQ: 0.7}


def test_the_true_neighbours_are_found(built, queries, exact):
    scores, found = built.search(queries, k=10)
    true_scores, true = exact.search(queries, k=10)
    both = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    assert sum(both) >= SHARES[built.kind] * true.size
    if built.kind is Kind.FLAT:
        assert found.tolist() == true.tolist()
        assert np.array_equal(scores, true_scores)


def test_scores_are_dot_products_of_the_stored_rows(built, queries, exact):
    scores, found = built.search(queries, k=10)
    assert scores.shape == found.shape == (20, 10)
    assert found.min() >= 0
    for query, row, score in zip(queries, found, scores, strict=True):
        assert np.abs(exact.vectors(row) @ query - score).max() < 0.02
    assert (np.diff(scores, axis=1) <= 0).all()


def test_stored_vectors_come_back(built, rows):
    wanted = np.array([11_999, 0, 7, 7], dtype=np.int64)
    assert built.vectors(wanted).dtype == np.float32
    step = step_of(rows)
    assert np.abs(built.vectors(wanted) - rows[wanted]).max() <= step / 2 + 1e-6
    assert np.allclose(ExactVectors(rows).vectors(wanted), in_steps(rows[wanted], step) * step)


def test_taken_over_vectors_stay_as_they_were(rows):
    first = FaissVectors.build(rows)
    kept = first.vectors(np.arange(len(rows)))
    again = FaissVectors.build(kept[:500], step=first.step)
    assert np.array_equal(again.vectors(np.arange(500)), kept[:500])


def test_what_lies_beyond_the_largest_step_is_cut():
    built = FaissVectors.build(np.array([[0.5, 2.0]], dtype=np.float32), step=1 / 127)
    assert built.vectors(np.array([0])).tolist() == [pytest.approx([64 / 127, 1.0])]


def test_the_same_search_gives_the_same_list(built, queries):
    first = built.search(queries, k=50)
    again = built.search(queries, k=50)
    assert np.array_equal(first[1], again[1])
    assert np.array_equal(first[0], again[0])


def test_one_query_alone_finds_what_it_finds_in_company(built, queries):
    together = built.search(queries, k=10)[1]
    alone = np.vstack([built.search(query[None], k=10)[1] for query in queries])
    assert alone.tolist() == together.tolist()


@pytest.mark.parametrize("kind", list(Kind))
def test_ties_go_to_the_smaller_row(kind):
    stored = unit(300, seed=4)
    stored[[200, 50, 7]] = stored[10]
    query = stored[10:11]
    found = FaissVectors.build(stored, kind=kind).search(query, k=6)[1]
    assert found[0, :4].tolist() == [7, 10, 50, 200]
    assert found.tolist() == ExactVectors(stored).search(query, k=6)[1].tolist()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("count", [1, 5])
def test_more_asked_for_than_there_is(kind, count):
    stored = unit(count)
    scores, found = FaissVectors.build(stored, kind=kind).search(unit(3, seed=9), k=100)
    assert scores.shape == found.shape == (3, count)
    assert [sorted(line) for line in found.tolist()] == [list(range(count))] * 3
    assert ExactVectors(stored).search(unit(3, seed=9), k=100)[1].tolist() == found.tolist()


def test_too_few_vectors_for_cells_are_searched_exactly():
    assert FaissVectors.build(unit(9_999), kind=Kind.IVFPQ).kind is Kind.FLAT


@pytest.mark.parametrize("kind", list(Kind))
def test_no_vectors_at_all(kind):
    scores, found = FaissVectors.build(unit(0), kind=kind).search(unit(2), k=5)
    assert scores.shape == found.shape == (2, 0)


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 40),
    k=st.integers(1, 50),
    seed=st.integers(0, 10_000),
    same=st.lists(st.integers(0, 39), max_size=6),
)
def test_flat_is_the_reference(count, k, seed, same):
    stored = unit(count, dim=8, seed=seed)
    for row in same:
        stored[row % count] = stored[0]
    asked = unit(3, dim=8, seed=seed + 1)
    scores, found = FaissVectors.build(stored).search(asked, k=k)
    true_scores, _ = ExactVectors(stored).search(asked, k=k)
    assert scores.shape == (3, min(k, count))
    assert np.array_equal(scores, true_scores)
    for query, line, line_scores in zip(asked, found, scores, strict=True):
        assert len(set(line.tolist())) == len(line)
        assert np.abs(stored[line] @ query - line_scores).max() < 0.02


def test_a_file_gives_back_what_was_saved(built, queries, tmp_path):
    path = tmp_path / "v.faiss"
    built.save(path)
    opened = FaissVectors.open(path, kind=built.kind, step=built.step)
    assert (len(opened), opened.dim) == (len(built), built.dim)
    for before, after in zip(
        built.search(queries, k=20), opened.search(queries, k=20), strict=True
    ):
        assert np.array_equal(before, after)
    wanted = np.arange(5)
    assert np.array_equal(opened.vectors(wanted), built.vectors(wanted))


def test_the_flat_file_is_as_large_as_its_bytes(rows, tmp_path):
    FaissVectors.build(rows).save(tmp_path / "v")
    assert 0 <= (tmp_path / "v").stat().st_size - rows.size < 200


@pytest.mark.parametrize("kind", [Kind.FLAT, Kind.HNSW])
def test_a_truncated_file_is_refused_wherever_it_ends(kind, tmp_path):
    path = tmp_path / "v.faiss"
    FaissVectors.build(unit(100), kind=kind).save(path)
    data = path.read_bytes()
    for length in [*range(0, 120, 7), len(data) // 2, len(data) - 8, len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(IndexFolderError, match="cmsearch index --rebuild") as caught:
            FaissVectors.open(path, kind=kind, step=0.01)
        assert str(path) in str(caught.value)
        assert one_line(caught.value)


def test_a_damaged_head_is_refused_or_changes_no_more_than_the_counts(tmp_path):
    path = tmp_path / "v.faiss"
    FaissVectors.build(unit(100)).save(path)
    data = path.read_bytes()
    refused = 0
    for at in range(100):
        path.write_bytes(data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :])
        try:
            opened = FaissVectors.open(path, kind=Kind.FLAT, step=0.01)
        except IndexFolderError:
            refused += 1
            continue
        assert (len(opened), opened.dim) == (100, DIM), at
    assert refused >= 40


@pytest.mark.parametrize("content", [b"", b"not a vector index", b"\0" * 4096])
def test_any_other_file_is_refused(content, tmp_path):
    (tmp_path / "v").write_bytes(content)
    with pytest.raises(IndexFolderError, match="not a readable FAISS file"):
        FaissVectors.open(tmp_path / "v", kind=Kind.FLAT, step=0.01)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(IndexFolderError, match="not a readable FAISS file"):
            FaissVectors.open(path, kind=Kind.FLAT, step=0.01)


def test_what_cannot_be_written_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        FaissVectors.build(unit(3)).save(tmp_path / "no" / "folder")


def test_faiss_is_an_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(MissingDependency, match=r"cmsearch\[cpu\]"):
        FaissVectors.build(unit(3))
