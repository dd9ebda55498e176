"""Fitting the fusion on examples whose right answer is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cmsearch import fusion as fusion_module
from cmsearch.errors import TrainingError
from cmsearch.fusion import FEATURES, Fusion

REASON = "the training extra is not installed"
pytest.importorskip("torch", reason=REASON)
pytest.importorskip("zstandard", reason=REASON)

from cmsearch.train.fuse import Example, accuracy, fit  # noqa: E402

pytestmark = pytest.mark.train

COSINE, OVERLAP = FEATURES.index("cosine"), FEATURES.index("overlap")
UNKNOWN = FEATURES.index("unknown_words")


def examples(count: int, *, seed: int, candidates: int = 12) -> list[Example]:
    """Queries in which one half is right: words mislead where some are unknown."""
    chance = np.random.default_rng(seed)
    made = []
    for _ in range(count):
        size = int(chance.integers(4, candidates + 1))
        features = chance.normal(size=(size, len(FEATURES))).astype(np.float32)
        unknown = float(chance.integers(0, 2))
        features[:, UNKNOWN] = unknown
        telling = features[:, COSINE if unknown else OVERLAP]
        right = (np.arange(size) == telling.argmax()).astype(np.float32)
        made.append(Example(features, right))
    return made


@pytest.fixture(scope="module")
def fitted() -> Fusion:
    return fit(examples(2000, seed=1), steps=600, seed=1)


def test_the_fusion_learns_when_to_trust_which_half(fitted: Fusion) -> None:
    fresh = examples(300, seed=2)
    first, five = accuracy(fitted, fresh)
    alone, _ = accuracy(Fusion.neutral(), fresh)
    assert alone < 0.7
    assert first > 0.9
    assert five > 0.99


def test_probabilities_are_calibrated(fitted: Fusion) -> None:
    fresh = examples(300, seed=3)
    scores = np.concatenate([fitted.probabilities(item.features) for item in fresh])
    right = np.concatenate([item.right for item in fresh])
    assert scores.mean() == pytest.approx(right.mean(), abs=0.04)
    assert scores[right == 1].mean() > scores[right == 0].mean() + 0.4
    sure = scores > 0.8
    assert sure.sum() > 50
    assert right[sure].mean() > 0.65
    assert right[scores < 0.2].mean() < 0.05


def test_several_right_candidates_all_come_first() -> None:
    chance = np.random.default_rng(5)
    found = []
    for _ in range(200):
        features = chance.normal(size=(8, len(FEATURES))).astype(np.float32)
        features[:3, COSINE] += 5
        found.append(Example(features, np.array([1, 1, 1, 0, 0, 0, 0, 0], np.float32)))
    fusion = fit(found, steps=150)
    tops = [set(np.argsort(-fusion.logits(item.features))[:3]) == {0, 1, 2} for item in found]
    assert np.mean(tops) > 0.95


def test_shapes_and_finite_numbers(fitted: Fusion) -> None:
    count = len(FEATURES)
    assert fitted.mean.shape == fitted.scale.shape == fitted.linear.shape == (count,)
    assert fitted.hidden.shape == (count, 4 * 17)
    assert fitted.hidden_bias.shape == fitted.out.shape == (4 * 17,)
    assert (fitted.scale > 0).all()
    for name in ("mean", "scale", "hidden", "hidden_bias", "out", "linear"):
        assert np.isfinite(getattr(fitted, name)).all()


def test_a_constant_feature_does_no_harm() -> None:
    found = examples(50, seed=1)
    for item in found:
        item.features[:, 3] = 7.0
    fusion = fit(found, steps=20)
    assert np.isfinite(fusion.logits(found[0].features)).all()


def test_a_seed_gives_one_fusion() -> None:
    found = examples(60, seed=1)
    once = fit(found, steps=20, seed=4)
    assert fit(found, steps=20, seed=4).to_json() == once.to_json()
    assert fit(found, steps=20, seed=5).to_json() != once.to_json()


def test_json_round_trip(fitted: Fusion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "fusion.json").write_text(fitted.to_json(), encoding="utf-8")
    monkeypatch.setattr(fusion_module, "files", lambda _: tmp_path)
    read = Fusion.load()
    for name in ("mean", "scale", "hidden", "hidden_bias", "out", "linear"):
        assert getattr(read, name).dtype == np.float32
        assert np.allclose(getattr(read, name), getattr(fitted, name), atol=1e-6)
    assert read.to_json() == fitted.to_json()
    for item in examples(20, seed=6):
        assert np.allclose(read.logits(item.features), fitted.logits(item.features), atol=1e-3)


def test_accuracy_by_hand() -> None:
    def example(right: int) -> Example:
        features = np.zeros((7, len(FEATURES)), np.float32)
        features[:, COSINE] = np.arange(7)[::-1]
        return Example(features, (np.arange(7) == right).astype(np.float32))

    assert accuracy(Fusion.neutral(), [example(n) for n in (0, 1, 4, 5)]) == (0.25, 0.75)


def test_nothing_to_fit_on() -> None:
    with pytest.raises(TrainingError, match="nothing to fit on"):
        fit([])
