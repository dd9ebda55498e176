"""Segments of notes: sections, sentences, items, cells; any text, in linear time."""

from __future__ import annotations

import sys
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsearch.notes.assertion import contexts
from cmsearch.notes.headings import find_headings, known, label
from cmsearch.notes.layout import Kind, Segment, segments
from cmsearch.notes.rules import rows

H, S, I, C = Kind.HEADING, Kind.SENTENCE, Kind.ITEM, Kind.CELL  # noqa: E741


def read(text: str) -> list[tuple[str, str]]:
    """Return the words and the section of each segment that is no heading."""
    return [
        (text[part.begin : part.end], part.section)
        for part in segments(text)
        if part.kind is not Kind.HEADING
    ]


def words(text: str) -> list[str]:
    return [text[part.begin : part.end] for part in segments(text)]


def kinds(text: str) -> list[Kind]:
    return [part.kind for part in segments(text)]


@pytest.mark.parametrize(
    "written",
    [
        "Past Medical History: asthma",
        "PAST MEDICAL HISTORY\nasthma",
        "Past medical history:\n\nasthma",
        "## Past Medical History\nasthma",
        "**PMH:** asthma",
        "P.M.H.: asthma",
        "PMHx: asthma",
        "past medical history : asthma",
        "PMH asthma",
        "Past Medical History - asthma",
        "PAST MEDICAL HISTORY asthma",
        "2. Past Medical History: asthma",
        "Seen today.  Past Medical History: asthma",
        "He is well. PMH: asthma",
        "he is well PMH: asthma",
    ],
)
def test_headings_are_known_however_they_are_written(written):
    assert read(written)[-1] == ("asthma", "past medical history")


@pytest.mark.parametrize(
    ("heading", "section"),
    [
        ("CC", "chief complaint"),
        ("History of Present Illness", "history of present illness"),
        ("FHx", "family history"),
        ("Social Hx", "social history"),
        ("R.O.S.", "review of systems"),
        ("Home Medications", "medications"),
        ("Allergies", "allergies"),
        ("Physical Exam", "exam"),
        ("LABS", "laboratory"),
        ("CXR", "imaging"),
        ("Assessment & Plan", "assessment"),
        ("A/P", "assessment"),
        ("IMPRESSION", "assessment"),
        ("Recommendations", "plan"),
        ("Discharge Diagnosis(es)", "discharge diagnoses"),
        ("Brief Hospital Course", "hospital course"),
        ("Procedures Performed", "procedures"),
        ("Reason for Exam", "indication"),
        ("Pre-Op Diagnosis", "preoperative diagnosis"),
    ],
)
def test_headings_name_their_sections(heading, section):
    assert read(f"{heading}: gout")[-1] == ("gout", section)


def test_headings_in_one_line_follow_each_other():
    text = "FINDINGS: LUNGS: clear. IMPRESSION: Normal. PMH: HTN, DM2"
    assert read(text) == [
        ("LUNGS: clear.", "imaging"),
        ("Normal.", "assessment"),
        ("HTN, DM2", "past medical history"),
    ]


def test_labels_that_open_no_section_stay_with_their_words():
    text = "Exam\nHEENT: normal\nLungs: clear\nTime 10:30, ratio 1:2, note: fine"
    assert read(text) == [
        ("HEENT: normal", "exam"),
        ("Lungs: clear", "exam"),
        ("Time 10:30, ratio 1:2, note: fine", "exam"),
    ]


def test_words_of_headings_in_prose_are_no_headings():
    assert kinds("HISTORY of asthma") == [S]
    text = "The plan is to continue.\nHis history of asthma and the assessment of risk are known."
    assert kinds(text) == [S, S]


def test_family_history_ends_where_the_patient_begins():
    text = (
        "Family history: Mother with breast cancer, father with\nmyocardial infarction.\n"
        "Brother has gout.\nNormal neurological condition and no fever."
    )
    sections = [section for _, section in read(text)]
    assert sections == ["family history"] * 2 + [""]
    assert read("Family History\n\nNo cancer.\n\nHEENT: normal")[-1][1] == ""
    assert read("FH: Father MI.\nDIET: regular")[-1][1] == "instructions"
    assert read("PMH: gout.\nSKIN TYPES: two")[-1][1] == ""


def test_body_systems_after_vital_signs_are_the_exam():
    assert read("Vital signs: BP 120/80\nLungs: clear")[-1] == ("Lungs: clear", "exam")


@pytest.mark.parametrize(
    "sentence",
    [
        "Seen by Dr. Smith and Mrs. Jones vs. Mr. Brown.",
        "The pt. denies fever.",
        "Takes aspirin q.d. and insulin b.i.d. with food.",
        "A 2.5 cm nodule, e.g. in the left lung, approx. 3 mm deep.",
        "John F. Kennedy has a fever of 38.5 degrees.",
        "CXR: ? pneumonia",
        "A 67 y.o. woman with pain.",
        "See No. 5 of the list.",
    ],
)
def test_sentences_do_not_end_at_shorthand(sentence):
    assert words(sentence)[-1] == sentence or words(sentence) == ["CXR:", "? pneumonia"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("No fever. denies cough.", ["No fever.", "denies cough."]),
        ("Takes insulin b.i.d. He is well.", ["Takes insulin b.i.d.", "He is well."]),
        ("Has hepatitis C. He is well.", ["Has hepatitis C.", "He is well."]),
        ("Fever? Yes! Cough.", ["Fever?", "Yes!", "Cough."]),
        ('He said "pain." Then left.', ['He said "pain."', "Then left."]),
        ("Mild edema.No rash.", ["Mild edema.", "No rash."]),
        ("Smoker: no. Drinks.", ["Smoker: no.", "Drinks."]),
    ],
)
def test_sentences_end(text, expected):
    assert words(text) == expected


def test_numbered_points_in_a_line_are_kept_apart():
    assert words("1. HTN. 2. DM2, 3. CKD stage 3. Stable") == [
        "1. HTN.", "2. DM2,", "3. CKD stage 3.", "Stable",
    ]  # fmt: skip
    assert words("Grade 1. Stable.") == ["Grade 1.", "Stable."]


def test_lists_are_items_and_wrapped_lines_go_on():
    text = (
        "- COPD\n- heart failure with\n  reduced function\n* gout\n\n"
        "The patient is an old man who came to the emergency room\n"
        "because of chest pain that began two days before he came\nhere.\n"
    )
    assert words(text) == [
        "- COPD",
        "- heart failure with\n  reduced function",
        "* gout",
        "The patient is an old man who came to the emergency room\n"
        "because of chest pain that began two days before he came\nhere.",
    ]
    assert kinds(text) == [I, I, I, S]


def test_short_lines_are_items_of_their_own():
    text = "Diagnoses:\nHypertension\nDiabetes\nchronic kidney disease"
    assert kinds(text) == [H, I, I, I]


def test_cells_of_tables_are_kept_apart():
    text = "| Test | Result |\n| Na | 135 |\nGlucose\t\t98"
    assert words(text) == ["Test", "Result", "Na", "135", "Glucose", "98"]
    assert set(kinds(text)) == {C}


def test_tags_of_html_end_lines():
    text = "<div><p class='a'>No fever</p><h2>Plan</h2>Rest, p < 0.05 <b>now</b><br/>Sleep</div>"
    assert words(text) == ["No fever", "Plan", "Rest, p < 0.05 <b>now</b>", "Sleep"]
    assert read(text)[-1] == ("Sleep", "plan")


def test_line_ends_of_all_kinds():
    for end in ("\n", "\r\n", "\r", "\v", "\f", "\x85", "\u2028"):
        assert words(f"Plan:{end}Rest.{end}{end}Sleep.") == ["Plan:", "Rest.", "Sleep."]


def test_every_heading_of_the_data_has_one_section_and_a_source():
    found: dict[str, str] = {}
    for heading, section, source in rows("headings"):
        assert source
        assert found.setdefault(label(heading), section) == section
    assert known() == found
    assert len(found) > 1000


def test_nothing_to_read():
    assert segments("") == segments(" \n\t\r\n\0"[:5]) == []


NOTE_PIECES = st.sampled_from(
    ["PMH: ", "Family History", "\n", "\n\n", "- ", "1. ", "2. ", "no fever", ". ", "|", "\t", ":",
     "  ", "Dr. ", "Plan ", "IMPRESSION - ", "\r\n", "DIET: ", "Lungs: ", "?", "\u2028", "\0"]
)  # fmt: skip
ANY_TEXT = st.one_of(st.text(), st.lists(st.one_of(NOTE_PIECES, st.text(max_size=5))).map("".join))


@settings(max_examples=200)
@given(ANY_TEXT)
def test_segments_hold_the_whole_text_in_order(text):
    last = 0
    outside = []
    for part in segments(text):
        assert isinstance(part, Segment)
        assert last <= part.begin < part.end <= len(text)
        inner = text[part.begin : part.end]
        assert inner == inner.strip()
        outside.append(text[last : part.begin])
        last = part.end
    outside.append(text[last:])
    assert "".join(outside).replace("|", "").strip() == ""


@given(ANY_TEXT)
def test_headings_lie_in_their_line(text):
    last = 0
    for heading in find_headings(text, 0, len(text)):
        assert last <= heading.begin <= heading.end <= len(text)
        last = heading.end


def work(call: Callable[[], object]) -> int:
    """Return how many calls, of Python and of C, something takes."""
    count = 0

    def counted(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event in ("call", "c_call")

    sys.setprofile(counted)
    try:
        call()
    finally:
        sys.setprofile(None)
    return count


@pytest.mark.parametrize(
    "piece",
    ["no fever and has cough ", ". ", ".", ": ", "PMH: x ", "a|", "\t", "- ", "1. a 2. b ", "\n",
     "Father: MI.\n", "AB ", "? ", "abc def\n", "9", "was ruled out ", "denies ", "*", "if: "],
)  # fmt: skip
def test_twice_the_text_is_twice_the_work(piece):
    def understand(size: int) -> None:
        text = piece * size
        layout = segments(text)
        contexts(text, layout, [(place, place + 1) for place in range(0, len(text), 40)])

    understand(10)  # the rules are read once
    small, large = work(lambda: understand(400)), work(lambda: understand(800))
    assert large < 2.2 * small + 200
