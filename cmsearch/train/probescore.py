"""How probes are scored: entities, accuracy, F1 with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

_RESAMPLES = 1000
Counts = NDArray[np.float64]


def entities(tags: Sequence[int]) -> set[tuple[int, int]]:
    """Return begin and end of each run B I I ... of tags; an I after O begins one too."""
    found, begin = set(), -1
    for place, tag in enumerate([*tags, 0]):
        if begin >= 0 and tag != 2:
            found.add((begin, place))
            begin = -1
        if tag == 1 or tag == 2 and begin < 0:
            begin = place
    return found


def entity_counts(gold: Sequence[Sequence[int]], found: Sequence[Sequence[int]]) -> Counts:
    """Return right, missed and wrong entities of each sentence, (n, 3)."""
    rows = []
    for a, b in zip(gold, found, strict=True):
        want, have = entities(a), entities(b)
        rows.append([len(want & have), len(want - have), len(have - want)])
    return np.array(rows, dtype=np.float64)


def label_counts(
    gold: Sequence[Sequence[int]], found: Sequence[Sequence[int]], labels: int
) -> Counts:
    """Return for each text, label by label, right, missed and wrong: (n, 3 * labels)."""
    rows = np.zeros((len(gold), labels, 3))
    for row, a, b in zip(rows, gold, found, strict=True):
        if a[0] == b[0]:
            row[a[0], 0] = 1
        else:
            row[a[0], 1] = row[b[0], 2] = 1
    return rows.reshape(len(gold), -1)


def micro_f1(counts: Counts) -> float:
    """Return F1 of summed (or mean) right, missed and wrong; 0 where nothing was found."""
    right, missed, wrong = counts
    return float(2 * right / max(2 * right + missed + wrong, 1e-12))


def macro_f1(counts: Counts) -> float:
    """Return the mean F1 over the labels that occur, from counts label by label."""
    rows = [row for row in counts.reshape(-1, 3) if row.any()]
    return float(np.mean([micro_f1(row) for row in rows]))


def interval(counts: Counts, statistic: Callable[[Counts], float]) -> tuple[float, float]:
    """Return the bootstrap 95 % interval of a statistic of the mean counts, rows redrawn."""
    draw = np.random.default_rng(20020101)
    n = len(counts)
    values = []
    for _ in range(_RESAMPLES):
        weights = np.bincount(draw.integers(0, n, n), minlength=n)
        values.append(statistic(weights @ counts / n))
    low, high = np.quantile(values, (0.025, 0.975))
    return round(float(low), 4), round(float(high), 4)


def mean_of(counts: Counts) -> float:
    """Return the first count: of 1 for right and 0 for wrong, the accuracy."""
    return float(counts[0])
