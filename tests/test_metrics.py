"""Every measure against a naive loop or scikit-learn, and its edges by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from cmsearch.metrics import (
    average_precision,
    bootstrap_interval,
    category_at,
    macro_f1,
    micro_f1,
    ndcg_at,
    recall_at,
    reciprocal_rank,
)

rankings = arrays(np.bool_, st.tuples(st.integers(0, 8), st.integers(0, 12)))
code_sets = st.lists(st.sets(st.sampled_from("ABCDEF")), min_size=1, max_size=12)


@given(rankings, st.integers(1, 14))
def test_recall_is_whether_a_loop_finds_a_right_hit(right, k):
    naive = [1.0 if True in list(row)[:k] else 0.0 for row in right]
    assert recall_at(right, k=k).tolist() == naive


@given(rankings, st.integers(1, 14))
def test_reciprocal_rank_is_that_of_a_loop(right, k):
    naive = []
    for row in right:
        ranks = [rank for rank, hit in enumerate(row, start=1) if hit and rank <= k]
        naive.append(1 / ranks[0] if ranks else 0.0)
    assert reciprocal_rank(right, k=k).tolist() == naive


@given(st.data(), st.integers(1, 12))
def test_ndcg_is_that_of_a_loop(data, k):
    shape = data.draw(st.tuples(st.integers(0, 6), st.integers(0, 8)))
    gains = data.draw(arrays(np.int64, shape, elements=st.integers(0, 3)))
    ideal = data.draw(arrays(np.int64, (shape[0], 5), elements=st.integers(0, 3)))
    naive = []
    for row, best in zip(gains, ideal, strict=True):
        dcg, perfect = (
            sum(gain / math.log2(rank + 1) for rank, gain in enumerate(hits[:k], start=1))
            for hits in (list(row), sorted(best, reverse=True))
        )
        naive.append(dcg / perfect if perfect else 0.0)
    assert ndcg_at(gains, ideal, k=k) == pytest.approx(naive)


def test_ndcg_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(3)
    gains = draw.integers(0, 4, size=(40, 15))
    scores = np.tile(np.arange(15.0, 0.0, -1.0), (40, 1))
    for k in (1, 5, 10):
        expected = metrics.ndcg_score(gains, scores, k=k)
        assert ndcg_at(gains, gains, k=k).mean() == pytest.approx(expected)


@given(rankings, st.integers(0, 3))
def test_average_precision_is_that_of_a_loop(right, more):
    relevant = right.sum(axis=1) + more
    naive = []
    for row, total in zip(right, relevant, strict=True):
        seen, summed = 0, 0.0
        for rank, hit in enumerate(row, start=1):
            seen += hit
            summed += seen / rank if hit else 0.0
        naive.append(summed / total if total else 0.0)
    assert average_precision(right, relevant) == pytest.approx(naive)


def test_average_precision_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    draw = np.random.default_rng(4)
    right = draw.random((30, 20)) < 0.3
    right[:, 0] |= ~right.any(axis=1)
    scores = np.arange(20.0, 0.0, -1.0)
    expected = [metrics.average_precision_score(row, scores) for row in right]
    assert average_precision(right, right.sum(axis=1)) == pytest.approx(expected)


def test_a_ranking_that_a_person_can_check():
    right = [[False, True, False, True], [False] * 4, [True, True, True, True]]
    assert recall_at(right, k=1).tolist() == [0, 0, 1]
    assert recall_at(right, k=2).tolist() == [1, 0, 1]
    assert reciprocal_rank(right, k=10).tolist() == [0.5, 0, 1]
    assert average_precision(right, [2, 0, 5]).tolist() == [0.5, 0, 0.8]
    assert ndcg_at(right, [[1, 1], [0, 0], [1, 1]], k=1).tolist() == [0, 0, 1]


def test_category_looks_at_the_first_k_only():
    found = [["I21", "I20"], ["E11", "E10"], [], [""]]
    gold = [{"I20"}, {"E11"}, {"A00"}, {"A00"}]
    assert category_at(found, gold, k=1).tolist() == [0, 1, 0, 0]
    assert category_at(found, gold, k=2).tolist() == [1, 1, 0, 0]
    with pytest.raises(ValueError, match="zip"):
        category_at(found, gold[:2], k=1)


@given(code_sets, st.randoms(use_true_random=False))
def test_f1_agrees_with_scikit_learn(gold, random):
    metrics = pytest.importorskip("sklearn.metrics")
    found = [{code for code in "ABCDEF" if random.random() < 0.4} for _ in gold]
    labels = sorted(set().union(*gold, *found))
    if not labels:
        assert macro_f1(gold, found).f1 == micro_f1(gold, found).f1 == 0.0
        return
    truth, given_ = (
        np.array([[label in codes for label in labels] for codes in sets], dtype=int)
        for sets in (gold, found)
    )
    for ours, average in ((micro_f1, "micro"), (macro_f1, "macro")):
        expected = metrics.precision_recall_fscore_support(
            truth, given_, average=average, zero_division=0
        )[:3]
        agreement = ours(gold, found)
        assert (agreement.precision, agreement.recall, agreement.f1) == pytest.approx(expected)


def test_f1_by_hand():
    gold, found = [{"A", "B"}, {"A"}], [{"A"}, {"A", "C"}]
    micro, macro = micro_f1(gold, found), macro_f1(gold, found)
    assert (micro.precision, micro.recall, micro.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))
    assert (macro.precision, macro.recall, macro.f1) == pytest.approx((1 / 3, 1 / 3, 1 / 3))
    assert micro_f1([], []).f1 == 0.0


def test_the_interval_is_fixed_and_holds_the_mean():
    values = np.random.default_rng(1).random((500, 3))
    low, high = bootstrap_interval(values)
    again = bootstrap_interval(values)
    assert (low == again[0]).all() and (high == again[1]).all()
    assert (low < values.mean(axis=0)).all() and (values.mean(axis=0) < high).all()
    other = bootstrap_interval(values, seed=9)
    assert (other[0] != low).any()


def test_the_interval_is_as_wide_as_theory_says():
    values = np.zeros(1000)
    values[:300] = 1.0
    low, high = bootstrap_interval(values, resamples=4000)
    error = math.sqrt(0.3 * 0.7 / 1000)
    assert low[0] == pytest.approx(0.3 - 1.96 * error, abs=0.003)
    assert high[0] == pytest.approx(0.3 + 1.96 * error, abs=0.003)
    wider = bootstrap_interval(values, level=0.99, resamples=4000)
    assert wider[0][0] < low[0] and high[0] < wider[1][0]


def test_the_interval_is_that_of_a_naive_bootstrap():
    values = np.random.default_rng(2).random(50)
    draw = np.random.default_rng(20020101)
    means = [values[row].mean() for row in draw.integers(50, size=(1000, 50))]
    low, high = bootstrap_interval(values)
    assert [low[0], high[0]] == pytest.approx(np.quantile(means, [0.025, 0.975]).tolist())


def test_columns_share_their_draws_so_that_differences_are_paired():
    first = (np.random.default_rng(5).random(200) < 0.5).astype(float)
    low, high = bootstrap_interval(np.column_stack([first, first]) @ [1.0, -1.0])
    assert low[0] == high[0] == 0.0


def test_many_rows_are_resampled_in_steps():
    low, high = bootstrap_interval(np.arange(300_000.0) % 2, resamples=8)
    assert 0.49 < low[0] < high[0] < 0.51


@pytest.mark.parametrize(
    "options", [{"level": 0.0}, {"level": 1.0}, {"resamples": 0}], ids=lambda o: str(o)
)
def test_an_interval_without_sense_is_refused(options):
    with pytest.raises(ValueError, match="level"):
        bootstrap_interval([1.0, 0.0], **options)
    with pytest.raises(ValueError, match="row"):
        bootstrap_interval([])


def test_a_depth_below_one_and_a_flat_ranking_are_refused():
    for measure in (recall_at, reciprocal_rank):
        with pytest.raises(ValueError, match="k must be at least 1"):
            measure([[True]], k=0)
        with pytest.raises(ValueError, match="matrix"):
            measure([True], k=1)
    with pytest.raises(ValueError, match="k must be at least 1"):
        ndcg_at([[1]], [[1]], k=0)
