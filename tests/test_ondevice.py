"""Search through torch, here on the CPU: the exact reference to the last row, and FAISS."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FakeEncoder, one_line, unit

from cmsearch import ondevice, quantiser
from cmsearch.errors import IndexFolderError, MissingDependency
from cmsearch.index import open_index
from cmsearch.ivfpq import from_faiss, to_faiss
from cmsearch.ondevice import DeviceVectors
from cmsearch.search import Index
from cmsearch.vectors import ExactVectors, FaissVectors, Kind, in_steps, step_of

torch = pytest.importorskip("torch", reason="no torch: needs the extra train or gpu")

DIM = 16


@pytest.fixture(scope="module")
def rows():
    """12,000 unit vectors in 40 groups, one of them 200 times."""
    centres = unit(40, seed=1)
    noisy = np.repeat(centres, 300, axis=0) + 0.5 * unit(12_000, seed=2)
    noisy[::60] = noisy[7]
    return (noisy / np.linalg.norm(noisy, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="module")
def queries(rows):
    return np.vstack([unit(20, seed=3) * 0.3 + rows[5::600] * 0.7, rows[7:8]])


@pytest.fixture(scope="module")
def exact(rows):
    return ExactVectors(rows)


@pytest.fixture(scope="module", params=["cpu", "cpu:0"], ids=["by faiss", "by torch"])
def cells(request, rows):
    """An IVF-PQ index, its cells found by FAISS or through torch."""
    return FaissVectors.build(rows, kind=Kind.IVFPQ, device=request.param)


@pytest.fixture(params=[(1_024, 2**20, 2**28), (4, 700, 2**28), (8, 5_000, 4_096)])
def sizes(request, monkeypatch):
    """How much is compared at once."""
    for name, size in zip(("_QUERIES", "_TILE", "_SCORES"), request.param, strict=True):
        monkeypatch.setattr(ondevice, name, size)


@pytest.mark.parametrize("kind", [Kind.FLAT, Kind.HNSW])
@pytest.mark.parametrize("k", [1, 10, 300])
def test_it_is_the_reference_with_all_ties(rows, queries, exact, kind, k, sizes):
    few = rows[:3_000] if kind is Kind.HNSW else rows
    found = DeviceVectors(FaissVectors.build(few, kind=kind), "cpu").search(queries, k=k)
    true = (ExactVectors(few) if kind is Kind.HNSW else exact).search(queries, k=k)
    assert np.array_equal(found[1], true[1])
    assert np.array_equal(found[0], true[0])


@settings(max_examples=40, deadline=None)
@given(
    count=st.integers(1, 600),
    k=st.integers(1, 700),
    seed=st.integers(0, 10_000),
    distinct=st.integers(1, 20),
)
def test_few_rows_and_many_alike(count, k, seed, distinct):
    stored = unit(distinct, dim=8, seed=seed)[
        np.random.default_rng(seed).integers(distinct, size=count)
    ]
    asked = unit(3, dim=8, seed=seed + 1)
    found = DeviceVectors(FaissVectors.build(stored), "cpu").search(asked, k=k)
    true = ExactVectors(stored).search(asked, k=k)
    assert np.array_equal(found[1], true[1])
    assert np.array_equal(found[0], true[0])


def test_cells_name_what_faiss_finds_in_them(cells, queries, sizes):
    placed = DeviceVectors(cells, "cpu")
    scores, found = placed.search(queries[:-1], k=10)
    by_faiss = cells.search(queries[:-1], k=10)
    assert np.array_equal(scores, by_faiss[0])
    # FAISS leaves it open which of equal codes are compared again.
    assert (found == by_faiss[1]).mean() > 0.9


def test_cells_found_through_torch_are_as_good(cells, queries, exact):
    _, true = exact.search(queries[:-1], k=10)
    _, found = cells.search(queries[:-1], k=10)
    both = [len(set(a) & set(b)) for a, b in zip(found.tolist(), true.tolist(), strict=True)]
    assert sum(both) > 0.6 * true.size


def test_an_index_of_torch_is_a_file_of_faiss(rows, queries, tmp_path):
    built = FaissVectors.build(rows, kind=Kind.IVFPQ, device="cpu:0")
    built.save(tmp_path / "v")
    opened = FaissVectors.open(tmp_path / "v", kind=Kind.IVFPQ, step=built.step)
    assert len(opened) == len(rows)
    for before, after in zip(
        built.search(queries, k=20), opened.search(queries, k=20), strict=True
    ):
        assert np.array_equal(before, after)
    again = from_faiss(to_faiss(built.lists))
    for name in ("centroids", "codebooks", "bounds", "ids", "codes"):
        assert np.array_equal(getattr(again, name), getattr(opened.lists, name)), name


def test_the_same_rows_give_the_same_cells_whatever_is_held_at_once(rows, monkeypatch):
    steps = in_steps(rows, step_of(rows)).astype(np.int8)
    first = quantiser.build_lists(steps, cells=50, parts=4, device="cpu")
    monkeypatch.setattr(quantiser, "_SCORES", 30_000)
    again = quantiser.build_lists(steps, cells=50, parts=4, device="cpu:0")
    for name in ("centroids", "codebooks", "bounds", "ids", "codes"):
        assert np.array_equal(getattr(first, name), getattr(again, name)), name
    assert np.array_equal(np.sort(first.ids), np.arange(len(rows)))
    assert np.array_equal(first.centroids, first.centroids.round())


def test_every_row_lies_in_the_cell_of_its_nearest_centroid(rows):
    steps = in_steps(rows, step_of(rows)).astype(np.int8)
    lists = quantiser.build_lists(steps, cells=40, parts=4, device="cpu")
    apart = ((lists.centroids[:, None] - steps[lists.ids[::50]].astype(np.float32)) ** 2).sum(2)
    cell = np.repeat(np.arange(40), np.diff(lists.bounds))[::50]
    assert np.array_equal(apart.argmin(axis=0), cell)
    told = lists.codebooks[np.arange(4), lists.codes].reshape(len(rows), DIM)
    rebuilt = told + np.repeat(lists.centroids, np.diff(lists.bounds), axis=0)
    left = np.square(steps[lists.ids] - rebuilt).sum() / np.square(steps.astype(float)).sum()
    assert left < 0.1


def test_a_centroid_that_nobody_is_nearest_to_begins_again():
    points = torch.tensor([[[0.0, 0.0]] * 50 + [[90.0, 0.0], [0.0, 90.0]]])
    found = quantiser.kmeans(points, 3, seed=1)
    assert {tuple(line) for line in found[0].tolist()} == {(0, 0), (90, 0), (0, 90)}


@pytest.mark.parametrize("kind", list(Kind))
def test_nothing_stored_and_nothing_asked(kind, rows):
    empty = DeviceVectors(FaissVectors.build(unit(0), kind=kind), "cpu")
    assert [part.shape for part in empty.search(unit(2), k=5)] == [(2, 0)] * 2
    placed = DeviceVectors(FaissVectors.build(rows[:300], kind=kind), "cpu")
    assert [part.shape for part in placed.search(unit(0), k=5)] == [(0, 5)] * 2


def test_stored_vectors_come_from_the_index(rows):
    built = FaissVectors.build(rows[:100])
    placed = DeviceVectors(built, "cpu")
    assert len(placed) == 100
    wanted = np.array([99, 0, 0])
    assert np.array_equal(placed.vectors(wanted), built.vectors(wanted))


def test_an_index_opened_on_a_device_gives_the_same_hits(tiny_folder, tiny_index):
    placed = Index.open(tiny_folder, encoder=FakeEncoder(), device="cpu:0")
    assert isinstance(placed.files.vectors, DeviceVectors)
    asked = ["heart attack", "pneumonia", "I21", "diabetes with kidney disease"]
    assert placed.search(asked, k=8) == tiny_index.search(asked, k=8)


@pytest.mark.parametrize("device", ["cuda:77", "abacus"])
def test_a_device_that_is_not_there_is_named(tiny_folder, device):
    with pytest.raises(IndexFolderError, match=device) as caught:
        open_index(tiny_folder, device=device)
    assert one_line(caught.value) and "name cpu" in str(caught.value)


def test_torch_is_an_extra(tiny_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"cmsearch\[gpu\]"):
        open_index(tiny_folder, device="cuda")
