"""Near misses: pairs whose targets an encoder takes for those of other pairs' queries."""

from __future__ import annotations

import random
from collections.abc import Sequence

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor

from cmsearch.train.loss import concept_keys, related
from cmsearch.train.terms import Pair

_NEAREST = 64
_AT_ONCE = 256


def near_misses(
    model: SentenceTransformer, pairs: Sequence[Pair], *, share: float, run: int, seed: int
) -> list[list[int]]:
    """Return runs of rows that the model confuses, ``share`` of all rows drawn by the seed.

    In one batch the pairs of a run are each other's hard negatives. They depend on the
    weights, so a model further on in its training has others.

    Args:
        model: the encoder as it stands.
        pairs: the training pairs.
        share: how many of them are put into runs.
        run: pairs of a run.
        seed: of the draw.
    """
    rows = random.Random(seed).sample(range(len(pairs)), round(share * len(pairs)))
    if not rows:
        return []
    chosen = [pairs[row] for row in rows]
    queries, targets = (
        model.encode(texts, batch_size=_AT_ONCE, convert_to_tensor=True, show_progress_bar=False)
        for texts in ([pair.query for pair in chosen], [pair.target for pair in chosen])
    )
    keys = concept_keys([pair.concept for pair in chosen]).to(queries.device)
    return [[rows[at] for at in members] for members in _runs(queries, targets, keys, run=run)]


def _runs(queries: Tensor, targets: Tensor, keys: Tensor, *, run: int) -> list[list[int]]:
    """Return the rows in runs: each begins with one that is left and takes what it confuses."""
    free = torch.ones(len(queries), dtype=torch.bool)
    found = []
    for start in range(0, len(queries), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        scores = queries[part] @ targets.T
        scores.masked_fill_(related(keys[part], keys), -torch.inf)
        near = scores.topk(min(_NEAREST, len(queries)), dim=1)
        real = near.values > -torch.inf
        for row, (candidates, kept) in enumerate(
            zip(near.indices.cpu(), real.cpu(), strict=True), start=start
        ):
            if not free[row]:
                continue
            free[row] = False
            candidates = candidates[kept]
            members = candidates[free[candidates]][: run - 1]
            free[members] = False
            found.append([row, *members.tolist()])
    return found
