"""Codes: what people type, what it may mean, and the way back."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsearch.codes import Code, System, candidates, dot, undot
from cmsearch.errors import CodeError

CODES = {
    System.ICD10CM: st.from_regex(r"[A-TV-Z][0-9][0-9A-Z][0-9A-Z]{0,4}", fullmatch=True),
    System.ICD10PCS: st.from_regex(r"[0-9A-HJ-NP-Z]{7}", fullmatch=True),
    System.ICD9CM: st.from_regex(
        r"[0-9]{3}[0-9]{0,2}|V[0-9]{2}[0-9]{0,2}|E[0-9]{3}[0-9]?", fullmatch=True
    ),
    System.ICD9PROC: st.from_regex(r"[0-9]{2}[0-9]{0,2}", fullmatch=True),
}
SYSTEMS_AND_CODES = st.sampled_from(System).flatmap(
    lambda system: st.tuples(st.just(system), CODES[system])
)


@pytest.mark.parametrize(
    ("typed", "system", "official"),
    [
        ("e119", System.ICD10CM, "E11.9"),
        ("E11.9", System.ICD10CM, "E11.9"),
        (" e 11 . 9 ", System.ICD10CM, "E11.9"),
        ("E11.", System.ICD10CM, "E11"),
        ("E11.-", System.ICD10CM, "E11"),
        ("t360x1a", System.ICD10CM, "T36.0X1A"),
        ("c7a010", System.ICD10CM, "C7A.010"),
        ("QA0", System.ICD10CM, "QA0"),
        ("250.00", System.ICD9CM, "250.00"),
        ("25000", System.ICD9CM, "250.00"),
        ("V70.0", System.ICD9CM, "V70.0"),
        ("v700", System.ICD9CM, "V70.0"),
        ("E8889", System.ICD9CM, "E888.9"),
        ("E000", System.ICD9CM, "E000"),
        ("0016070", System.ICD10PCS, "0016070"),
        ("0", System.ICD10PCS, "0"),
        ("3950", System.ICD9PROC, "39.50"),
        ("i20-i25", System.ICD10CM, "I20-I25"),
        ("I20\N{EN DASH}I25", System.ICD10CM, "I20-I25"),
        ("O94-O9A", System.ICD10CM, "O94-O9A"),
        ("V01-V91", System.ICD9CM, "V01-V91"),
        ("E000-E999", System.ICD9CM, "E000-E999"),
        ("01-05", System.ICD9PROC, "01-05"),
    ],
)
def test_what_people_type_is_read(typed: str, system: System, official: str) -> None:
    assert Code(official, system) in candidates(typed)
    assert Code.of(system, typed) == Code(official, system)


@pytest.mark.parametrize(
    ("typed", "readings"),
    [
        ("E8889", ["E88.89", "E888.9"]),  # the dot would decide
        ("E888.9", ["E888.9"]),
        ("E88.89", ["E88.89"]),
        ("V70.0", ["V70.0", "V70.0"]),  # the dot cannot decide
        ("4280", ["428.0", "42.80"]),
        ("V01-V09", ["V01-V09", "V01-V09"]),
        ("001-139", ["001-139"]),
        ("E00-E07", ["E00-E07"]),
        ("E800-E807", ["E800-E807"]),
    ],
)
def test_every_reading_is_kept(typed: str, readings: list[str]) -> None:
    assert [str(code) for code in candidates(typed)] == readings


@pytest.mark.parametrize(
    "text",
    ["", " ", ".", "-", "chest pain", "E1", "E11..9", ".E119", "E1.19", "250.0.0", "25.000",
     "E11.9999999", "U", "\x00", "é11.9", "E11.9\N{SNOWMAN}", "٢٥٠٠٠", "Ⅻ", "A" * 100_000],
)  # fmt: skip
def test_what_is_no_code_is_not_read(text: str) -> None:
    assert candidates(text) == []
    for system in System:
        with pytest.raises(CodeError, match=f"not written like an {system.label} code"):
            Code.of(system, text)


def test_an_error_shows_no_more_than_forty_characters() -> None:
    with pytest.raises(CodeError) as caught:
        Code.of(System.ICD10CM, "x" * 10_000)
    assert len(str(caught.value)) < 120


@given(SYSTEMS_AND_CODES)
def test_dotting_and_undotting_are_inverse(pair: tuple[System, str]) -> None:
    system, undotted = pair
    dotted = dot(system, undotted)
    assert undot(dotted) == undotted
    assert dot(system, undot(dotted)) == dotted
    code = Code(dotted, system)
    assert code.undotted == undotted
    assert code.undotted.startswith(code.category)


@given(SYSTEMS_AND_CODES, st.booleans(), st.booleans(), st.sampled_from(["", " ", "-", ".", "\t"]))
def test_spelling_does_not_change_a_code(
    pair: tuple[System, str], lower: bool, dotted: bool, ending: str
) -> None:
    system, undotted = pair
    code = Code(dot(system, undotted), system)
    typed = (code.value if dotted else undotted) + ending
    typed = typed.lower() if lower else typed
    assert code in candidates(typed)
    assert Code.of(system, typed) == code


@given(st.text(max_size=14) | st.text("0123456789.-EVX ", max_size=9))
@settings(max_examples=500)
def test_candidates_are_official_and_of_different_systems(text: str) -> None:
    found = candidates(text)
    assert len({code.system for code in found}) == len(found)
    for code in found:
        assert Code.of(code.system, code.value) == code
        assert code in candidates(code.value)
        assert set(code.value) <= set(string.ascii_uppercase + string.digits + ".-")


def test_the_system_is_part_of_the_identity() -> None:
    old, new = Code("V70.0", System.ICD9CM), Code("V70.0", System.ICD10CM)
    assert old != new
    assert len({old, new}) == 2
    assert sorted([old, new]) == [new, old]  # by spelling, then "icd10cm" before "icd9cm"


@given(st.lists(SYSTEMS_AND_CODES.map(lambda pair: Code(dot(*pair), pair[0]))))
def test_codes_are_sorted_by_spelling_then_system(codes: list[Code]) -> None:
    assert sorted(codes) == sorted(codes, key=lambda code: (code.value, code.system.value))


def test_parts_of_a_code() -> None:
    code = Code("T36.0X1A", System.ICD10CM)
    assert str(code) == "T36.0X1A"
    assert (code.undotted, code.category, code.is_range) == ("T360X1A", "T36", False)
    assert code.is_under(Code("T36.0X", System.ICD10CM))
    assert code.is_under(code)
    assert not code.is_under(Code("T36.0X2", System.ICD10CM))
    assert not Code("V70.0", System.ICD9CM).is_under(Code("V70", System.ICD10CM))
    assert Code("I20-I25", System.ICD10CM).is_range


@pytest.mark.parametrize(
    ("name", "system"),
    [
        ("icd10cm", System.ICD10CM),
        ("ICD-10-CM", System.ICD10CM),
        ("icd 10", System.ICD10CM),
        ("PCS", System.ICD10PCS),
        ("icd9", System.ICD9CM),
        ("ICD-9-CM procedures", System.ICD9PROC),
    ],
)
def test_systems_have_the_names_people_use(name: str, system: System) -> None:
    assert System.parse(name) is system


def test_an_unknown_system_lists_the_known_ones() -> None:
    with pytest.raises(CodeError, match="'snomed'.*icd10cm, icd10pcs, icd9cm, icd9proc"):
        System.parse("snomed")


def test_versions_and_labels() -> None:
    assert [system.version for system in System] == [10, 10, 9, 9]
    assert System.ICD9PROC.label == "ICD-9-CM procedures"
