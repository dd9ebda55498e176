"""Notes without sections: the injuries they tell of, and brief ones that are all subject."""

from __future__ import annotations

from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from real_index import real_home

import cmsearch
from cmsearch.notes.brief import LONGEST_BRIEF, apart
from cmsearch.notes.injuries import injuries
from cmsearch.notes.layout import segments
from cmsearch.notes.problems import itself
from cmsearch.notes.rules import rows
from cmsearch.notes.visit import Stated
from cmsearch.rows import ConceptRow

LONG = "He has hypertension and walks with a cane in the garden every day. " * 30


@cache
def real():
    return cmsearch.Index.open(real_home() / "indexes" / "default")


def named(text):
    return [text[found.begin : found.end] for found in injuries(text, segments(text))]


def codes(text, **options):
    return [item.code.value for item in real().suggest([text], **options)[0]]


# Which words name an injury


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("She slipped on ice and broke her right hip.", ["broke her right hip"]),
        ("Closed fracture of the left distal radius after a fall.",
         ["Closed fracture of the left distal radius"]),
        ("Fractures of the left radius and ulna.", ["Fractures of the left radius"]),
        ("Rib fractures left 4-6, concussion without loss of consciousness.",
         ["Rib fractures left", "concussion without loss of consciousness"]),
        ("Laceration of the right hand with a kitchen knife.", ["Laceration of the right hand"]),
        ("Pathological fracture of the femur. Stress fracture of the tibia.", []),
        ("Heart burn after meals. A comminuted fracture.", []),
    ],
)  # fmt: skip
def test_injuries_are_named_with_their_site(text, expected):
    assert named(text) == expected


def test_what_an_injury_goes_without_does_not_deny_it():
    text = "Concussion without loss of consciousness."
    (found,) = injuries(text, segments(text))
    assert text[slice(*itself(text, found))] == "Concussion"


SAID = st.sampled_from(
    ["fracture", "broke", "concussion", "old", "the", "left", "hip", "and", "of", "wrist", ",",
     ".", "-", "\n", "walks", "without", "\u00e9"]
)  # fmt: skip


@settings(deadline=None)
@given(st.lists(SAID, max_size=40))
def test_injuries_lie_in_the_text_one_after_the_other(said):
    text = " ".join(said)
    places = [(found.begin, found.end) for found in injuries(text, segments(text))]
    assert all(0 <= begin < end <= len(text) for begin, end in places)
    assert all(one[1] <= other[0] for one, other in zip(places, places[1:], strict=False))
    heads = ("fracture", "broke", "concussion")
    assert all(any(head in text[slice(*place)] for head in heads) for place in places)


def test_the_words_are_data_in_one_role_each():
    for table in ("injuries", "statements"):
        words = [word for word, _, _ in rows(table)]
        assert len(words) == len(set(words))
    assert {role for _, role, _ in rows("injuries")} == {
        "head", "whole", "not", "between", "beside", "site",
    }  # fmt: skip


# From sentences to codes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("The patient slipped on ice and broke her right hip.", {"S72.001A", "W00.9XXA"}),
        ("Laceration of the right hand with a kitchen knife.", {"S61.411A"}),
        ("Sprained right ankle playing soccer.", {"S93.401A", "Y93.66"}),
        ("Fractures of the left radius and ulna.", {"S52.92XA"}),
        ("Follow up of a fracture of the left clavicle, healing well.", {"S42.002D"}),
        ("Assessment: Closed fracture of the left distal radius after a fall from a ladder.",
         {"S52.502A", "W11.XXXA"}),
        ("Family history: mother with hip fracture.", set()),
        ("72 yo man. DVT ppx with SCDs.", set()),
        ("He denies a dislocation of the shoulder. No fracture of the hip.", set()),
    ],
)  # fmt: skip
def test_injuries_in_sentences_are_coded(text, expected):
    assert set(codes(text)) == expected


def test_why_says_where_a_statement_stands():
    (found,) = real().suggest(["Cellulitis of the left lower leg."])
    assert found[0].why.startswith("the note says so; nearest form: ")
    (found,) = real().suggest(["ASSESSMENT:\n1. Cellulitis of the left lower leg."])
    assert found[0].why.startswith("a problem that the note lists; nearest form: ")


def test_injuries_are_coded_in_long_notes_too():
    assert "S72.001A" in codes(LONG + "Then she broke her right hip. " + LONG)
    assert len(LONG.split()) > 2 * LONGEST_BRIEF


@pytest.mark.parametrize(
    ("text", "expected", "without"),
    [
        ("Presents with cellulitis of the left lower leg.", "L03.116", "L03.90"),
        ("Migraine with aura, not intractable.", "G43.109", "G43.01"),
        ("58 yo M with CHF, COPD and CKD stage 3.", "N18.30", "N18.1"),
        ("Patient with schizophrenia, suicidal ideation.", "R45.851", "T14.91XA"),
        ("MRI shows a herniated disc at L4-L5.", "M51.26", "M51.2"),
    ],
)
def test_a_brief_note_is_coded_by_what_it_states(text, expected, without):
    found = codes(text)
    assert expected in found
    assert without not in found


def test_two_diseases_stay_two_and_make_their_combination_code():
    found = codes("Acute on chronic systolic heart failure, hypertension, CKD stage 4.")
    assert set(found) == {"I13.0", "I50.23", "N18.4"}
    assert "R11.2" in codes("Nausea and vomiting for two days.")
    assert set(codes("Anxiety and insomnia.")) == {"F41.9", "G47.00"}


def test_a_condition_in_passing_counts_in_a_brief_note_alone():
    said = "Patient with schizophrenia. "
    assert "F20.9" in codes(said)
    assert "F20.9" not in codes(LONG + said + LONG)


def test_what_is_not_there_is_not_stated():
    found = codes("No schizophrenia. Mother had schizophrenia. He denies any hip fracture.")
    assert not any(code.startswith(("F20", "S72")) for code in found)


def test_the_coders_of_the_benchmark_are_followed_as_before():
    said = "Patient with schizophrenia who broke her right hip."
    assert not {"F20.9", "S72.001A"} & set(codes(said, code_negated=True))


def test_an_injury_is_a_mention():
    text = "She slipped and broke her right hip; no fracture of the wrist."
    (found,) = real().mentions([text])
    by_text = {mention.text: mention for mention in found}
    assert by_text["broke her right hip"].hits[0].code.value.startswith("S72.00")
    assert by_text["fracture of the wrist"].assertion.value == "negated"


# Statements that overlap


def stated(code, score, begin, end):
    concept = ConceptRow(0, "icd10cm", code, code, "code", None, True, "", "", "{}")
    return Stated(concept, score, begin, end, "", "", "")


def test_of_overlapping_statements_one_stays():
    whole, part = stated("O24.410", 3.0, 0, 40), stated("O24.419", 4.0, 0, 20)
    other = stated("H65.01", 2.0, 50, 90)
    surer = stated("H66.91", 3.5, 50, 70)
    both = [stated("S82.1", 1.0, 100, 110), stated("S82.2", 1.0, 100, 110)]
    unsure = stated("R52", -3.0, 200, 210)
    assert apart([whole, part, other, surer, *both, unsure]) == [whole, surer, *both]


@pytest.mark.parametrize(
    ("text", "has", "lacks"),
    [
        ("Suicide attempt with acetaminophen overdose.", "T39.1X2A", "T39.1X1A"),
        ("Accidental acetaminophen overdose.", "T39.1X1A", "T39.1X2A"),
        ("Ex-smoker.", "Z87.891", "F17.200"),
        ("Smoker, COPD.", "F17.200", "Z87.891"),
    ],
)
def test_purpose_and_status_are_read(text, has, lacks):
    found = codes(text)
    assert has in found and lacks not in found


def test_full_code_is_no_problem_of_a_list():
    assert set(codes("ASSESSMENT:\n1. Sepsis\n2. Full code")) == {"A41.9"}
