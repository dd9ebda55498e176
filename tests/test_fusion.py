"""The fusion: parameters that come back, scores between 0 and 1, and the file that ships."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from cmsearch.fusion import DENSE_FILE, FEATURES, OF_WORDS, Fusion, without_words

COUNT = len(FEATURES)


def random_fusion(hidden, seed=0):
    random = np.random.default_rng(seed)

    def some(*shape):
        return random.normal(size=shape).astype(np.float32)

    return Fusion(
        mean=some(COUNT),
        scale=np.abs(some(COUNT)) + 0.1,
        hidden=some(COUNT, hidden),
        hidden_bias=some(hidden),
        out=some(hidden),
        linear=some(COUNT),
    )


def read(text):
    values = json.loads(text)
    assert values.pop("features") == list(FEATURES)
    return Fusion(**{name: np.asarray(v, dtype=np.float32) for name, v in values.items()})


features = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 6), st.just(COUNT)), elements=st.floats(-50, 50, width=32)
)


def test_every_feature_has_one_place():
    assert len(set(FEATURES)) == COUNT == 24


def test_the_score_is_that_of_a_naive_loop():
    fusion = random_fusion(3)
    given_features = np.random.default_rng(5).normal(size=(4, COUNT)).astype(np.float32)
    for row, logit in zip(given_features, fusion.logits(given_features), strict=True):
        standard = [(row[i] - fusion.mean[i]) / fusion.scale[i] for i in range(COUNT)]
        expected = sum(standard[i] * fusion.linear[i] for i in range(COUNT))
        for unit in range(3):
            inner = sum(standard[i] * fusion.hidden[i, unit] for i in range(COUNT))
            expected += math.tanh(inner + fusion.hidden_bias[unit]) * fusion.out[unit]
        assert logit == pytest.approx(expected, abs=1e-3)
        probability = fusion.probabilities(row[None])[0]
        assert probability == pytest.approx(1 / (1 + math.exp(-expected)), abs=1e-3)


def test_the_neutral_one_follows_the_cosine():
    table = np.random.default_rng(1).normal(size=(50, COUNT)).astype(np.float32)
    logits = Fusion.neutral().logits(table)
    assert np.array_equal(logits, table[:, FEATURES.index("cosine")])
    assert np.array_equal(np.argsort(Fusion.neutral().probabilities(table)), np.argsort(logits))


@pytest.mark.parametrize("hidden", [1, 16])
def test_json_brings_the_parameters_back(hidden):
    fusion = random_fusion(hidden)
    again = read(fusion.to_json())
    for name in Fusion.__dataclass_fields__:
        before, after = getattr(fusion, name), getattr(again, name)
        assert before.shape == after.shape
        assert np.abs(before - after).max() <= 1e-6
    assert read(again.to_json()).to_json() == again.to_json()


def test_the_shipped_one_fits_the_features():
    fusion = Fusion.load()
    assert fusion.mean.shape == fusion.scale.shape == fusion.linear.shape == (COUNT,)
    assert fusion.hidden.shape == (COUNT, len(fusion.out))
    assert fusion.hidden_bias.shape == fusion.out.shape
    for name in Fusion.__dataclass_fields__:
        assert np.isfinite(getattr(fusion, name)).all()
        assert getattr(fusion, name).dtype == np.float32
    assert (fusion.scale > 0).all()
    shipped = files("cmsearch").joinpath("fusion.json").read_text(encoding="utf-8")
    assert json.loads(shipped)["features"] == list(FEATURES)


def test_the_shipped_one_prefers_what_agrees_with_the_query():
    poor = dict.fromkeys(FEATURES, 0.0) | {"cosine": 0.2, "title_cosine": 0.2, "billable": 1.0}
    poor |= {"cosine_below_best": -0.6, "cosine_rank": 4.0, "depth": 5.0, "query_length": 1.4}
    good = poor | {"cosine": 0.99, "cosine_second": 0.6, "cosine_below_best": 0.0}
    good |= {"cosine_rank": 0.0, "covered_query": 1.0, "covered_form": 1.0, "overlap": 1.0}
    good |= {"same_words": 1.0, "title_overlap": 1.0, "title_cosine": 0.99, "from_title": 1.0}
    good |= {"votes": 0.8, "category_votes": 0.9}
    table = np.array([[row[name] for name in FEATURES] for row in (poor, good)], dtype=np.float32)
    low, high = Fusion.load().probabilities(table)
    assert high > 0.5 > low


def test_features_of_another_code_are_refused(monkeypatch):
    monkeypatch.setattr("cmsearch.fusion.FEATURES", FEATURES[::-1])
    with pytest.raises(ValueError, match="fitted on other features"):
        Fusion.load()


def test_no_candidates_have_no_scores():
    empty = np.empty((0, COUNT), dtype=np.float32)
    assert Fusion.load().probabilities(empty).shape == (0,)


@given(features)
def test_scores_are_probabilities_whatever_the_features(table):
    for fusion in (Fusion.load(), Fusion.neutral(), random_fusion(4)):
        found = fusion.probabilities(table)
        assert found.shape == (len(table),)
        assert found.dtype == np.float32
        assert ((found >= 0) & (found <= 1)).all()
        assert np.array_equal(found, fusion.probabilities(table))


@given(features)
def test_a_candidate_scores_the_same_in_any_company(table):
    fusion = random_fusion(4)
    alone = np.concatenate([fusion.logits(row[None]) for row in table])
    assert np.allclose(alone, fusion.logits(table), rtol=1e-4, atol=1e-3)


def test_the_fusion_of_the_dense_half_sees_no_words():
    dense = Fusion.load(DENSE_FILE)
    random = np.random.default_rng(2)
    some = random.normal(size=(20, COUNT)).astype(np.float32)
    others = some.copy()
    words = [FEATURES.index(name) for name in OF_WORDS]
    others[:, words] = random.normal(size=(20, len(words)))
    same = dense.logits(without_words(some))
    assert np.array_equal(same, dense.logits(without_words(others)))
    assert same.std() > 0.1
    assert not np.allclose(Fusion.load().logits(some), Fusion.load().logits(others))
