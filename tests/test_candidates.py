"""Candidates of a query: how the query is understood, who is found, and what the numbers say."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import FakeEncoder

from cmsearch.candidates import gather
from cmsearch.codes import System
from cmsearch.filters import Gate
from cmsearch.fusion import FEATURES
from cmsearch.query import tokens_as_typed, understand
from cmsearch.types import Why
from cmsearch.vectors import ExactVectors
from cmsearch.wording import stem


def everything(table, ids):
    return np.ones(len(ids), dtype=bool)


@pytest.fixture(scope="module")
def ask(tiny_files):
    """Gather the candidates of a text: by code, with their features by name."""

    def asked(text, *, allowed=everything, wider=1, index=None):
        query = understand(text, tiny_files.lexicon)
        found = gather(
            query,
            FakeEncoder().encode(query.variants),
            lexicon=tiny_files.lexicon,
            index=index or tiny_files.vectors,
            allowed=allowed,
            wider=wider,
        )
        table = found.features
        assert table.shape == (len(found), len(FEATURES))
        assert table.dtype == np.float32
        rows = found.rows(range(len(found)), tiny_files.lexicon)
        assert [row.concept.code.encode() for row in rows] == found.codes.tolist()
        return rows, table

    return asked


def by_code(result):
    found, table = result
    return {
        (item.concept.system, item.concept.code): dict(zip(FEATURES, row.tolist(), strict=True))
        for item, row in zip(found, table, strict=True)
    }


# ---------------------------------------------------------------- understanding


@pytest.mark.parametrize(
    ("text", "rewritten"),
    [
        ("heart attack", None),
        ("Heart  Attack!", None),
        ("hart atack", "heart atack"),
        ("pnuemonia", "pneumonia"),
        ("lobar pnuemonia", "lobar pneumonia"),
        ("fx of radius", "fracture of radius"),
        ("", None),
        ("?!", None),
        ("zzzzqq", None),
    ],
)
def test_slips_and_shorthand_are_rewritten(tiny_files, text, rewritten):
    query = understand(text, tiny_files.lexicon)
    assert query.rewritten == rewritten
    assert query.variants == [text] if rewritten is None else [text, rewritten]


def test_the_share_of_unknown_words(tiny_files):
    def unknown(text):
        return understand(text, tiny_files.lexicon).unknown

    assert unknown("angina pectoris") == 0
    assert unknown("angina zzzzqq") == 0.5
    assert unknown("pnuemonia") == 0
    assert unknown("zzzzqq") == 1
    assert unknown("") == 0


def test_terms_are_stems_without_repetition(tiny_files):
    query = understand("Fractures of the fractured radius", tiny_files.lexicon)
    assert query.terms == (stem("fracture"), stem("radius"))


def test_words_as_typed():
    assert tokens_as_typed("o'neill, x-ray (left)") == ["o", "neill", "x", "ray", "left"]


def test_a_very_long_query_is_cut(tiny_files):
    query = understand("angina " * 50_000, tiny_files.lexicon)
    assert query.terms == (stem("angina"),)


# ---------------------------------------------------------------- gathering


def test_a_title_is_its_own_best_candidate(ask):
    found, _ = ask("Unstable angina")
    assert found[0].concept.code == "I20.0"
    numbers = by_code(ask("Unstable angina"))["icd10cm", "I20.0"]
    assert numbers["cosine"] == pytest.approx(1, abs=1e-2)
    assert numbers["title_cosine"] == numbers["cosine"]
    assert numbers["cosine_below_best"] == 0
    assert numbers["cosine_rank"] == 0
    for name in ("covered_query", "covered_form", "overlap", "title_overlap"):
        assert numbers[name] == pytest.approx(1)
    assert numbers["overlap_below_best"] == 0
    assert numbers["extra_words"] == numbers["unknown_words"] == numbers["old"] == 0
    assert numbers["same_words"] == numbers["from_title"] == numbers["billable"] == 1
    assert numbers["query_length"] == pytest.approx(math.log1p(2))
    assert numbers["depth"] == len("I20.0")


def test_the_form_that_matched_is_named(ask):
    found, _ = ask("heart attack")
    assert (found[0].concept.code, found[0].form.text) == ("I21.9", "Heart attack")
    assert found[0].why is Why.BOTH
    numbers = by_code(ask("heart attack"))["icd10cm", "I21.9"]
    assert (numbers["from_inclusion"], numbers["from_title"], numbers["unspecified"]) == (1, 0, 1)


def test_the_second_form_and_the_number_of_extra_words(ask):
    numbers = by_code(ask("angina"))
    # "Angina pectoris" is the only form of I20; I20.9 has "Cardiac angina" and its title.
    assert numbers["icd10cm", "I20"]["cosine_second"] == pytest.approx(
        numbers["icd10cm", "I20"]["cosine"] - 0.3, abs=1e-2
    )
    assert numbers["icd10cm", "I20"]["cosine"] == pytest.approx(1 / math.sqrt(2), abs=1e-2)
    assert numbers["icd10cm", "I20"]["extra_words"] == 1
    assert numbers["icd10cm", "I20.9"]["cosine"] == pytest.approx(1 / math.sqrt(2), abs=1e-2)
    assert numbers["icd10cm", "I20.9"]["cosine_second"] == pytest.approx(1 / math.sqrt(3), abs=1e-2)


def test_old_other_and_unspecified_titles(ask):
    numbers = by_code(ask("other and unspecified angina pectoris"))
    old = numbers["icd9cm", "413.9"]
    assert (old["old"], old["other"], old["unspecified"]) == (1, 1, 1)
    assert numbers["icd10cm", "I20.0"]["other"] == 0


def test_votes_are_shares(ask):
    found, _ = ask("diabetes mellitus")
    numbers = by_code(ask("diabetes mellitus"))
    assert sum(row["votes"] for row in numbers.values()) == pytest.approx(1, abs=1e-5)
    categories = {code[:3]: row["category_votes"] for (_, code), row in numbers.items()}
    assert sum(categories.values()) == pytest.approx(1, abs=1e-5)
    assert all(row["category_votes"] >= row["votes"] - 1e-6 for row in numbers.values())
    assert [item.concept.code for item in found[:2]] == ["E08-E13", "250"]


def test_candidates_come_in_the_order_of_their_best_cosine(ask):
    found, table = ask("fracture of the radius with pain")
    cosines = table[:, FEATURES.index("cosine")]
    assert (np.diff(cosines) <= 1e-6).all()
    ranks = np.expm1(table[:, FEATURES.index("cosine_rank")])
    assert np.allclose(ranks, np.arange(len(found)), atol=1e-3)


def test_each_concept_comes_once_and_those_without_forms_never(ask, tiny_files):
    found, _ = ask("fracture of right radius")
    ids = [item.concept.id for item in found]
    assert len(ids) == len(set(ids)) == 37
    assert not [item for item in found if item.concept.code.startswith("S52.501") and
                item.concept.code != "S52.501"]  # fmt: skip


def test_only_what_is_allowed(ask):
    found, _ = ask("diabetes mellitus", allowed=Gate.of((System.ICD9CM,), "").forms)
    assert {item.concept.system for item in found} == {"icd9cm"}
    assert len(found) == 10
    none, table = ask(
        "diabetes mellitus", allowed=lambda table, ids: np.zeros(len(ids), dtype=bool)
    )
    assert none == []
    assert table.shape == (0, len(FEATURES))


def test_a_slip_finds_what_the_word_finds(ask):
    right = by_code(ask("lobar pneumonia"))["icd10cm", "J18.1"]
    slip = by_code(ask("lobar pnuemonia"))["icd10cm", "J18.1"]
    assert slip["cosine"] == pytest.approx(right["cosine"], abs=1e-4)
    assert slip["overlap"] == right["overlap"]


def test_the_same_query_has_the_same_numbers(ask):
    for text in ("angina", "diabetes mellitus type 2", "pnuemonia", "zzzzqq"):
        first, again = ask(text), ask(text)
        assert np.array_equal(first[1], again[1])
        assert first[0] == again[0]


def test_the_exact_reference_gives_the_same_candidates(ask, tiny_files):
    rows = np.arange(len(tiny_files.vectors))
    exact = ExactVectors(tiny_files.vectors.vectors(rows))
    for text in ("angina", "diabetes mellitus type 2", "radius fracture"):
        found, table = ask(text)
        other, other_table = ask(text, index=exact)
        assert {item.concept.id for item in found} == {item.concept.id for item in other}
        order = np.argsort([item.concept.id for item in found])
        other_order = np.argsort([item.concept.id for item in other])
        column = FEATURES.index("cosine")
        difference = table[order, column] - other_table[other_order, column]
        assert np.abs(difference).max() < 1e-5


def test_looking_wider_loses_nothing(ask):
    narrow = {item.concept.id for item in ask("infarction")[0]}
    assert {item.concept.id for item in ask("infarction", wider=16)[0]} >= narrow


WORDS = [
    "acute",
    "heart",
    "attack",
    "of",
    "pnuemonia",
    "2",
    "zzz",
    "E11.9",
    "fx",
    "w/",
    "NOS",
    "😀",
]
BETWEEN_0_AND_1 = (
    "covered_query", "covered_form", "overlap", "title_overlap", "same_words", "from_vocabulary",
    "from_inclusion", "from_title", "votes", "category_votes", "unknown_words", "unspecified",
    "other", "billable", "old",
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(
    st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from(WORDS),
            max_size=12,
        ).map(" ".join),
    )
)
def test_features_are_finite_and_in_their_ranges(ask, text):
    found, table = ask(text)
    assert np.isfinite(table).all()
    assert len(found) == 37
    numbers = dict(zip(FEATURES, table.T, strict=True))
    for name in BETWEEN_0_AND_1:
        assert (numbers[name] >= 0).all(), name
        assert (numbers[name] <= 1 + 1e-6).all(), name
    for name in ("cosine_below_best", "overlap_below_best"):
        assert (numbers[name] <= 0).all(), name
    assert (np.abs(numbers["cosine"]) <= 1.001).all()
    assert (numbers["cosine_second"] <= numbers["cosine"] + 1e-6).all()
    assert (numbers["title_cosine"] <= numbers["cosine"] + 1e-6).all()
    assert (numbers["extra_words"] <= 6).all()
