"""The studies of training: variants of a recipe, and a curve through points that obey it."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

REASON = "the training extra is not installed"
pytest.importorskip("torch", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("datasets", reason=REASON)
pytest.importorskip("optimi", reason=REASON)
pytest.importorskip("zstandard", reason=REASON)
pytest.importorskip("onnx", reason=REASON)
pytest.importorskip("benchmarks", reason="not in a checkout")

from benchmarks.ablations import BASE, variants  # noqa: E402
from benchmarks.scaling import Point, draw, fitted, layer_parameters  # noqa: E402

pytestmark = pytest.mark.train

RECIPES = Path(__file__).parents[1] / "recipes"


def test_a_variant_differs_from_the_base_in_what_it_says() -> None:
    found = variants(RECIPES / "ablations.toml")
    base = found.pop(BASE)
    assert found["no vocabulary"].weights == base.weights | {"vocabulary": 0}
    assert found["near misses as negatives"].near_share > base.near_share == 0
    assert found["no siblings as negatives"].sibling_share == 0
    assert all(config != base for config in found.values())
    assert found["vocabulary of 16000"].vocabulary_size == 16_000
    assert all(config.steps == base.steps for config in found.values())


def test_the_curve_is_found_again(tmp_path: Path) -> None:
    def recall(parameters: int, tokens: int) -> float:
        return 1 - math.exp(1.0 - 0.1 * math.log(parameters) - 0.05 * math.log(tokens))

    points = [
        Point(
            size,
            layer_parameters(size),
            tokens,
            {"a": 0.0},
            {"a": recall(layer_parameters(size), tokens)},
        )
        for size in ("micro", "tiny", "small")
        for tokens in (600_000, 1_200_000, 2_400_000)
    ]
    points.append(Point("micro", layer_parameters("micro"), 0, {"a": 0.0}, {"a": 0.9}))
    curve = fitted(points, "a")
    assert (curve.by_size, curve.by_tokens) == pytest.approx((0.1, 0.05))
    assert curve.residual == pytest.approx(0.0, abs=1e-9)
    draw(points, {"a": curve}, tmp_path / "scaling.png")
    assert (tmp_path / "scaling.png").read_bytes().startswith(b"\x89PNG")


def test_parameters_of_layers() -> None:
    assert layer_parameters("small") == 6 * (4 * 384 * 384 + 3 * 384 * 576)
