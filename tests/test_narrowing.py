"""Sides and 7th characters beside a condition: what is taken apart, and which code is meant."""

import pytest
from real_index import real_index

from cmsearch import Filters
from cmsearch.narrowing import said_in, without_episode


@pytest.mark.parametrize(
    ("typed", "condition"),
    [
        ("sprain right ankle subsequent encounter", "sprain right ankle"),
        ("Unspecified fall, initial encounter", "Unspecified fall"),
        ("sprained right ankle, first visit", "sprained right ankle"),
        ("Colles fracture right wrist closed initial", "Colles fracture right wrist closed"),
        ("burn of hand, sequela", "burn of hand"),
        (
            "Fracture of neck of right femur, subsequent encounter for closed fracture with "
            "routine healing",
            "Fracture of neck of right femur",
        ),
        (
            "Displaced fracture of shaft of left tibia, initial encounter for open fracture type "
            "IIIA, IIIB, or IIIC",
            "Displaced fracture of shaft of left tibia",
        ),
        ("concussion, follow-up visit", "concussion"),
        # what is no episode of care stays
        ("sequelae of stroke", "sequelae of stroke"),
        ("stroke sequela", "stroke sequela"),
        ("initial insomnia", "initial insomnia"),
        ("subsequent myocardial infarction", "subsequent myocardial infarction"),
        ("initial encounter", "initial encounter"),
        ("", ""),
    ],
)
def test_an_episode_of_care_is_taken_off(typed, condition):
    assert without_episode(typed) == condition


def test_a_long_text_is_read_in_linear_time():
    assert without_episode(", " * 50_000 + "x").endswith("x")


def test_first_visits_and_both_sides_are_said_as_in_titles():
    said = said_in("both eyes, first visit; follow-up")
    assert {"bilater", "initi", "encount", "subsequ"} <= said


@pytest.fixture(scope="module")
def index():
    return real_index()


def codes(index, text, k=3, **filters):
    return [hit.code.value for hit in index.search([text], k=k, filters=Filters(**filters))[0]]


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("right hip fracture", "S72.001"),
        ("broken right hip", "S72.001"),
        ("hip fracture left", "S72.002"),
        ("sprained right ankle", "S93.401"),
        ("sprained right ankle, first visit", "S93.401A"),
        ("unspecified fall, subsequent encounter", "W19.XXXD"),
        (
            "Fracture of unspecified part of neck of right femur, initial encounter for closed "
            "fracture",
            "S72.001A",
        ),
    ],
)
def test_side_and_episode_lead_below_the_header(index, typed, code):
    assert codes(index, typed)[0] == code


@pytest.mark.parametrize(
    ("typed", "code"),
    [
        ("Sprain of unspecified ligament of right ankle, sequela", "S93.401S"),
        ("sprain right ankle subsequent encounter", "S93.401D"),
        ("Colles fracture right radius nonunion", "S52.531K"),
        ("open fracture shaft of left tibia type II", "S82.202B"),
        ("primary open angle glaucoma both eyes moderate stage", "H40.1132"),
        ("broken wrist", "S62.109A"),
    ],
)
def test_a_billable_code_is_the_one_that_the_words_name(index, typed, code):
    assert codes(index, typed, billable=True)[0] == code


@pytest.mark.parametrize("header", ["E11", "I21", "M54.5", "J45"])
def test_a_header_stands_for_the_billable_codes_below_it(index, header):
    found = codes(index, header, k=3, billable=True)
    assert all(code.startswith(header) for code in found)


def test_the_rest_of_a_codes_hits_are_near_it_in_meaning(index):
    found = codes(index, "E119", k=6)
    assert found[0] == "E11.9"
    assert sum(code.startswith(("E10", "E11", "E13", "E08", "E09")) for code in found) >= 5


@pytest.mark.parametrize(
    "typed", ["E11.9A", "I21.44", "999.99", "?!...;;", "胸の痛み", "\U0001f922"]
)
def test_what_is_no_code_and_no_words_finds_nothing(index, typed):
    assert index.search([typed])[0] == []


@pytest.mark.parametrize(
    ("typed", "code"),
    [("heart attack", "410.9"), ("diabetes", "250.00"), ("pneumonia", "486"), ("COPD", "496"),
     ("CHF", "428.0"), ("hip fracture", "820.8"), ("depression", "311")],
)  # fmt: skip
def test_everyday_words_find_codes_of_icd9(index, typed, code):
    assert codes(index, typed, systems=("icd9cm",))[0].startswith(code)


def test_one_text_is_no_list_of_texts(index):
    with pytest.raises(TypeError, match="takes a list"):
        index.search("heart attack")
