"""Drawing pairs, arranging them into batches, and writing them as people type."""

from __future__ import annotations

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rapidfuzz.distance import OSA

from cmsearch.errors import TrainingError
from cmsearch.train.augment import (
    add_filler,
    augment,
    british,
    misspell,
    shorten,
    shuffle_words,
    truncate_word,
)
from cmsearch.train.batches import augment_queries, sample_pairs, with_siblings
from cmsearch.train.terms import Pair

pytestmark = pytest.mark.train

TEXTS = st.text(min_size=1, max_size=60).filter(lambda text: bool(text.strip()))
SEEDS = st.integers(0, 2**32)


def source(name: str, count: int) -> list[Pair]:
    return [Pair(f"{name} {i}", f"title {i}", f"{name}:{i}", name) for i in range(count)]


def coded(count: int) -> list[Pair]:
    """Pairs over 40 categories of ICD-10-CM, shuffled."""
    pairs = [Pair(f"q{i}", f"t{i}", f"icd10cm:A{i % 40:02}.{i % 9}", "x") for i in range(count)]
    random.Random(0).shuffle(pairs)
    return pairs


def neighbours(pairs: list[Pair]) -> float:
    """Return the share of pairs that stand beside one of their own category."""
    categories = [pair.concept.partition(".")[0] for pair in pairs]
    beside = [
        category in (categories[i - 1] if i else None, *categories[i + 1 : i + 2])
        for i, category in enumerate(categories)
    ]
    return sum(beside) / len(beside)


# Drawing


def test_sources_are_drawn_by_size_and_weight() -> None:
    pairs = {"a": source("a", 100), "b": source("b", 300), "c": source("c", 50)}
    drawn = sample_pairs(pairs, {"b": 0.5, "c": 0.0}, count=1000, seed=3)
    assert Counter(pair.source for pair in drawn) == {"a": 400, "b": 600}


def test_no_pair_is_drawn_twice_before_all_were_drawn_once() -> None:
    drawn = sample_pairs({"a": source("a", 30)}, {}, count=100, seed=1)
    counts = Counter(pair.query for pair in drawn)
    assert len(counts) == 30
    assert set(counts.values()) == {3, 4}


def test_the_sources_are_mixed() -> None:
    drawn = sample_pairs({"a": source("a", 500), "b": source("b", 500)}, {}, count=1000, seed=1)
    first = Counter(pair.source for pair in drawn[:200])
    assert 60 <= first["a"] <= 140


def test_a_seed_gives_one_draw() -> None:
    pairs = {"a": source("a", 100), "b": source("b", 50)}
    once = sample_pairs(pairs, {}, count=120, seed=5)
    assert sample_pairs(pairs, {}, count=120, seed=5) == once
    assert sample_pairs(pairs, {}, count=120, seed=6) != once


@pytest.mark.parametrize("weights", [{"a": 0.0}, {}])
def test_nothing_to_draw_from(weights: dict[str, float]) -> None:
    pairs = {"a": source("a", 5 if weights else 0)}
    with pytest.raises(TrainingError, match="no pairs to draw"):
        sample_pairs(pairs, weights, count=10, seed=1)


# Batches


@settings(deadline=None)
@given(
    st.integers(0, 300), st.integers(1, 64), st.floats(0, 1), st.integers(1, 8), st.integers(0, 9)
)
def test_every_pair_stands_in_the_batches_once(
    count: int, batch: int, share: float, run: int, seed: int
) -> None:
    pairs = [*coded(count // 2), *source("DOID", count - count // 2)]
    ordered = with_siblings(pairs, batch=batch, share=share, run=run, seed=seed)
    assert Counter(ordered) == Counter(pairs)


def test_siblings_come_in_runs_as_often_as_asked() -> None:
    pairs = coded(2000)
    alone = neighbours(with_siblings(pairs, batch=100, share=0.0, run=8, seed=1))
    some = neighbours(with_siblings(pairs, batch=100, share=0.4, run=8, seed=1))
    most = neighbours(with_siblings(pairs, batch=100, share=0.75, run=8, seed=1))
    assert alone < 0.12
    assert 0.4 < some < 0.65
    assert most > 0.9


def test_each_batch_has_siblings_and_strangers() -> None:
    pairs = [*coded(1000), *source("DOID", 1000)]
    random.Random(0).shuffle(pairs)
    ordered = with_siblings(pairs, batch=100, share=0.4, run=8, seed=1)
    for start in range(0, 2000, 100):
        rows = ordered[start : start + 100]
        assert 0.15 < neighbours(rows) < 0.5
        assert 25 <= sum(pair.source == "DOID" for pair in rows) <= 75


def test_runs_are_no_longer_than_asked() -> None:
    pairs = [Pair(f"q{i}", f"t{i}", f"icd10cm:A{i % 3:02}.1", "x") for i in range(300)]
    pairs += [Pair(f"q{i}", f"t{i}", f"icd10cm:B{i:02}.1", "x") for i in range(100)]
    runs = with_siblings(pairs, batch=400, share=1.0, run=4, seed=2)
    singles = [i for i, pair in enumerate(runs) if pair.concept.startswith("icd10cm:B")]
    assert len(singles) == 100
    longest = max(later - sooner for sooner, later in zip(singles, singles[1:], strict=False))
    assert longest > 4  # whole runs lie between two strangers
    starts = [i for i in range(1, 400) if runs[i].concept != runs[i - 1].concept]
    assert len(starts) > 100


def test_a_seed_gives_one_order() -> None:
    pairs = coded(500)
    once = with_siblings(pairs, batch=50, share=0.4, run=8, seed=5)
    assert with_siblings(pairs, batch=50, share=0.4, run=8, seed=5) == once
    assert with_siblings(pairs, batch=50, share=0.4, run=8, seed=6) != once


# As people type


def test_targets_stay_and_a_share_of_the_queries_changes() -> None:
    pairs = [Pair("chronic pneumonia of the lung", f"t{i}", "x:1", "x") for i in range(1000)]
    changed = augment_queries(pairs, share=0.3, seed=1)
    assert [target for _, target in changed] == [pair.target for pair in pairs]
    share = sum(query != "chronic pneumonia of the lung" for query, _ in changed) / 1000
    assert 0.2 < share <= 0.33
    assert augment_queries(pairs, share=0.0, seed=1) == [(p.query, p.target) for p in pairs]
    assert augment_queries(pairs, share=0.3, seed=1) == changed
    assert augment_queries(pairs, share=0.3, seed=2) != changed


@given(TEXTS, SEEDS)
def test_no_change_leaves_nothing(text: str, seed: int) -> None:
    made = augment(text, random.Random(seed))
    assert made.strip()
    assert made == augment(text, random.Random(seed))


@given(
    TEXTS | st.sampled_from(["hypertension", "Diabetes, İstanbul type", "ﬁbrosis of lung"]), SEEDS
)
def test_a_slip_is_one_letter_or_two_that_change_places(text: str, seed: int) -> None:
    made = misspell(text, random.Random(seed))
    assert OSA.distance(text, made) <= 1


def test_slips_are_made_and_keep_the_first_letter() -> None:
    made = [misspell("pneumonia", random.Random(seed)) for seed in range(300)]
    assert sum(text != "pneumonia" for text in made) > 200
    assert {text[0] for text in made} == {"p"}
    assert len(set(made)) > 20
    assert misspell("a b cd 123456", random.Random(1)) == "a b cd 123456"


def test_shorthand_takes_the_place_of_its_words_alone() -> None:
    one = random.Random(1)
    assert shorten("Fracture of wrist", one) == "fx of wrist"
    assert shorten("İ Fracture of wrist", one) == "İ fx of wrist"
    assert shorten("refracture of wrist", one) == "refracture of wrist"


def test_the_other_changes() -> None:
    one = random.Random(1)
    assert british("Anemia with edema", one) == "anaemia with oedema"
    assert british("Anaemia", one) == "anaemia"
    assert sorted(shuffle_words("acute lower back pain", one).split()) == [
        "acute", "back", "lower", "pain",
    ]  # fmt: skip
    assert shuffle_words("pain", one) == "pain"
    short = truncate_word("bad pneumonia", one)
    assert "bad pneumonia".startswith(short)
    assert 9 <= len(short) < 13
    assert truncate_word("", one) == ""
    assert all("{x}" in add_filler("{x}", random.Random(seed)) for seed in range(60))


def test_rows_that_are_near_stay_together() -> None:
    pairs = coded(320)
    near = [[5, 9, 77, 200], [1, 2, 3], [300, 10]]
    ordered = with_siblings(pairs, batch=320, share=0.4, run=8, seed=1, near=near)
    assert sorted(pair.query for pair in ordered) == sorted(pair.query for pair in pairs)
    places = {id(pair): at for at, pair in enumerate(ordered)}
    for members in near:
        begin = places[id(pairs[members[0]])]
        assert [places[id(pairs[row])] for row in members] == [
            begin + step for step in range(len(members))
        ]
