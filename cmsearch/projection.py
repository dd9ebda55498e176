"""Vectors on a plane: t-SNE over exact neighbours."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import need
from cmsearch.separation import Rows, Values
from cmsearch.types import Vectors

EXTRA = "atlas"
LIBRARY = "openTSNE"
Points = NDArray[np.float32]


def tsne(
    vectors: Vectors,
    near: Rows,
    distances: Values,
    *,
    perplexity: int,
    seed: int,
) -> Points:
    """Return the points of a t-SNE over given neighbours, started from two main axes.

    Args:
        vectors: (n, dim).
        near, distances: exact neighbours of each row, nearest first, (n, k) each.
        perplexity: about how many neighbours count; k is three times as many.
        seed: start of the random numbers.

    Raises:
        MissingDependency: openTSNE is not installed.
    """
    library = need("openTSNE", extra=EXTRA)
    known = need("openTSNE.nearest_neighbors", extra=EXTRA).PrecomputedNeighbors(near, distances)
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    affinities = library.affinity.PerplexityBasedNN(
        perplexity=perplexity, knn_index=known, n_jobs=threads
    )
    first = library.initialization.pca(vectors, random_state=seed)
    fitted = library.TSNE(n_jobs=threads, random_state=seed, negative_gradient_method="fft").fit(
        affinities=affinities, initialization=first
    )
    points: Points = np.asarray(fitted, dtype=np.float32)
    return points
