"""Text forms of concepts: templates by name, natural word order, no repetitions."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.codes import Code, System
from cmsearch.ontology.concept import Concept, Level, Notes
from cmsearch.serialise import (
    DEFAULT_TEMPLATES,
    Form,
    Template,
    forms,
    index_forms,
    natural_order,
    published,
    with_ancestors,
)

PNEUMONIA = Concept(
    code=Code("J18.9", System.ICD10CM),
    title="Pneumonia, unspecified organism",
    parent=Code("J18", System.ICD10CM),
    billable=True,
    inclusion_terms=("Lung infection", "pneumonia, unspecified organism"),
    notes=Notes(includes=("chest infection NOS", "conditions in J10-J11")),
)


def texts(concept: Concept, *templates: Template) -> list[str]:
    return [form.text for form in forms(concept, templates=templates)]


ANEMIA = "Anemia > iron deficiency > due to blood loss"


def test_the_published_form() -> None:
    assert texts(PNEUMONIA, Template.PUBLISHED) == [
        "ICD 10 code for J18.9: Pneumonia, unspecified organism"
    ]


@pytest.mark.parametrize(
    ("system", "code", "start"),
    [
        (System.ICD9CM, "250.00", "ICD 9 code for 250.00: "),
        (System.ICD9PROC, "39.50", "ICD 9 code for 39.50: "),
        (System.ICD10PCS, "0016070", "ICD 10 code for 0016070: "),
    ],
)
def test_the_published_form_names_the_revision(system: System, code: str, start: str) -> None:
    assert published(Code(code, system), "x") == start + "x"


def test_the_title_with_its_ancestors() -> None:
    above = [
        Concept(Code("J18", System.ICD10CM), "Pneumonia"),
        Concept(Code("J09-J18", System.ICD10CM), "Influenza and pneumonia", Level.BLOCK),
    ]
    path = "Pneumonia, unspecified organism; Pneumonia; Influenza and pneumonia"
    assert with_ancestors(PNEUMONIA, above) == path
    made = forms(PNEUMONIA, templates=[Template.ANCESTORS], ancestors=above)
    assert made == [Form(PNEUMONIA.code, path, Template.ANCESTORS)]


def test_forms_come_once_and_the_title_first() -> None:
    made = forms(
        PNEUMONIA,
        index_terms=["Pneumonia", "Infection > lung"],
        vocabulary=["lung infection", "walking pneumonia"],
    )
    assert [(form.text, form.template) for form in made] == [
        ("Pneumonia, unspecified organism", Template.TITLE),
        ("Lung infection", Template.INCLUSION),
        ("chest infection NOS", Template.INCLUDES),
        ("Pneumonia", Template.INDEX),
        ("Infection lung", Template.INDEX),
        ("walking pneumonia", Template.VOCABULARY),
    ]
    assert {form.code for form in made} == {PNEUMONIA.code}


def test_includes_of_a_block_name_nothing_to_look_up() -> None:
    block = Concept(
        Code("A00-A09", System.ICD10CM), "x", Level.BLOCK, notes=Notes(includes=("diseases",))
    )
    assert texts(block, Template.INCLUDES) == []


def test_default_templates_leave_out_the_long_forms() -> None:
    assert Template.PUBLISHED not in DEFAULT_TEMPLATES
    assert Template.ANCESTORS not in DEFAULT_TEMPLATES
    assert DEFAULT_TEMPLATES[0] is Template.TITLE


@pytest.mark.parametrize(
    ("path", "said"),
    [
        (ANEMIA, "iron deficiency anemia due to blood loss"),
        ("Anemia", "Anemia"),
        ("Pain > chest", "chest pain"),
        ("Syndrome > Down", "Down syndrome"),
        ("Croup, croupous", "Croup"),
        ("Diabetes, diabetic > type 2 > with > neuropathy", "Diabetes type 2 with neuropathy"),
        ("Fracture, traumatic > femur", "femur traumatic fracture"),
        ("Abscess > lung > with pneumonia", "lung abscess with pneumonia"),
        ("HIV > positive", "positive HIV"),
        ("Parkinson's disease > juvenile", "juvenile Parkinson's disease"),
        ("Encounter > for > check-up", "Encounter for check-up"),
    ],
)
def test_an_index_path_in_the_order_in_which_people_say_it(path: str, said: str) -> None:
    assert natural_order(path) == said


def test_an_index_path_is_written_both_ways() -> None:
    assert index_forms(ANEMIA) == [
        "iron deficiency anemia due to blood loss",
        "Anemia iron deficiency due to blood loss",
    ]
    assert index_forms("Encounter > for > check-up") == ["Encounter for check-up"]


@given(st.text(max_size=60) | st.lists(st.text("abc ,'>", max_size=8), max_size=4).map(" > ".join))
def test_hostile_paths_have_tidy_forms(path: str) -> None:
    written = index_forms(path)
    assert 1 <= len(written) <= 2
    for text in (*written, natural_order(path)):
        assert "  " not in text
        assert text == text.strip()


@given(st.lists(st.sampled_from("abcdefgh"), min_size=1, max_size=4, unique=True))
def test_natural_order_loses_no_modifier(words: list[str]) -> None:
    path = " > ".join(["noun", *words])
    assert sorted(natural_order(path).split()) == sorted(["noun", *words])
