"""How well groups lie apart among vectors: exact neighbours, purity, silhouette."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from cmsearch.types import Vectors

Rows = NDArray[np.int64]
Values = NDArray[np.float64]
# Similarities held at once: 64 million in float32 are 256 MB.
_AT_ONCE = 1 << 26


def neighbours(vectors: Vectors, *, k: int) -> tuple[Rows, Values]:
    """Return the rows and cosine distances of each row's k nearest others: (n, k) each.

    Exact, nearest first; of equally near ones those that stand first come first.

    Args:
        vectors: rows of length 1, float32, (n, dim).
        k: how many, at least 1 and less than n.

    Raises:
        ValueError: there are not so many others.
    """
    n = len(vectors)
    if not 1 <= k < n:
        raise ValueError(f"k is {k}; {n} rows have from 1 to {n - 1} neighbours")
    rows = np.empty((n, k), dtype=np.int64)
    distances = np.empty((n, k), dtype=np.float64)
    step = max(1, _AT_ONCE // n)
    for start in range(0, n, step):
        near = vectors[start : start + step] @ vectors.T
        own = np.arange(len(near))
        near[own, start + own] = -np.inf
        found = np.sort(np.argpartition(-near, k - 1, axis=1)[:, :k], axis=1)
        cosine = np.take_along_axis(near, found, axis=1)
        order = np.argsort(-cosine, axis=1, kind="stable")
        rows[start : start + step] = np.take_along_axis(found, order, axis=1)
        distances[start : start + step] = 1 - np.take_along_axis(cosine, order, axis=1)
    return rows, np.maximum(distances, 0)


def purity(near: Rows, labels: Sequence[str]) -> Values:
    """Return for each row the share of its nearest others that have its label: (n,).

    A row whose label m others share is judged by its first m neighbours if they are
    fewer than k, so that every row can reach 1. A row alone with its label is NaN.

    Args:
        near: neighbours of each row, nearest first, (n, k).
        labels: the label of each row, n.
    """
    numbers, sizes = _numbered(labels)
    others = sizes[numbers] - 1
    same = numbers[near] == numbers[:, None]
    judged = np.minimum(others, near.shape[1])
    counted = np.arange(near.shape[1])[None, :] < judged[:, None]
    with np.errstate(invalid="ignore"):
        return np.where(judged > 0, (same & counted).sum(axis=1) / judged, np.nan)


def chance(labels: Sequence[str]) -> float:
    """Return the purity that neighbours drawn at random would have, NaN if all are alone."""
    numbers, sizes = _numbered(labels)
    others = sizes[numbers] - 1
    return float(others[others > 0].mean() / (len(labels) - 1)) if others.any() else float("nan")


def silhouette(vectors: Vectors, labels: Sequence[str]) -> Values:
    """Return the silhouette of each row by cosine distance, from -1 to 1: (n,).

    Distance to a group is 1 minus the cosine to its sum over its size, so that no two
    rows have to be compared: exact, and linear in n. A row alone with its label has 0.
    Source: Rousseeuw, J. Comput. Appl. Math. 20 (1987), 53-65.

    Args:
        vectors: rows of length 1, (n, dim).
        labels: the label of each row, of at least two.

    Raises:
        ValueError: there is one label only.
    """
    numbers, sizes = _numbered(labels)
    if len(sizes) < 2:
        raise ValueError("a silhouette needs at least two labels")
    exact = vectors.astype(np.float64)
    sums = np.zeros((len(sizes), exact.shape[1]))
    np.add.at(sums, numbers, exact)
    apart = sizes[None, :] - exact @ sums.T  # summed distance to every group
    own = np.arange(len(exact)), numbers
    # The row itself is in its own group, at distance 1 - |x|^2, which is not quite 0.
    itself = 1 - np.einsum("nd,nd->n", exact, exact)
    within = (apart[own] - itself) / np.maximum(sizes[numbers] - 1, 1)
    mean = apart / sizes[None, :]
    mean[own] = np.inf
    beside = mean.min(axis=1)
    larger = np.maximum(np.maximum(within, beside), np.finfo(np.float64).tiny)
    return np.where(sizes[numbers] > 1, (beside - within) / larger, 0.0)


def _numbered(labels: Sequence[str]) -> tuple[Rows, Rows]:
    """Return the number of each row's label, and how many rows each label has."""
    _, numbers, sizes = np.unique(np.array(labels), return_inverse=True, return_counts=True)
    return numbers.astype(np.int64), sizes.astype(np.int64)
