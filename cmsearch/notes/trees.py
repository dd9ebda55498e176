"""Boosted regression trees, read from plain lists and walked in numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Trees:
    """Boosted regression trees as arrays, one row a tree; the sum of their leaves is a logit.

    Attributes:
        feature: (t, n), which feature a node asks for; -1 for a leaf.
        threshold: (t, n), a value up to it goes left.
        left, right: (t, n), the nodes that follow; a leaf follows itself.
        value: (t, n), what a leaf adds.
    """

    feature: NDArray[np.int32]
    threshold: Matrix
    left: NDArray[np.int32]
    right: NDArray[np.int32]
    value: Matrix

    @classmethod
    def from_json(cls, trees: Sequence[Mapping[str, Sequence[float]]]) -> Trees:
        """Return the trees of lists of nodes; short trees are filled up with leaves."""
        most = max((len(tree["feature"]) for tree in trees), default=1)
        shape = (len(trees), most)
        feature = np.full(shape, -1, dtype=np.int32)
        threshold = np.zeros(shape, dtype=np.float32)
        left, right = np.zeros(shape, dtype=np.int32), np.zeros(shape, dtype=np.int32)
        value = np.zeros(shape, dtype=np.float32)
        for row, tree in enumerate(trees):
            count = len(tree["feature"])
            feature[row, :count] = tree["feature"]
            threshold[row, :count] = tree["threshold"]
            left[row, :count], right[row, :count] = tree["left"], tree["right"]
            value[row, :count] = tree["value"]
        return cls(feature, threshold, left, right, value)

    def logits(self, features: Matrix) -> Matrix:
        """Return the sum of the leaves for each row of features, (n,)."""
        if not len(features) or not len(self.feature):
            return np.zeros(len(features), dtype=np.float32)
        trees, most = self.feature.shape
        feature, threshold = self.feature.ravel(), self.threshold.ravel()
        first = np.arange(trees, dtype=np.int64) * most
        tree = np.tile(first, len(features))
        row = np.repeat(np.arange(len(features), dtype=np.int64) * features.shape[1], trees)
        left, right, values = self.left.ravel(), self.right.ravel(), features.ravel()
        node = tree.copy()
        going = np.arange(len(node))
        while len(going):
            asked = feature[node[going]]
            going, asked = going[asked >= 0], asked[asked >= 0]
            here = node[going]
            goes_left = values[row[going] + asked] <= threshold[here]
            node[going] = tree[going] + np.where(goes_left, left[here], right[here])
        leaves = self.value.ravel()[node].reshape(len(features), trees)
        found: Matrix = leaves.sum(axis=1, dtype=np.float64).astype(np.float32)
        return found
