"""Names in notes: the longest one counts, statements are read as a whole, pregnancies."""

from __future__ import annotations

import pytest
from real_index import real_home

import cmsearch
from cmsearch.types import Assertion


@pytest.fixture(scope="module")
def suggested():
    """Return a function from a note to what stands and what is held back, by code."""
    index = cmsearch.Index.open(real_home() / "indexes" / "default")

    def of(note):
        found = index.suggest([note], everything=True)[0]
        stands = {str(item.code): item for item in index.suggest([note])[0]}
        held = {str(item.code): item for item in found if item.suppressed}
        return stands, held

    return of


PROSE = (
    "She sustained a displaced intertrochanteric fracture of the right femur. Postoperatively "
    "she developed acute blood loss anemia and a urinary tract infection. She has chronic kidney "
    "disease stage 3b."
)


def test_the_longest_name_is_coded_and_its_parts_are_not(suggested):
    stands, held = suggested(PROSE)
    assert {"D62", "N39.0", "N18.32", "S72.141A"} <= stands.keys()
    assert not {"D64.9", "N18.9", "N28.9", "B99.9"} & stands.keys()
    assert held["D64.9"].suppressed == "part of “acute blood loss anemia”, coded as D62"
    assert stands["D62"].probability >= held["D64.9"].probability


def test_a_part_that_stands_elsewhere_too_is_coded(suggested):
    stands, _ = suggested("Gestational diabetes. Her mother-in-law visits. Anemia. Postoperative "
                          "acute blood loss anemia. Anemia was chronic.")  # fmt: skip
    assert "D64.9" in stands


@pytest.mark.parametrize(
    ("statement", "code", "absent"),
    [
        ("Anemia due to chemo", "D64.81", "D64.9"),
        ("Sepsis due to E. coli", "A41.51", "A41.9"),
        ("Nausea and vomiting", "R11.2", "R11.0"),
        ("Hypokalemia, resolved", "E87.6", "Z09"),
    ],
)
def test_a_statement_is_read_as_a_whole(suggested, statement, code, absent):
    stands, _ = suggested(f"Discharge diagnoses:\n{statement}\n")
    assert code in stands
    assert absent not in stands


def test_a_statement_that_names_nothing_has_no_code(suggested):
    assert suggested("Discharge diagnoses:\n,,, and ;;; due to ...\n(((\n")[0] == {}


def test_two_conditions_in_one_statement_are_two(suggested):
    stands, _ = suggested("Discharge diagnoses:\nHypertension and hypothyroidism\n")
    assert {"I10", "E03.9"} <= stands.keys()


def test_what_is_doubted_at_discharge_is_coded_and_said_to_be_uncertain(suggested):
    stands, _ = suggested("Discharge diagnoses:\nPossible TIA\n")
    assert Assertion.POSSIBLE in {item.assertion for item in stands["G45.9"].evidence}
    assert any(warning.startswith("uncertain:") for warning in stands["G45.9"].warnings)


DELIVERY = (
    "29 yo G2P1 at 39 weeks 2 days gestation in labor. Pregnancy complicated by gestational "
    "diabetes, diet controlled. Normal spontaneous vaginal delivery of a liveborn female infant."
)


def test_a_delivery_has_its_week_and_its_outcome(suggested):
    stands, held = suggested(DELIVERY)
    assert {"O24.410", "Z37.0", "Z3A.39"} <= stands.keys()
    assert stands["Z3A.39"].evidence[0].text == "39 weeks 2 days gestation"
    assert "O80" not in stands
    assert "not given beside O24.410" in held["O80"].suppressed
    assert "E11.9" not in stands


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("at 7 weeks gestation", "Z3A.01"),
        ("at 28+3 weeks gestational age", "Z3A.28"),
        ("36 5/7 wks pregnant", "Z3A.36"),
        ("43 weeks of gestation", "Z3A.49"),
    ],
)
def test_weeks_as_they_are_written(suggested, words, code):
    stands, _ = suggested(f"Gestational diabetes, {words}. She has preeclampsia.")
    assert code in stands


def test_no_week_and_no_outcome_without_a_pregnancy(suggested):
    stands, _ = suggested("A healthy boy, born at 39 weeks gestation, has asthma.")
    assert not any(code.startswith(("Z3A", "Z37")) for code in stands)


def test_the_outcome_of_twins_is_for_the_reader(suggested):
    stands, _ = suggested(DELIVERY + " Twin B is a liveborn male infant.")
    assert not any(code.startswith("Z37") for code in stands)
