"""Boosted trees over judged candidates, and the curve that makes probabilities of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from cmsearch.errors import need
from cmsearch.notes.choice import FEATURES
from cmsearch.notes.trees import Matrix
from cmsearch.train.notes_config import NotesConfig


@dataclass(frozen=True, slots=True)
class Judged:
    """The candidates of a note: codes, features, and which are right."""

    codes: tuple[str, ...]
    features: Matrix
    right: Matrix


def boost(judged: Sequence[Judged], config: NotesConfig) -> Any:
    """Return boosted trees (LightGBM) fitted on judged candidates."""
    lightgbm = need("lightgbm", extra="train")
    table = np.vstack([item.features for item in judged])
    right = np.concatenate([item.right for item in judged])
    return lightgbm.train(
        {
            "objective": "binary", "learning_rate": config.rate, "num_leaves": config.leaves,
            "min_data_in_leaf": config.least, "feature_fraction": 0.6, "lambda_l2": 5.0,
            "bagging_fraction": 0.8, "bagging_freq": 1, "seed": config.seed, "verbose": -1,
            "num_threads": 1, "deterministic": True, "force_row_wise": True,
        },
        lightgbm.Dataset(table, right, feature_name=list(FEATURES)),
        config.rounds,
    )  # fmt: skip


def out_of_fold(
    judged: Sequence[Judged], silver: Sequence[Judged], config: NotesConfig, *, parts: int = 5
) -> list[Matrix]:
    """Return logits of each note's candidates by trees that have not seen the note.

    Args:
        judged: the notes.
        silver: notes that teach all trees and are not judged by any.
        config: the recipe.
        parts: how many times trees are fitted.
    """
    found: list[Matrix | None] = [None] * len(judged)
    for part in range(parts):
        others = [item for row, item in enumerate(judged) if row % parts != part]
        trees = boost([*others, *silver], config)
        for row in range(part, len(judged), parts):
            found[row] = np.asarray(
                trees.predict(judged[row].features, raw_score=True), dtype=np.float32
            )
    return [item for item in found if item is not None]


def calibration(
    logits: Sequence[Matrix], judged: Sequence[Judged], *, corners: int = 24
) -> tuple[list[float], list[float]]:
    """Return corners of a rising curve from logits to probabilities.

    Groups of like logits, the share of right ones in each (Laplace), made to rise by
    pooling neighbours that fall (isotonic regression).
    """
    score = np.concatenate(list(logits))
    right = np.concatenate([item.right for item in judged])
    order = np.argsort(score, kind="stable")
    # Most candidates are wrong: groups of equally many right ones resolve the upper end.
    weight = np.cumsum(right[order] + 0.02)
    group = np.minimum((weight / weight[-1] * corners).astype(int), corners - 1)
    blocks: list[list[float]] = []
    for number in range(corners):
        rows = order[group == number]
        if not len(rows):
            continue
        blocks.append([float(score[rows].mean()), float(right[rows].sum()), float(len(rows))])
    merged: list[list[float]] = []
    for block in blocks:
        merged.append(block)
        while len(merged) > 1 and merged[-2][1] / merged[-2][2] >= merged[-1][1] / merged[-1][2]:
            last = merged.pop()
            before = merged.pop()
            size = before[2] + last[2]
            middle = (before[0] * before[2] + last[0] * last[2]) / size
            merged.append([middle, before[1] + last[1], size])
    xs = [block[0] for block in merged]
    ys = [(block[1] + 0.5) / (block[2] + 1.0) for block in merged]
    return [xs[0] - 4.0, *xs, xs[-1] + 3.0], [0.0005, *ys, min(0.995, ys[-1] + 0.02)]


def best_threshold(
    probabilities: Sequence[Matrix], judged: Sequence[Judged], gold: int
) -> tuple[float, float]:
    """Return the probability from which on the micro-F1 is best, and that F1.

    Args:
        probabilities: of each note's candidates.
        judged: the candidates.
        gold: how many codes the notes have.
    """
    score = np.concatenate(list(probabilities))
    right = np.concatenate([item.right for item in judged])
    order = np.argsort(-score, kind="stable")
    hits = np.cumsum(right[order])
    f1 = 2 * hits / (np.arange(1, len(order) + 1) + gold)
    best = int(f1.argmax())
    return float(score[order[best]]), float(f1[best])


def nodes(booster: Any) -> list[dict[str, list[float]]]:
    """Return LightGBM's trees as lists of nodes, as ``choice.Trees`` reads them."""
    return [_flat(tree["tree_structure"]) for tree in booster.dump_model()["tree_info"]]


def _flat(root: dict[str, Any]) -> dict[str, list[float]]:
    tree: dict[str, list[float]] = {
        "feature": [], "threshold": [], "left": [], "right": [], "value": []
    }  # fmt: skip
    waiting = [(root, -1, "left")]
    while waiting:
        node, parent, side = waiting.pop()
        place = len(tree["feature"])
        if parent >= 0:
            tree[side][parent] = place
        leaf = "leaf_value" in node and "split_feature" not in node
        tree["feature"].append(-1 if leaf else int(node["split_feature"]))
        # float32 downwards: a value on the left of the split stays there.
        tree["threshold"].append(0.0 if leaf else float(np.float32(node["threshold"])))
        tree["value"].append(round(float(node["leaf_value"]), 6) if leaf else 0.0)
        tree["left"].append(place)
        tree["right"].append(place)
        if not leaf:
            waiting.append((node["left_child"], place, "left"))
            waiting.append((node["right_child"], place, "right"))
    return tree
