"""The GEMs with all their flags, and the CCS and CCSR groups, against counted facts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from cmsearch.codes import Code, System
from cmsearch.errors import OntologyError
from cmsearch.ontology import crosswalk
from cmsearch.ontology.crosswalk import GemEntry, by_source, read_gem, read_groups
from cmsearch.ontology.packaged import read_code_set


def icd9(text: str) -> Code:
    return Code.of(System.ICD9CM, text)


def icd10(text: str) -> Code:
    return Code.of(System.ICD10CM, text)


@pytest.fixture(scope="module")
def forward() -> list[GemEntry]:
    return read_gem(System.ICD9CM, System.ICD10CM)


@pytest.fixture(scope="module")
def backward() -> list[GemEntry]:
    return read_gem(System.ICD10CM, System.ICD9CM)


def test_every_row_and_every_flag_is_read(
    forward: list[GemEntry], backward: list[GemEntry]
) -> None:
    def count(entries: list[GemEntry]) -> tuple[int, ...]:
        return (
            len(entries),
            sum(not entry.approximate for entry in entries),
            sum(entry.no_map for entry in entries),
            sum(entry.combination for entry in entries),
        )

    assert count(forward) == (23_912, 3_533, 425, 2_260)
    assert count(backward) == (78_838, 3_533, 669, 7_878)
    assert Counter(entry.scenario for entry in forward) == {
        0: 21_652, 1: 1_954, 2: 168, 3: 76, 4: 46, 5: 8, 6: 8,
    }  # fmt: skip
    assert Counter(entry.choice_list for entry in forward) == {0: 21_652, 1: 956, 2: 1_303, 3: 1}


def test_flags_agree_with_each_other(forward: list[GemEntry], backward: list[GemEntry]) -> None:
    for entry in (*forward, *backward):
        assert (entry.target is None) == entry.no_map
        assert entry.combination == (entry.scenario > 0) == (entry.choice_list > 0)
        assert entry.approximate or not (entry.no_map or entry.combination)


def test_every_icd9_diagnosis_has_a_row(forward: list[GemEntry]) -> None:
    codes = {concept.code for concept in read_code_set(System.ICD9CM).concepts if concept.billable}
    assert set(by_source(forward)) == codes
    assert len(codes) == 14_567


def test_an_exact_translation(forward: list[GemEntry]) -> None:
    assert by_source(forward)[icd9("001.0")] == (
        GemEntry(icd9("001.0"), icd10("A00.0"), False, False, False, 0, 0),
    )


def test_no_map_has_no_target(forward: list[GemEntry]) -> None:
    (entry,) = by_source(forward)[icd9("365.70")]
    assert entry == GemEntry(icd9("365.70"), None, True, True, False, 0, 0)


def test_a_combination_keeps_its_choice_lists(forward: list[GemEntry]) -> None:
    rows = by_source(forward)[icd9("073.0")]
    assert [(str(row.target), row.scenario, row.choice_list) for row in rows] == [
        ("A70", 1, 1),
        ("J17", 1, 2),
    ]
    assert all(row.combination and row.approximate for row in rows)


def test_a_code_may_have_more_than_one_scenario(backward: list[GemEntry]) -> None:
    rows = by_source(backward)[icd10("A18.01")]
    assert {row.scenario for row in rows} >= {1, 2}


def test_e_and_v_codes_keep_their_dots(forward: list[GemEntry]) -> None:
    sources = {entry.source.value for entry in forward}
    assert {"E888.9", "V70.0", "V58.61", "E000.0"} <= sources
    assert "E88.89" not in sources


def test_the_directions_are_two_files(forward: list[GemEntry], backward: list[GemEntry]) -> None:
    there = {(entry.source, entry.target) for entry in forward if entry.target}
    back = {(entry.target, entry.source) for entry in backward if entry.target}
    assert there - back
    assert back - there


@pytest.mark.parametrize(
    "pair",
    [(System.ICD10CM, System.ICD10CM), (System.ICD9PROC, System.ICD10PCS)],
)
def test_other_pairs_have_no_gem(pair: tuple[System, System]) -> None:
    with pytest.raises(OntologyError, match="icd9cm to icd10cm and icd10cm to icd9cm"):
        read_gem(*pair)


@pytest.mark.parametrize(
    ("row", "where"),
    [
        ('"0010","A000"', "line 2"),
        ('"0010","A000","00000",x,0,0,0,zero', "line 2"),
        ('"0010","A000","00000",0,0,0,zero,0', "line 2"),
        ('"what","A000","00000",0,0,0,0,0', "line 2"),
    ],
)
def test_a_damaged_gem_names_file_and_line(
    row: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "gem.csv"
    header = '"icd9cm","icd10cm","flags","approximate","no_map","combination","scenario"'
    file.write_text(f'{header},"choice_list"\n{row}\n')
    monkeypatch.setattr(crosswalk, "packaged_file", lambda package, pattern: file)
    with pytest.raises(OntologyError, match=f"gem.csv: {where} is no row of a GEM"):
        read_gem(System.ICD9CM, System.ICD10CM)


def test_ccs_groups_have_numbers_and_names() -> None:
    groups = read_groups(System.ICD9CM)
    assert groups[icd9("010.00")] == "CCS 1 Tuberculosis"
    assert groups[icd9("410.71")] == "CCS 100 Acute myocardial infarction"
    assert groups[icd9("E849.0")] == "CCS 2621 E Codes: Place of occurrence"
    assert (len(groups), len(set(groups.values()))) == (15_072, 283)


def test_every_icd9_diagnosis_has_a_group() -> None:
    groups = read_groups(System.ICD9CM)
    concepts = read_code_set(System.ICD9CM).concepts
    assert [c.code for c in concepts if c.billable and c.code not in groups] == []


def test_ccsr_groups_have_ids() -> None:
    groups = read_groups(System.ICD10CM)
    assert groups[icd10("A01.01")] == "CCSR INF003"
    assert groups[icd10("T36.0X1A")] == "CCSR EXT014"
    assert (len(groups), len(set(groups.values()))) == (74_549, 515)


def test_procedures_have_no_groups() -> None:
    with pytest.raises(OntologyError, match="no groups for icd10pcs"):
        read_groups(System.ICD10PCS)
