"""One score from two halves: features of a query and its candidates, and a small model.

A fixed sum of lexical and dense scores makes the better half worse; here the model sees
how far each half can be trusted (how much of the query the words explain, how clear the
dense ranking is) and was fitted on wordings that the encoder never saw.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Matrix = NDArray[np.float32]

FEATURES = (
    "cosine",
    "cosine_second",
    "cosine_below_best",
    "cosine_rank",
    "covered_query",
    "covered_form",
    "overlap",
    "overlap_below_best",
    "same_words",
    "title_overlap",
    "title_cosine",
    "from_vocabulary",
    "from_inclusion",
    "from_title",
    "votes",
    "category_votes",
    "unknown_words",
    "query_length",
    "extra_words",
    "unspecified",
    "other",
    "billable",
    "depth",
    "old",
)
# What the words of query and forms say; the dense half is ranked without it.
OF_WORDS = (
    "covered_query",
    "covered_form",
    "overlap",
    "overlap_below_best",
    "same_words",
    "title_overlap",
    "unknown_words",
    "extra_words",
)
FUSION_FILE, DENSE_FILE = "fusion.json", "fusion_dense.json"


@dataclass(frozen=True, slots=True)
class Fusion:
    """A scorer of candidates with one hidden layer.

    Attributes:
        mean, scale: standardisation of the features, (f,).
        hidden, hidden_bias: (f, h) and (h,).
        out: (h,).
        linear: direct path, (f,).
    """

    mean: Matrix
    scale: Matrix
    hidden: Matrix
    hidden_bias: Matrix
    out: Matrix
    linear: Matrix

    @classmethod
    def load(cls, name: str = FUSION_FILE) -> Fusion:
        """Return a fusion that ships with cmsearch: of both halves, or of the dense one alone."""
        text = files("cmsearch").joinpath(name).read_text(encoding="utf-8")
        values = json.loads(text)
        if values.pop("features") != list(FEATURES):
            raise ValueError(f"{name} was fitted on other features than the code computes")
        return cls(**{name: np.asarray(array, dtype=np.float32) for name, array in values.items()})

    @classmethod
    def neutral(cls) -> Fusion:
        """Return a fusion that follows the cosine alone; to begin fitting with."""
        count = len(FEATURES)
        linear = np.zeros(count, dtype=np.float32)
        linear[FEATURES.index("cosine")] = 1.0
        return cls(
            mean=np.zeros(count, dtype=np.float32),
            scale=np.ones(count, dtype=np.float32),
            hidden=np.zeros((count, 1), dtype=np.float32),
            hidden_bias=np.zeros(1, dtype=np.float32),
            out=np.zeros(1, dtype=np.float32),
            linear=linear,
        )

    def to_json(self) -> str:
        """Return the parameters as JSON, six digits each."""
        values: dict[str, object] = {"features": list(FEATURES)}
        for name in ("mean", "scale", "hidden", "hidden_bias", "out", "linear"):
            values[name] = np.round(getattr(self, name).astype(np.float64), 6).tolist()
        return json.dumps(values)

    def logits(self, features: Matrix) -> Matrix:
        """Return a score for each candidate, (n,), from its features, (n, f)."""
        standard = (features - self.mean) / self.scale
        bent = np.tanh(standard @ self.hidden + self.hidden_bias)
        found: Matrix = (bent @ self.out + standard @ self.linear).astype(np.float32)
        return found

    def probabilities(self, features: Matrix) -> Matrix:
        """Return how likely each candidate is right, (n,) between 0 and 1."""
        if not len(features):
            return np.empty(0, dtype=np.float32)
        logits = np.clip(self.logits(features), -80.0, 80.0)  # beyond, exp overflows
        found: Matrix = (1.0 / (1.0 + np.exp(-logits))).astype(np.float32)
        return found


def without_words(features: Matrix) -> Matrix:
    """Return features, (n, f), with all 0 that the words of query and forms say."""
    kept = np.array([name not in OF_WORDS for name in FEATURES], dtype=np.float32)
    found: Matrix = features * kept
    return found
