"""Coding rules: each alone on a small code set, the tables against the whole one."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import tiny

from cmsearch.codes import Code, System
from cmsearch.index import open_index
from cmsearch.notes import ruletables
from cmsearch.notes.assertionrules import history_code
from cmsearch.notes.codebook import Codebook, Kind
from cmsearch.notes.coderules import CHOOSING, RULES, apply_rules
from cmsearch.notes.patient import Patient, Sex
from cmsearch.notes.ruletables import TABLES, table
from cmsearch.ontology.concept import Concept, Level, Notes
from cmsearch.ontology.ontology import Ontology
from cmsearch.types import Assertion, Mention, Suggestion

# Code, title, parent, kind as in tiny.py.
CODES = """
A00-B99 | Certain infectious and parasitic diseases | | chapter
B95 | Streptococcus as the cause of diseases classified elsewhere | A00-B99 | header
B95.0 | Streptococcus, group A, as the cause of diseases classified elsewhere | B95 | code
C50 | Malignant neoplasm of breast | | header
C50.911 | Malignant neoplasm of unspecified site of right female breast | C50 | code
C50.912 | Malignant neoplasm of unspecified site of left female breast | C50 | code
E08-E13 | Diabetes mellitus | | block
E11 | Type 2 diabetes mellitus | E08-E13 | header
E11.22 | Type 2 diabetes mellitus with diabetic chronic kidney disease | E11 | code
E11.42 | Type 2 diabetes mellitus with diabetic polyneuropathy | E11 | code
E11.9 | Type 2 diabetes mellitus without complications | E11 | code
G63 | Polyneuropathy in diseases classified elsewhere | | code
I10 | Essential (primary) hypertension | | code
I11.0 | Hypertensive heart disease with heart failure | | code
I25.2 | Old myocardial infarction | | code
I21.9 | Acute myocardial infarction, unspecified | | code
I50.9 | Heart failure, unspecified | | code
J00-J99 | Diseases of the respiratory system | | chapter
J18 | Pneumonia, unspecified organism | J00-J99 | header
J18.9 | Pneumonia, unspecified organism | J18 | code
J20.9 | Acute bronchitis, unspecified | J00-J99 | code
J40 | Bronchitis, not specified as acute or chronic | J00-J99 | code
M17 | Osteoarthritis of knee | | header
M17.0 | Bilateral primary osteoarthritis of knee | M17 | code
M17.1 | Unilateral primary osteoarthritis of knee | M17 | header
M17.10 | Unilateral primary osteoarthritis, unspecified knee | M17.1 | code
M17.11 | Unilateral primary osteoarthritis, right knee | M17.1 | code
M17.12 | Unilateral primary osteoarthritis, left knee | M17.1 | code
N18.4 | Chronic kidney disease, stage 4 (severe) | | code
N40.1 | Benign prostatic hyperplasia with lower urinary tract symptoms | | code
O24.410 | Gestational diabetes mellitus in pregnancy, diet controlled | | code
P07.30 | Preterm newborn, unspecified weeks of gestation | | code
R05.9 | Cough, unspecified | | code
R33.8 | Other retention of urine | | code
R50.9 | Fever, unspecified | | code
S52 | Fracture of forearm | | header
S52.50 | Unspecified fracture of the lower end of radius | S52 | header
S52.501 | Unspecified fracture of the lower end of right radius | S52.50 | header
S52.501A | Unspecified fracture of the lower end of right radius, initial | S52.501 | seventh
S52.501D | Unspecified fracture of the lower end of right radius, subsequent | S52.501 | seventh
S52.502 | Unspecified fracture of the lower end of left radius | S52.50 | header
S52.502A | Unspecified fracture of the lower end of left radius, initial | S52.502 | seventh
S52.509 | Unspecified fracture of the lower end of unspecified radius | S52.50 | header
S52.509A | Unspecified fracture of the lower end of unspecified radius, initial | S52.509 | seventh
W19.XXXA | Unspecified fall, initial encounter | | code
Z80.3 | Family history of malignant neoplasm of breast | | code
Z85.3 | Personal history of malignant neoplasm of breast | | code
"""
NOTES = {
    "J00-J99": Notes(
        excludes2=("certain infectious diseases (A00-B99)",),
        use_additional=("code, where applicable, to identify tobacco use (Z72.0)",),
    ),
    "J40": Notes(excludes1=("acute bronchitis (J20.-)",)),
    "J20.9": Notes(use_additional=("code for fever, if applicable (R50.9)",)),
    "J18": Notes(
        excludes2=("bronchitis (J40)",),
        code_first=(", if applicable, associated influenza (J09.X1, J10.0-, J11.0-)",),
    ),
    "E11": Notes(
        excludes1=("gestational diabetes (O24.4-)", "old infarction (I20-I25)"),
        use_additional=("code to identify control using:", "insulin (Z79.4)"),
    ),
    "E11.42": Notes(excludes1=("alcoholic polyneuropathy (G62.1)",)),
    "E11.22": Notes(use_additional=("code to identify stage (N18.1-N18.6)",)),
    "N18.4": Notes(code_first=("any associated:", "diabetic CKD (E08.22, E11.22)")),
    "G63": Notes(code_first=("underlying disease, such as:", "endocrine disease (E08-E13)")),
    "I50.9": Notes(code_also=("hypertension, if applicable (I10)",)),
    "I10": Notes(excludes1=("hypertension complicating pregnancy (O10-O11, O13-O16)",)),
    "N40.1": Notes(use_additional=("code for associated symptoms:", "retention (R33.8)")),
}


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Codebook:
    folder = tmp_path_factory.mktemp("rules") / "index"
    codes = tiny.code_set(System.ICD10CM, CODES)
    concepts = tuple(
        replace(
            concept,
            notes=NOTES.get(concept.code.value, Notes()),
            inclusion_terms=(),
        )
        for concept in codes.concepts
    )
    ontology = Ontology([replace(codes, concepts=concepts, index_terms=())])
    options = replace(tiny.OPTIONS, systems=(System.ICD10CM,))
    tiny.build(folder, ontology=ontology, options=options)
    return Codebook(open_index(folder).lexicon)


def said(assertion: Assertion = Assertion.PRESENT, begin: int = 0) -> Mention:
    return Mention("words", begin, begin + 5, "", assertion)


def suggestion(
    value: str, assertion: Assertion = Assertion.PRESENT, probability: float = 0.5
) -> Suggestion:
    code = tiny.code10(value)
    return Suggestion(0, code, f"title of {value}", "one", probability, (said(assertion),), "why")


def ruled(book: Codebook, *given: str | Suggestion, **more: object) -> dict[str, Suggestion]:
    """Return what the rules make of codes, by code, in their new order."""
    items = [suggestion(item) if isinstance(item, str) else item for item in given]
    found = apply_rules(items, codebook=book, **more)  # type: ignore[arg-type]
    assert [item.rank for item in found] == list(range(1, len(found) + 1))
    return {item.code.value: item for item in found}


def warned(item: Suggestion, rule: str) -> list[str]:
    return [warning for warning in item.warnings if warning.startswith(f"{rule}: ")]


def test_every_rule_has_an_id_of_its_own_and_a_source():
    assert len({rule.id for rule in RULES}) == len(RULES) > 15
    assert all(rule.source for rule in RULES)
    assert {rule.id for rule in RULES} > CHOOSING - {"order", "histories"}


def test_every_warning_names_its_rule_and_its_source(book):
    everything = [line.split("|")[0].strip() for line in CODES.strip().splitlines()]
    found = ruled(book, *(code for code in everything if "-" not in code))
    ids = {rule.id for rule in RULES}
    sentences = [text for item in found.values() for text in (*item.warnings, item.suppressed)]
    assert len([text for text in sentences if text]) > 20
    for text in filter(None, sentences):
        assert text.partition(": ")[0] in ids
        assert text.endswith("]")
        assert " [" in text


def test_nothing_is_dropped_and_the_same_comes_out_twice(book):
    given = ["R05.9", "J18.9", "I10", "S52.501", suggestion("C50.911", Assertion.NEGATED)]
    first, second = ruled(book, *given), ruled(book, *given)
    assert first == second
    assert set(first) == {"R05.9", "J18.9", "I10", "S52.501", "C50.911"}
    assert list(first)[-1] == "R05.9"


def test_a_code_that_the_index_does_not_hold_is_left_alone(book):
    other = replace(suggestion("I10"), code=Code("999.9", System.ICD9CM))
    found = apply_rules([other], codebook=book)
    assert found == [replace(other, rank=1)]


def test_an_unknown_rule_is_refused(book):
    with pytest.raises(ValueError, match="no coding rule is called excludes3"):
        apply_rules([], codebook=book, without=("excludes3",))


def test_a_header_is_not_billable_and_gives_way_to_what_is_below_it(book):
    alone = ruled(book, "E11")["E11"]
    assert "E11.22" in warned(alone, "not-billable")[0]
    both = ruled(book, "E11", "E11.9")
    assert both["E11"].suppressed.startswith("header: E11.9 below it says more")
    assert both["E11.9"].suppressed == ""


def test_a_seventh_character_is_offered(book):
    item = ruled(book, "S52.501")["S52.501"]
    (warning,) = warned(item, "7th-character")
    assert "S52.501A initial encounter; S52.501D subsequent encounter" in warning
    assert warned(item, "not-billable") == []
    assert warned(ruled(book, "S52.501A")["S52.501A"], "7th-character") == []


def test_excludes1_tells_both_sides(book):
    found = ruled(book, "J40", "J20.9")
    assert "J20.9" in warned(found["J40"], "excludes1")[0]
    (warning,) = warned(found["J20.9"], "excludes1")
    assert "the note at J40 says “acute bronchitis (J20.-)”" in warning
    assert warned(ruled(book, "J40")["J40"], "excludes1") == []


def test_excludes1_of_a_header_and_of_a_range(book):
    found = ruled(book, "E11.9", "I25.2")
    assert "the note at E11 says" in warned(found["E11.9"], "excludes1")[0]
    assert warned(found["I25.2"], "excludes1")


def test_an_unlikely_code_does_not_count_against_a_likely_one(book):
    found = ruled(book, suggestion("J40", probability=0.9), suggestion("J20.9", probability=0.1))
    assert warned(found["J40"], "excludes1") == []
    assert warned(found["J20.9"], "excludes1")


def test_excludes2_informs_and_chapters_stay_silent(book):
    found = ruled(book, "J18.9", "J40", "B95.0")
    (warning,) = warned(found["J18.9"], "excludes2")
    assert "both may be coded" in warning
    assert "J40" in warning


def test_code_first_present_and_missing(book):
    found = ruled(book, "G63", "E11.9")
    assert list(found) == ["E11.9", "G63"]
    assert "E11.9 goes before this code" in warned(found["G63"], "code-first")[0]
    assert warned(found["G63"], "manifestation")
    missing = warned(ruled(book, "G63")["G63"], "code-first")
    assert "none suggested" in missing[0]
    assert "underlying disease, such as: endocrine disease" in missing[0]


def test_a_conditional_note_says_nothing_when_its_codes_are_missing(book):
    assert warned(ruled(book, "J18.9")["J18.9"], "code-first") == []
    assert warned(ruled(book, "N18.4")["N18.4"], "code-first") == []
    assert warned(ruled(book, "I50.9")["I50.9"], "code-also") == []
    assert warned(ruled(book, "J18.9")["J18.9"], "use-additional") == []


def test_additional_codes_present_and_missing(book):
    found = ruled(book, "N18.4", "E11.22")
    assert list(found) == ["E11.22", "N18.4"]
    additional = warned(found["E11.22"], "use-additional")
    assert any("N18.4 is coded as well, after this code" in line for line in additional)
    assert any("none suggested; the note at E11 says" in line for line in additional)
    assert "in either order" in warned(ruled(book, "I50.9", "I10")["I50.9"], "code-also")[0]


def test_what_is_never_first_moves_behind_what_may_be(book):
    found = ruled(book, "W19.XXXA", "B95.0", "S52.501A", "I10")
    assert list(found) == ["S52.501A", "W19.XXXA", "B95.0", "I10"]
    assert "I.C.20.a.6" in warned(found["W19.XXXA"], "sequence")[0]
    left = ruled(book, "W19.XXXA", "S52.501A", without=("order",))
    assert list(left) == ["W19.XXXA", "S52.501A"]


@pytest.mark.parametrize(
    ("code", "patient", "rule", "words"),
    [
        ("N40.1", Patient(Sex.FEMALE), "sex", "for male patients; the note says female"),
        ("O24.410", Patient(Sex.MALE), "sex", "for female patients; the note says male"),
        ("O24.410", Patient(Sex.FEMALE, 70), "age", "9 to 64 years; the note says 70 years"),
        ("P07.30", Patient(None, 40), "age", "newborn"),
        ("N40.1", Patient(Sex.MALE, 8), "age", "15 years and older"),
        ("E11.42", Patient(Sex.FEMALE, 30, True), "pregnancy", "at E11 says “gestational"),
        ("I10", Patient(Sex.FEMALE, 30, True), "pregnancy", "O10-O11"),
        ("C50.911", Patient(Sex.MALE), "sex", "its title is for female patients"),
    ],
)
def test_conflicts_with_the_patient(book, code, patient, rule, words):
    (warning,) = warned(ruled(book, code, patient=patient)[code], rule)
    assert words in warning
    silent = Patient(patient.sex and Sex.FEMALE if code[0] == "O" else None)
    assert warned(ruled(book, code, patient=silent)[code], rule) == []


def test_a_symptom_gives_way_to_what_explains_it(book):
    found = ruled(book, "R05.9", "R50.9", "J18.9")
    assert found["R05.9"].suppressed.startswith("symptom: a symptom that J18.9")
    assert found["R50.9"].suppressed
    assert found["J18.9"].suppressed == ""
    assert ruled(book, "R05.9", "I10")["R05.9"].suppressed == ""


@pytest.mark.parametrize("assertion", [item for item in Assertion if item.value != "present"])
def test_only_an_established_diagnosis_explains(book, assertion):
    found = ruled(book, "R05.9", suggestion("J18.9", assertion))
    assert found["R05.9"].suppressed == ""


def test_a_symptom_that_the_list_wants_stays(book):
    found = ruled(book, "R50.9", "R05.9", "J20.9")
    assert found["R50.9"].suppressed == ""
    assert found["R05.9"].suppressed.startswith("symptom: a symptom that J20.9")


def test_a_symptom_is_not_lost_to_an_unlikely_diagnosis(book):
    found = ruled(book, suggestion("R05.9", probability=0.8), suggestion("J18.9", probability=0.1))
    assert found["R05.9"].suppressed == ""


def test_without_gives_way_to_with(book):
    found = ruled(book, "E11.9", "E11.22", "I10")
    assert found["E11.9"].suppressed.startswith("without: E11.22 says with what")
    assert not found["E11.22"].suppressed
    assert not ruled(book, "E11.9", "I10")["E11.9"].suppressed
    assert not ruled(book, "E11.9", suggestion("E11.22", probability=0.1))["E11.9"].suppressed


def test_negated_and_hypothetical_are_held_back(book):
    found = ruled(
        book,
        suggestion("I10", Assertion.NEGATED),
        suggestion("J18.9", Assertion.HYPOTHETICAL),
    )
    assert found["I10"].suppressed.startswith("negated: ")
    assert found["J18.9"].suppressed.startswith("hypothetical: ")
    left = ruled(book, suggestion("I10", Assertion.NEGATED), without=CHOOSING)
    assert left["I10"].suppressed == ""


def test_one_present_mention_outweighs_the_others(book):
    mixed = replace(suggestion("I10"), evidence=(said(Assertion.NEGATED), said(begin=9)))
    assert ruled(book, mixed)["I10"].suppressed == ""


def test_uncertain_is_told_and_kept(book):
    item = ruled(book, suggestion("J18.9", Assertion.POSSIBLE))["J18.9"]
    assert warned(item, "uncertain")
    assert item.suppressed == ""


@pytest.mark.parametrize(
    ("assertion", "code"), [(Assertion.FAMILY, "Z80.3"), (Assertion.HISTORICAL, "Z85.3")]
)
def test_histories_bring_their_codes(book, assertion, code):
    found = ruled(book, suggestion("C50.911", assertion))
    assert list(found) == [code, "C50.911"]
    assert f"coded as {code}" in found["C50.911"].suppressed
    assert found[code].evidence == (said(assertion),)
    assert found[code].probability == 0.5
    assert "C50.911" in found[code].why
    there = ruled(book, suggestion("C50.911", assertion), code)
    assert set(there) == {code, "C50.911"}
    alone = ruled(book, suggestion("C50.911", assertion), without=CHOOSING)
    assert set(alone) == {"C50.911"}


def test_two_conditions_of_one_history_bring_it_once_with_all_their_words(book):
    right = replace(suggestion("C50.911", Assertion.FAMILY), evidence=(said(Assertion.FAMILY, 9),))
    left = suggestion("C50.912", Assertion.FAMILY, probability=0.6)
    found = ruled(book, right, left)
    assert list(found) == ["Z80.3", "C50.911", "C50.912"]
    assert [mention.begin for mention in found["Z80.3"].evidence] == [0, 9]
    assert found["Z80.3"].probability == 0.6


def test_what_lasts_is_coded_though_it_began_in_the_past(book):
    assert ruled(book, suggestion("I10", Assertion.HISTORICAL))["I10"].suppressed == ""
    assert ruled(book, suggestion("I10", Assertion.FAMILY))["I10"].suppressed


def test_combination_codes(book):
    found = ruled(book, "I10", "I50.9")
    (warning,) = warned(found["I10"], "combination")
    assert "with I50.9 the code is I11.0 Hypertensive heart disease" in warning
    assert "I.C.9.a.1" in warning


def test_sides(book):
    both = ruled(book, "M17.11", "M17.12")
    assert "M17.0 Bilateral primary" in warned(both["M17.11"], "laterality")[0]
    conflict = ruled(book, "M17.0", "M17.12")
    assert "one side and both sides" in warned(conflict["M17.0"], "laterality")[0]
    assert warned(ruled(book, "M17.11", "S52.502A")["M17.11"], "laterality") == []
    fracture = ruled(book, "S52.501A", "S52.502A")
    assert warned(fracture["S52.501A"], "laterality") == []  # no code for both


def test_missing_sides_are_offered(book):
    (knee,) = warned(ruled(book, "M17.10")["M17.10"], "laterality-missing")
    assert "M17.11/M17.12" in knee
    (radius,) = warned(ruled(book, "S52.509A")["S52.509A"], "laterality-missing")
    assert "S52.501A/S52.502A" in radius
    assert warned(ruled(book, "M17.11")["M17.11"], "laterality-missing") == []


# The tables against the code set that they are about.


@cache
def whole() -> dict[str, Concept]:
    concepts = Ontology.load((System.ICD10CM,)).concepts(System.ICD10CM)
    return {concept.code.undotted: concept for concept in concepts}


@pytest.mark.parametrize("name", TABLES)
def test_tables_name_codes_that_exist(name):
    beginnings = {code[:length] for code in whole() for length in range(3, 8)}
    assert table(name)
    for row in table(name):
        assert row.references, row
        assert row.source
        for reference in row.references:
            assert reference.first <= reference.last
            assert {reference.first, reference.last} <= beginnings, reference


def test_history_codes_and_combinations_are_billable():
    targets = {field for row in table("histories") for field in row.fields if field != "-"}
    targets |= {row.fields[1] for row in table("pairs")}
    assert len(targets) > 100
    assert [code for code in targets if not whole()[code.replace(".", "")].billable] == []
    families = {row.fields[1] for row in table("histories")} - {"-"}
    assert all("Z80" <= code[:3] <= "Z84" for code in families)


@pytest.mark.parametrize(
    ("condition", "assertion", "code"),
    [
        ("C50.911", Assertion.FAMILY, "Z80.3"), ("C18.9", Assertion.HISTORICAL, "Z85.038"),
        ("I21.9", Assertion.HISTORICAL, "I25.2"), ("I21.9", Assertion.FAMILY, "Z82.49"),
        ("I63.9", Assertion.HISTORICAL, "Z86.73"), ("I26.99", Assertion.HISTORICAL, "Z86.711"),
        ("E11.9", Assertion.FAMILY, "Z83.3"), ("F17.210", Assertion.HISTORICAL, "Z87.891"),
        ("J45.909", Assertion.FAMILY, "Z82.5"), ("G30.9", Assertion.FAMILY, "Z82.0"),
        ("M81.0", Assertion.FAMILY, "Z82.62"), ("N20.0", Assertion.HISTORICAL, "Z87.442"),
        ("E11.9", Assertion.HISTORICAL, None), ("B18.2", Assertion.HISTORICAL, None),
        ("I25.2", Assertion.HISTORICAL, None), ("C50.911", Assertion.PRESENT, None),
        ("Z80.3", Assertion.FAMILY, None),
    ],
)  # fmt: skip
def test_history_codes(condition, assertion, code):
    found = history_code(tiny.code10(condition), assertion)
    assert (found.value if found else None) == code


def test_no_code_is_for_both_sexes_and_titles_agree():
    for undotted, concept in whole().items():
        if concept.level is not Level.CODE or concept.expansion:
            continue
        facts = {fact for fact, _ in ruletables.patient_facts(undotted)}
        assert not {"female", "male"} <= facts, concept
        title = concept.title.lower()
        if title.endswith(", female"):
            assert "male" not in facts, concept
        if title.endswith(", male"):
            assert "female" not in facts, concept


def test_notes_are_inherited_and_shared(book):
    nine, header = book.node(tiny.code10("E11.9")), book.node(tiny.code10("E11"))
    assert nine is not None
    assert header is not None
    assert nine.notes[Kind.EXCLUDES1] is header.notes[Kind.EXCLUDES1]
    assert nine.path == ("E11", "E08-E13")
    assert {"E11", "E119", "E08-E13"} <= nine.beginnings


def test_tables_lie_beside_their_reader():
    folder = Path(ruletables.__file__).parent / "data"
    for name in TABLES:
        widths = {len(line.split("\t")) for line in (folder / f"{name}.tsv").read_text(
            encoding="utf-8").splitlines()}  # fmt: skip
        assert len(widths) == 1
