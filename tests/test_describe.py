"""A concept as a coder wants to see it, checked against the code sets."""

from __future__ import annotations

import json

import pytest
from real_index import real_index

from cmsearch.codes import Code, System
from cmsearch.description import Description, describe
from cmsearch.errors import CodeError

RELATIVE = {"code", "title", "billable"}


def about(code: Code | str) -> Description:
    return describe(real_index(), code)


def section(found: Description, name: str) -> tuple[str, ...]:
    return next((lines for title, lines in found.sections if title.startswith(name)), ())


def test_identity_and_path():
    found = about("i2101")
    assert found.code == Code("I21.01", System.ICD10CM)
    assert found.title.startswith("ST elevation (STEMI) myocardial infarction involving left main")
    assert (found.release, found.billable) == ("April 2026", True)
    assert found.path == (
        ("I00-I99", "Diseases of the circulatory system"),
        ("I20-I25", "Ischemic heart diseases"),
        ("I21", "Acute myocardial infarction"),
        ("I21.0", "ST elevation (STEMI) myocardial infarction of anterior wall"),
    )


def test_relatives():
    found = about("I21.01")
    assert found.children == ()
    assert [code for code, _, _ in found.siblings] == ["I21.02", "I21.09"]
    header = about("I21.0")
    assert [code for code, _, _ in header.children] == ["I21.01", "I21.02", "I21.09"]
    assert all(billable for _, _, billable in header.children)
    assert not header.billable
    assert ("I21.9", "Acute myocardial infarction, unspecified", True) in header.siblings
    assert "I21.0" not in [code for code, _, _ in header.siblings]


def test_own_notes_come_first_and_inherited_ones_say_from_where():
    lines = section(about("E11.9"), "excludes 1")
    assert lines[0] == "type 2 diabetes mellitus, without complications in remission (E11.A)"
    assert "type 1 diabetes mellitus (E10.-) [E11]" in lines
    assert lines[-1].endswith("[E00-E89]")
    assert section(about("E11"), "excludes 1")[0].startswith("diabetes mellitus due to underlying")
    assert "diabetes NOS [E11]" in section(about("E11.9"), "includes")
    assert "diabetes NOS" in section(about("E11"), "includes")


def test_inclusion_terms_are_not_inherited():
    assert "Myocardial infarction (acute) NOS" in section(about("I21.9"), "inclusion terms")
    assert section(about("I21"), "inclusion terms") == ()
    assert section(about("I21.01"), "inclusion terms") == ()


def test_a_code_first_note():
    assert any(
        "E08" in line or "diabetes" in line for line in section(about("L97.4"), "code first")
    )


def test_seventh_characters_hold_for_all_below():
    lines = section(about("S52.501A"), "7th character")
    assert lines[0] == "A: initial encounter for closed fracture"
    assert lines[-1] == "S: sequela"
    assert len(lines) == 16
    assert section(about("S52.5"), "7th character") == lines
    assert section(about("I21.9"), "7th character") == ()
    poisoning = about("T36.0X1A")
    assert [line[0] for line in section(poisoning, "7th character")] == ["A", "D", "S"]
    assert poisoning.path[-1][0] == "T36.0X1"


def test_group_and_everyday_wording():
    found = about("I21.9")
    assert section(found, "group") == ("CCSR CIR009",)
    assert "heart attack" in section(found, "people say")
    assert section(about("410.71"), "group") == ("CCS 100 Acute myocardial infarction",)


def test_the_crosswalk_says_what_its_flags_say():
    def crosswalk(code):
        return section(about(code), "crosswalk")

    assert crosswalk("Z66") == ("V49.86 Do not resuscitate status (ICD-9-CM; exact)",)
    assert crosswalk("410.71") == (
        "I21.4 Non-ST elevation (NSTEMI) myocardial infarction (ICD-10-CM; approximate)",
    )
    assert crosswalk("E950.0") == ("no code of the other system corresponds",)
    assert set(crosswalk("I25.110")) == {
        "414.01 Coronary atherosclerosis of native coronary artery "
        "(ICD-9-CM; approximate, part 1 of combination 1)",
        "411.1 Intermediate coronary syndrome (ICD-9-CM; approximate, part 2 of combination 1)",
    }
    assert crosswalk("I21") == ()  # a header has none


def test_a_category_that_is_a_block_stands_right_under_its_chapter():
    found = about("B20")
    assert found.billable
    assert found.path == (("A00-B99", "Certain infectious and parasitic diseases"),)
    assert section(found, "code first")


def test_blocks_and_chapters():
    block = about("i20-i25")
    assert (block.code.value, block.billable) == ("I20-I25", False)
    assert [code for code, _, _ in block.children] == ["I20", "I21", "I22", "I23", "I24", "I25"]
    chapter = about("I00-I99")
    assert chapter.path == ()
    assert chapter.siblings == ()
    assert "I20-I25" in [code for code, _, _ in chapter.children]


def test_an_old_code():
    found = about("410.71")
    assert found.code == Code("410.71", System.ICD9CM)
    assert found.release == "v32 (2015)"
    assert found.path[0] == ("390-459", "Diseases of the circulatory system")
    assert "410.72" in [code for code, _, _ in found.siblings]


def test_a_spelling_of_two_systems():
    with pytest.raises(CodeError, match=r"ICD-10-CM V70\.0 .* and ICD-9-CM V70\.0 .*--system"):
        about("V70.0")
    assert about(Code("V70.0", System.ICD9CM)).title.startswith("Routine general medical exam")
    assert about(Code("V70.0", System.ICD10CM)).title.startswith("Driver of bus injured")


@pytest.mark.parametrize(
    "code", ["E11.99", "", "heart attack", "\x00", "'; DROP TABLE concept", "😀"]
)
def test_no_such_code(code):
    with pytest.raises(CodeError, match="is no code of this index"):
        about(code)


def test_a_code_of_a_system_that_the_index_lacks():
    with pytest.raises(CodeError, match="holds no ICD-10-PCS; add it with.*--add icd10pcs"):
        about(Code("0016070", System.ICD10PCS))


@pytest.mark.parametrize("code", ["I21.01", "E11", "S52.501A", "410.71", "I00-I99", "B20"])
def test_as_plain_data(code):
    found = about(code)
    plain = found.to_dict()
    assert json.loads(json.dumps(plain)) == {
        **plain, "sections": {name: list(lines) for name, lines in found.sections},
    }  # fmt: skip
    assert list(plain) == [
        "code", "system", "title", "release", "billable", "path", "sections", "children",
        "siblings",
    ]  # fmt: skip
    assert plain["code"] == found.code.value
    assert plain["system"] == found.code.system.value
    assert all(set(step) == {"code", "title"} for step in plain["path"])
    assert all(set(row) == RELATIVE for row in (*plain["children"], *plain["siblings"]))
    assert all(plain["sections"].values())  # no empty section
    assert len(plain["sections"]) == len(found.sections)
    assert len(plain["siblings"]) == len(found.siblings)
