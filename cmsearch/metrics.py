"""Measures of rankings and of code sets: pure functions over numpy arrays.

A ranking is judged before it comes here: row i of a ``right`` matrix says which hits of
query i are right, best hit first, padded with False. Every ranking measure returns one
value for each query, so that the caller can average, group and resample them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]

# Draws of one bootstrap step: bounds its memory at about 20 MB, whatever n is.
_DRAWS_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Agreement:
    """Precision, recall and their harmonic mean, each between 0 and 1."""

    precision: float
    recall: float
    f1: float


def recall_at(right: ArrayLike, *, k: int) -> Values:
    """Return 1 for each query with a right hit among its first k, else 0: float64, (n,).

    A phrase has few gold codes and any of them answers it, so this is also known as
    success@k or hit rate.

    Args:
        right: bool, (n, depth); whether each hit is right, best first.
        k: how many hits count, at least 1.
    """
    return np.asarray(_right(right)[:, : _positive(k)].any(axis=1), dtype=np.float64)


def reciprocal_rank(right: ArrayLike, *, k: int) -> Values:
    """Return 1 / rank of the first right hit among the first k, else 0: float64, (n,).

    Args:
        right: bool, (n, depth); whether each hit is right, best first.
        k: how many hits count, at least 1.
    """
    first = _right(right)[:, : _positive(k)]
    if first.shape[1] == 0:
        return np.zeros(len(first))
    found = first.any(axis=1)
    ranks = first.argmax(axis=1) + 1.0
    return np.where(found, 1.0 / ranks, 0.0)


def ndcg_at(gains: ArrayLike, ideal: ArrayLike, *, k: int) -> Values:
    """Return the normalised discounted cumulative gain of each query: float64, (n,).

    The gain enters linearly and the hit at rank r is discounted by log2(r + 1), as in
    trec_eval. A query with nothing to find scores 0. Source: Järvelin and Kekäläinen,
    ACM TOIS 20(4), 2002.

    Args:
        gains: (n, depth); the gain of each hit, best hit first, padded with 0.
        ideal: (n, m); the gains that a perfect ranking finds, in any order, padded with 0.
        k: how many hits count, at least 1.
    """
    best = -np.sort(-_gains(ideal), axis=1)
    found = _discounted(_gains(gains)[:, : _positive(k)])
    possible = _discounted(best[:, :k])
    return np.divide(found, possible, out=np.zeros_like(found), where=possible > 0)


def average_precision(right: ArrayLike, relevant: ArrayLike) -> Values:
    """Return the average precision of each query over its whole ranking: float64, (n,).

    Its mean over the queries is MAP. A query with nothing relevant scores 0.

    Args:
        right: bool, (n, depth); whether each hit is right, best first.
        relevant: int, (n,); how many right hits there are to find.
    """
    matrix = _right(right)
    total = np.asarray(relevant, dtype=np.float64)
    precision = matrix.cumsum(axis=1) / np.arange(1.0, matrix.shape[1] + 1.0)
    summed: Values = np.where(matrix, precision, 0.0).sum(axis=1)
    return np.divide(summed, total, out=np.zeros_like(summed), where=total > 0)


def category_at(
    found: Sequence[Sequence[str]], gold: Sequence[Collection[str]], *, k: int
) -> Values:
    """Return 1 for each query with a gold category among its first k: float64, (n,).

    Args:
        found: the category of each hit, best first, for each query; "" where there is none.
        gold: the gold categories of each query.
        k: how many hits count, at least 1.
    """
    _positive(k)
    pairs = zip(found, gold, strict=True)
    return np.array(
        [any(category in wanted for category in hits[:k]) for hits, wanted in pairs],
        dtype=np.float64,
    )


def micro_f1(gold: Sequence[Collection[str]], found: Sequence[Collection[str]]) -> Agreement:
    """Return precision, recall and F1 over all (text, code) pairs taken together.

    Args:
        gold: the codes that each text should have.
        found: the codes that each text was given.
    """
    right, missed, wrong = _confusion(gold, found).sum(axis=0)
    return Agreement(*(float(value) for value in _rates(right, missed, wrong)))


def macro_f1(gold: Sequence[Collection[str]], found: Sequence[Collection[str]]) -> Agreement:
    """Return precision, recall and F1 of each code, averaged over the codes.

    Every code that stands in either list counts once; what is undefined counts as 0. F1
    is the mean of the codes' F1, not the F1 of the means.

    Args:
        gold: the codes that each text should have.
        found: the codes that each text was given.
    """
    counts = _confusion(gold, found)
    if not len(counts):
        return Agreement(0.0, 0.0, 0.0)
    rates = _rates(counts[:, 0], counts[:, 1], counts[:, 2])
    return Agreement(*(float(rate.mean()) for rate in rates))


def bootstrap_interval(
    values: ArrayLike, *, level: float = 0.95, resamples: int = 1000, seed: int = 20020101
) -> tuple[Values, Values]:
    """Return lower and upper bound of the mean of each column: float64, (m,) each.

    Percentile bootstrap over the rows; the columns share their draws, and so do two
    calls with the same number of rows, which makes differences of columns paired. The
    seed is fixed: the same values give the same interval. Where all values are equal the
    interval has no width, so read it with n. Source: Efron and Tibshirani, An
    Introduction to the Bootstrap, 1993, chapter 13.

    Args:
        values: (n,) or (n, m); one row for each query, at least one.
        level: share of the resampled means inside the interval, between 0 and 1.
        resamples: how often the rows are drawn again.
        seed: start of the random numbers.

    Raises:
        ValueError: there is no row, or the level or number of resamples makes no sense.
    """
    matrix = np.asarray(values, dtype=np.float64)
    matrix = matrix[:, None] if matrix.ndim == 1 else matrix
    n = len(matrix)
    if n == 0 or not 0 < level < 1 or resamples < 1:
        raise ValueError("needs a row of values, 0 < level < 1 and a resample")
    draw = np.random.default_rng(seed)
    step = max(1, _DRAWS_AT_ONCE // n)
    means = [
        _resampled_means(matrix, draw, min(step, resamples - start))
        for start in range(0, resamples, step)
    ]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(np.concatenate(means), [tail, 1.0 - tail], axis=0)
    return low, high


def _resampled_means(matrix: Values, draw: np.random.Generator, times: int) -> Values:
    """Return the column means of that many resamples of the rows, (times, m)."""
    n = len(matrix)
    drawn = draw.integers(n, size=(times, n)) + n * np.arange(times)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=times * n).reshape(times, n)
    means: Values = counts.astype(np.float64) @ matrix / n
    return means


def _discounted(gains: Values) -> Values:
    discounts = 1.0 / np.log2(np.arange(2.0, gains.shape[1] + 2.0))
    summed: Values = gains @ discounts
    return summed


def _confusion(
    gold: Sequence[Collection[str]], found: Sequence[Collection[str]]
) -> NDArray[np.int64]:
    """Return right, missed and wrong of each code, (codes, 3), the codes in order."""
    row = {code: at for at, code in enumerate(sorted({*_all(gold), *_all(found)}))}
    counts = np.zeros((len(row), 3), dtype=np.int64)
    for wanted, given in zip(map(set, gold), map(set, found), strict=True):
        for column, codes in enumerate((wanted & given, wanted - given, given - wanted)):
            counts[[row[code] for code in codes], column] += 1
    return counts


def _all(sets: Sequence[Collection[str]]) -> set[str]:
    return {code for codes in sets for code in codes}


def _rates(right: ArrayLike, missed: ArrayLike, wrong: ArrayLike) -> tuple[Values, Values, Values]:
    """Return precision, recall and F1; 0 where one is undefined."""
    tp, fn, fp = (np.asarray(count, dtype=np.float64) for count in (right, missed, wrong))
    return _ratio(tp, tp + fp), _ratio(tp, tp + fn), _ratio(2 * tp, 2 * tp + fp + fn)


def _ratio(part: Values, whole: Values) -> Values:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def _right(hits: ArrayLike) -> NDArray[np.bool_]:
    matrix: NDArray[np.bool_] = np.asarray(hits, dtype=np.bool_)
    _two_dimensions(matrix.ndim)
    return matrix


def _gains(hits: ArrayLike) -> Values:
    matrix: Values = np.asarray(hits, dtype=np.float64)
    _two_dimensions(matrix.ndim)
    return matrix


def _two_dimensions(dimensions: int) -> None:
    if dimensions != 2:
        raise ValueError(f"needs a matrix, a row for each query, not {dimensions} dimensions")


def _positive(k: int) -> int:
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    return k
