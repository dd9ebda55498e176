"""Cells and short codes found through torch: IVF-PQ of ten million rows in seconds on a card.

Rows are whole steps, and centroids are rounded to whole steps too: every sum is one of whole
numbers below 2^24, which float32 holds exactly in any order, and their factors are below 2^11,
which TF32 holds exactly. The same rows give the same index on any device.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from cmsearch.errors import need
from cmsearch.ivfpq import CODEWORDS, Lists
from cmsearch.types import Steps

EXTRA = "gpu"
# torch's, which need not be installed.
Tensor = Any
_ROUNDS = 10
# Rows that a centroid is found from.
_PER_CELL, _FOR_CODEBOOKS = 64, 65_536
# Scores that are held at once: 1 GiB.
_SCORES = 2**28


def build_lists(rows: Steps, *, cells: int, parts: int, device: str, seed: int = 1) -> Lists:
    """Return the IVF-PQ index of some rows, computed on a device.

    Cells are found by spherical k-means: rows of about one length have the largest product
    with the centroid that they lie nearest to.

    Args:
        rows: in whole steps, (n, dim).
        cells: how many; at most n.
        parts: bytes of a code; ``dim`` must be a multiple.
        device: what torch calls it.
        seed: which rows the centroids start from.
    """
    torch = need("torch", extra=EXTRA)
    with whole_numbers():
        sample = _sample(rows, _PER_CELL * cells, device)
        length = round(float(sample.norm(dim=1).mean()))
        centroids = kmeans(sample[None], cells, seed=seed, length=length)
        sample = _sample(rows, _FOR_CODEBOOKS, device)
        rest = _split(sample - centroids[0][nearest(sample[None], centroids)[0]], parts)
        codebooks = kmeans(rest, min(CODEWORDS, len(sample)), seed=seed)
        codebooks = torch.nn.functional.pad(codebooks, (0, 0, 0, CODEWORDS - codebooks.shape[1]))
        homes, codes = [], []
        for first in range(0, len(rows), _FOR_CODEBOOKS):
            part = torch.from_numpy(rows[first : first + _FOR_CODEBOOKS]).to(device).float()
            home = nearest(part[None], centroids)[0]
            told = nearest(_split(part - centroids[0][home], parts), codebooks)
            homes.append(home.cpu().numpy())
            codes.append(told.T.to(torch.uint8).cpu().numpy())
    cell = np.concatenate(homes)
    order = np.argsort(cell, kind="stable")
    return Lists(
        centroids[0].cpu().numpy(),
        codebooks.cpu().numpy(),
        np.concatenate(([0], np.cumsum(np.bincount(cell, minlength=cells)))).astype(np.int64),
        order.astype(np.int64),
        np.concatenate(codes)[order],
    )


@contextmanager
def whole_numbers() -> Iterator[None]:
    """Compute without gradients, matrix products of whole numbers in TF32 where there is such."""
    torch = need("torch", extra=EXTRA)
    products = torch.backends.cuda.matmul
    before, products.allow_tf32 = products.allow_tf32, True
    try:
        with torch.inference_mode():
            yield
    finally:
        products.allow_tf32 = before


def kmeans(points: Tensor, count: int, *, seed: int, length: int = 0) -> Tensor:
    """Return centroids in whole steps, (batch, count, dim), for each batch of points.

    Args:
        points: in whole steps, (batch, n, dim).
        count: centroids of a batch; at most n.
        seed: which points they start from.
        length: what all centroids are stretched to; 0 leaves them the means.
    """
    torch = need("torch", extra=EXTRA)
    batch, number, dim = points.shape
    chance = torch.Generator().manual_seed(seed)
    centroids = points[:, torch.randperm(number, generator=chance)[:count].to(points.device)]
    every = torch.arange(batch, device=points.device)[:, None]
    for _ in range(_ROUNDS):
        home = (nearest(points, centroids) + every * count).flatten()
        sums = torch.zeros(batch * count, dim, device=points.device)
        sums.index_add_(0, home, points.reshape(-1, dim))
        sizes = torch.bincount(home, minlength=batch * count)[:, None]
        found = sums / sizes.clamp(min=1)
        if length:
            found *= length / found.norm(dim=1, keepdim=True).clamp(min=1)
        # A centroid that nobody is nearest to begins again at another point.
        other = torch.randint(number, (count,), generator=chance).to(points.device)
        found = torch.where(sizes == 0, points[:, other].reshape(-1, dim), found.round())
        centroids = found.view(batch, count, dim)
    return centroids


def nearest(points: Tensor, centroids: Tensor) -> Tensor:
    """Return the number of the nearest centroid, (batch, n), of points (batch, n, dim)."""
    torch = need("torch", extra=EXTRA)
    squares = (centroids * centroids).sum(dim=2)[:, None]
    turned = 2 * centroids.transpose(1, 2)
    batch, count, _ = centroids.shape
    found = [
        (torch.bmm(part, turned) - squares).argmax(dim=2)
        for part in _parts(points, max(1, _SCORES // (batch * count)))
    ]
    return torch.cat(found, dim=1)


def _parts(points: Tensor, size: int) -> Iterator[Tensor]:
    for first in range(0, points.shape[1], size):
        yield points[:, first : first + size]


def _split(rows: Tensor, parts: int) -> Tensor:
    """Return rows (n, dim) in their parts, (parts, n, dim / parts)."""
    return rows.view(len(rows), parts, -1).transpose(0, 1).contiguous()


def _sample(rows: Steps, count: int, device: str) -> Tensor:
    """Return some rows spread evenly over all of them, at most twice ``count``."""
    torch = need("torch", extra=EXTRA)
    chosen = np.ascontiguousarray(rows[:: max(1, len(rows) // count)])
    found: Tensor = torch.from_numpy(chosen).to(device).float()
    return found
