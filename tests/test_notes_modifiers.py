"""What codes need beside the condition, and what a note states of its patient."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.notes.layout import segments
from cmsearch.notes.modifiers import (
    Acuity,
    Encounter,
    Laterality,
    Modifiers,
    Severity,
    Sex,
    modifiers,
    patient,
)
from cmsearch.notes.rules import rows

LEFT, RIGHT, BILATERAL = Laterality.LEFT, Laterality.RIGHT, Laterality.BILATERAL


def of(text: str, mention: str) -> Modifiers:
    """Return the modifiers of the last place where a text has some words."""
    begin = text.rindex(mention)
    [segment] = [part for part in segments(text) if part.begin <= begin < part.end]
    return modifiers(text, segment, begin, begin + len(mention))


@pytest.mark.parametrize(
    ("text", "mention", "side"),
    [
        ("fracture of the left distal radius", "fracture", LEFT),
        ("left knee and right hip pain", "hip pain", RIGHT),
        ("pain in the right hip and fracture of the left radius", "fracture", LEFT),
        ("left ankle sprain, right wrist pain", "ankle sprain", LEFT),
        ("right wrist pain, left ankle sprain", "wrist pain", RIGHT),
        ("pain of the knee, left", "pain of the knee", LEFT),
        ("cataract in both eyes", "cataract", BILATERAL),
        ("b/l leg edema", "edema", BILATERAL),
        ("Rt. knee pain", "knee pain", RIGHT),
        ("LUE weakness", "weakness", LEFT),
        ("left-sided weakness", "left-sided weakness", LEFT),
        ("left foot ulcer", "left foot ulcer", LEFT),
        ("he left the hospital with knee pain", "knee pain", None),
        ("right-handed man with wrist pain", "wrist pain", None),
        ("left ventricular hypertrophy", "hypertrophy", None),
        ("Left arm normal; knee pain", "knee pain", None),
        ("knee pain", "knee pain", None),
    ],
)
def test_laterality(text, mention, side):
    assert of(text, mention).laterality is side


@pytest.mark.parametrize(
    ("text", "mention", "acuity", "severity"),
    [
        ("acute bronchitis", "bronchitis", Acuity.ACUTE, None),
        ("acute on chronic systolic heart failure", "heart failure", Acuity.ACUTE_ON_CHRONIC, None),
        ("chronic kidney disease", "chronic kidney disease", Acuity.CHRONIC, None),
        ("recurrent severe depression", "depression", Acuity.RECURRENT, Severity.SEVERE),
        ("asthma, mild, persistent", "asthma", None, Severity.MILD),
        ("moderate to severe pain", "pain", None, Severity.SEVERE),
        ("no acute distress, pain", "pain", None, None),
        ("subacute hematoma", "hematoma", Acuity.SUBACUTE, None),
    ],
)
def test_acuity_and_severity(text, mention, acuity, severity):
    found = of(text, mention)
    assert (found.acuity, found.severity) == (acuity, severity)


@pytest.mark.parametrize(
    ("text", "encounter"),
    [
        ("fracture of the radius, initial encounter", Encounter.INITIAL),
        ("follow-up of a fracture with routine healing", Encounter.SUBSEQUENT),
        ("pain as a late effect of a fracture", Encounter.SEQUELA),
        ("a fracture", None),
    ],
)
def test_encounter(text, encounter):
    assert of(text, "fracture").encounter is encounter


@pytest.mark.parametrize(
    ("text", "trimester", "weeks"),
    [
        ("anemia at 32 weeks gestation", 3, 32),
        ("anemia, 13w6d pregnant", 1, 13),
        ("anemia at 14 weeks of pregnancy", 2, 14),
        ("anemia, pregnancy at 27+6 weeks", 2, 27),
        ("anemia at 28 weeks' gestation", 3, 28),
        ("anemia in the second trimester", 2, None),
        ("anemia for 6 weeks", None, None),
        ("anemia at 90 weeks gestation", None, None),
    ],
)
def test_pregnancy_is_told_in_trimesters_and_weeks(text, trimester, weeks):
    found = of(text, "anemia")
    assert (found.trimester, found.weeks) == (trimester, weeks)


@pytest.mark.parametrize(
    ("text", "sex", "age"),
    [
        ("A 67-year-old woman with pain.", Sex.FEMALE, 67),
        ("67 y/o M with pain", Sex.MALE, 67),
        ("67yo F", Sex.FEMALE, 67),
        ("45F with cough", Sex.FEMALE, 45),
        ("A 3-month-old boy", Sex.MALE, 0),
        ("An 18 month old girl", Sex.FEMALE, 1),
        ("Sex: F Age: 34", Sex.FEMALE, 34),
        ("Her 45-year-old brother has gout.", None, None),
        ("His mother is a 67 year old woman.", None, None),
        ("Family History: Mother, 67 years old.", None, None),
        ("The boy, accompanied by his mother, is 5 years old.", None, 5),
        ("Mr. Smith is here with his wife.", Sex.MALE, None),
        ("She is ill. Her knee hurts. She has pain.", Sex.FEMALE, None),
        ("She is ill. He is ill. Her knee hurts.", None, None),
        ("A 300-year-old man", Sex.MALE, None),
        ("", None, None),
    ],
)
def test_the_patient_is_told_from_relatives(text, sex, age):
    found = patient(text)
    assert (found.sex, found.age_years) == (sex, age)


@pytest.mark.parametrize(
    ("text", "pregnant"),
    [
        ("G2P1 at 30 weeks gestation", True),
        ("She is pregnant.", True),
        ("She is not pregnant.", False),
        ("His wife is pregnant.", False),
        ("Mr. Smith is a man. Pregnant cat at home.", False),
        ("Call if pregnant.", False),
        ("Chest pain.", False),
    ],
)
def test_pregnancy_of_the_patient(text, pregnant):
    assert patient(text).pregnant is pregnant


def test_a_layout_at_hand_gives_the_same():
    text = "Family History: Mother, 67 years old.\nHPI: A 30-year-old man."
    assert patient(text, segments(text)) == patient(text)


def test_the_data_is_sound():
    kinds = {"laterality": Laterality, "acuity": Acuity, "severity": Severity,
             "encounter": Encounter}  # fmt: skip
    for words, attribute, value, source in rows("modifiers"):
        assert words and source
        if attribute == "trimester":
            assert value in ("1", "2", "3")
        elif value:
            assert kinds[attribute](value).value == value


@given(
    st.lists(st.sampled_from(
        ["left", "right", "acute", "and", ",", ".", "knee", "32", "weeks", "gestation", "both"]
    )).map(" ".join),
    st.integers(0, 60),
    st.integers(0, 9),
)  # fmt: skip
def test_any_mention_has_modifiers(text, begin, length):
    for segment in segments(text):
        assert isinstance(modifiers(text, segment, begin, begin + length), Modifiers)
    patient(text)
