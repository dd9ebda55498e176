"""From terminology tables to pairs, on small tables that are written here."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cmsearch.codes import Code, System
from cmsearch.errors import TrainingError
from cmsearch.ontology.vocabulary import Entry
from cmsearch.train import tables as module
from cmsearch.train.tables import SOURCES
from cmsearch.train.terms import Pair, Terms, is_held_out, read_terms

pytestmark = pytest.mark.train

# One of 33 wordings is held out; these are, the others in the tables are not.
HELD = [text for n in range(400) if is_held_out(text := f"fever of kind{n}")]
INDEX = "index path code"
TABLES = {
    "icd10cm_titles_fy2026": (
        "code billable short_title long_title",
        "D50.0|1|Iron deficiency anemia sec to blood loss (chronic)"
        "|Iron deficiency anemia secondary to blood loss (chronic)",
        "S52.2|0|Fracture of shaft of ulna|Fracture of shaft of ulna",
        "S52.221A|1|Displ transverse fx shaft of r ulna, init|Displaced transverse fracture",
        "E11|0|Type 2 diabetes mellitus|Type 2 diabetes mellitus",
        "R50.9|1|Fever, unspecified|Fever, unspecified",
        "C34.1|0|Malig neoplasm of upper lobe|Malignant neoplasm of upper lobe",
        "T39.0|0|Aspirin|Poisoning by salicylates",
    ),
    "icd9cm_codes_v32": ("code short_title long_title", "280.0|Chr anemia|Anemia by loss"),
    "icd10cm_index": (
        INDEX,
        "main|Anemia > iron deficiency > due to blood loss|D50.0",
        "main|Anemia (essential) > iron deficiency > due to blood loss|D50.0",
        "main|Fracture, traumatic > ulna > shaft|S52.2-",
        "main|Diabetes|E11.-",
        "main|Note: nothing to learn|R50.9",
        "main|Unknown disease|Q99.8",
        "main|See elsewhere|",
        f"main|{HELD[0]}|R50.9",
    ),
    "icd9cm_index_fy2012": (INDEX, "disease|Anemia > blood loss|280.0"),
    "icd10cm_tables": (
        "table path column code",
        "neoplasm|Neoplasm, neoplastic > lung > upper lobe|Malignant Primary|C34.1-",
        "drug|Aspirin|Adverse effect|T39.0",
        "drug|Aspirin|No such column|T39.0",
    ),
    "icd9cm_tabular_fy2012": (
        "code kind text",
        "280.0|inclusion|Anemia from bleeding",
        "280.0|title|Not an inclusion",
    ),
    "mondo_terms": (
        "id label scope text status doid ncit orphanet",
        "MONDO:7|measles|LABEL|measles|in_mondo|8622|C3|99",
        "MONDO:7|measles|EXACT|rubeola|in_mondo|8622|C3|99",
        "MONDO:8|gone|EXACT|obsolete words|proposed|||",
    ),
    "doid_terms": ("id label scope text", "DOID:8622|measles|EXACT|morbilli",
                   "DOID:1|mumps|EXACT|parotitis epidemica",
                   f"DOID:1|mumps|EXACT|{HELD[0]}"),
    "doid_definitions": ("id label definition", "DOID:8622|measles|Illness that has_symptom rash"),
    "ncit_terms_linked": (
        "ncit label scope text",
        "C3|Measles infection|EXACT|nine-day red measles",
    ),
    "ordo_terms": ("id label scope text", "Orphanet:99|Measles, rare|EXACT|rare measles"),
    "symp_terms": ("id label scope text", "SYMP:1|abdominal cramp|EXACT|tummy cramp"),
    "onto_icd10cm_pairs": (
        "text icd10cm relation doid_terms_on_code",
        "pyrexia|R50.9|exact|9",
        "hot patients|R50.9|xref|2",
        "too far away|R50.9|xref|3",
        f"{HELD[1]}|R50.9|exact|1",
    ),
    "abbreviations": (
        "short_form long_form source sense_frequency_or_score surface_forms_or_count",
        "MI|myocardial infarction|Berman2004||",
        "RA|rheumatoid arthritis|Literature|0.8|100",
        "XX|rare thing|Literature|0.8|3",
        "YY|doubtful thing|Literature|0.1|100",
        "ZZ|odd thing|Literature|many|100",
    ),
    "ncbi_disease_mentions": (
        "split mention mesh_or_omim",
        "train|breast cancer|D001",
        "train|cancer of the breast|D001",
        "dev|never learned|D001",
    ),
}  # fmt: skip
TABULAR = """<ICD10CM.tabular><version>2026</version><chapter><name>18</name>
<desc>Symptoms (R00-R99)</desc><section id="R50-R69"><desc>General symptoms (R50-R69)</desc>
<diag><name>R50</name><desc>Fever of unknown origin</desc><diag><name>R50.9</name>
<desc>Fever, unspecified</desc><inclusionTerm><note>Fever of unknown origin FUO</note>
<note>{held}</note></inclusionTerm></diag></diag></section></chapter></ICD10CM.tabular>"""


def write(folder: Path, table: str) -> Path:
    header, *rows = TABLES[table]
    lines = ["\t".join(header.split(" ")), *(row.replace("|", "\t") for row in rows)]
    path = folder / f"{table}.tsv.gz"
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))
    return path


def vocabulary() -> Iterator[Entry]:
    code = Code.of(System.ICD10CM, "R50.9")
    for term in ("running a temperature", "burning up", HELD[2]):
        yield Entry(code, term, "lay")


@pytest.fixture(autouse=True)
def small_vocabulary(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "read_vocabulary", vocabulary)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for table in TABLES:
        write(tmp_path, table)
    return tmp_path


@pytest.fixture
def found(folder: Path) -> Terms:
    tabular = folder / "tabular.xml"
    tabular.write_text(TABULAR.format(held=HELD[3]), encoding="utf-8")
    return read_terms(folder, tabular=tabular)


def texts(pairs: list[Pair]) -> set[tuple[str, str, str]]:
    return {(pair.query, pair.target, pair.concept) for pair in pairs}


def test_every_source_is_read(found: Terms) -> None:
    assert set(found.pairs) == set(SOURCES)
    assert found.skipped == []
    assert all(pairs for pairs in found.pairs.values())
    assert all(pair.source == source for source, some in found.pairs.items() for pair in some)


def test_index_paths_come_in_both_orders_and_with_incomplete_codes(found: Terms) -> None:
    blood = "Iron deficiency anemia secondary to blood loss (chronic)"
    assert texts(found.pairs["index"]) == {
        ("iron deficiency anemia due to blood loss", blood, "icd10cm:D50.0"),
        ("Anemia iron deficiency due to blood loss", blood, "icd10cm:D50.0"),
        ("shaft ulna traumatic fracture", "Fracture of shaft of ulna", "icd10cm:S52.2"),
        ("Fracture, traumatic ulna shaft", "Fracture of shaft of ulna", "icd10cm:S52.2"),
        ("Diabetes", "Type 2 diabetes mellitus", "icd10cm:E11"),
    }
    assert len(found.pairs["index"]) == 5


def test_icd9_index_and_tabular(found: Terms) -> None:
    assert texts(found.pairs["index9"]) == {
        ("blood loss anemia", "Anemia by loss", "icd9cm:280.0"),
        ("Anemia blood loss", "Anemia by loss", "icd9cm:280.0"),
    }
    assert texts(found.pairs["tabular9"]) == {
        ("Anemia from bleeding", "Anemia by loss", "icd9cm:280.0")
    }


def test_tables_are_spelled_out(found: Terms) -> None:
    assert texts(found.pairs["tables"]) == {
        ("malignant neoplasm of upper lobe lung", "Malignant neoplasm of upper lobe",
         "icd10cm:C34.1"),
        ("adverse effect of Aspirin", "Poisoning by salicylates", "icd10cm:T39.0"),
    }  # fmt: skip


def test_short_titles_leave_out_equal_ones_and_seventh_characters(found: Terms) -> None:
    assert {pair.concept for pair in found.pairs["short_titles"]} == {
        "icd10cm:D50.0", "icd10cm:C34.1", "icd10cm:T39.0",
    }  # fmt: skip


def test_ids_of_other_terminologies_become_mondo_ids(found: Terms) -> None:
    assert texts(found.pairs["mondo"]) == {
        ("rubeola", "measles", "MONDO:7"),
        ("measles", "rubeola", "MONDO:7"),
    }
    assert texts(found.pairs["doid"]) == {
        ("morbilli", "measles", "MONDO:7"),
        ("parotitis epidemica", "mumps", "DOID:1"),
    }
    assert texts(found.pairs["ncit"]) == {("nine-day red measles", "Measles infection", "MONDO:7")}
    assert texts(found.pairs["ordo"]) == {("rare measles", "Measles, rare", "MONDO:7")}
    assert texts(found.pairs["definitions"]) == {
        ("Illness that has symptom rash", "measles", "MONDO:7")
    }


def test_linked_terms_are_close_ones(found: Terms) -> None:
    assert {pair.query for pair in found.pairs["linked"]} == {"pyrexia", "hot patients"}


def test_abbreviations_are_clinical_or_common_and_clear(found: Terms) -> None:
    assert texts(found.pairs["abbreviations"]) == {
        ("MI", "myocardial infarction", "abbreviation:myocardial infarction"),
        ("RA", "rheumatoid arthritis", "abbreviation:rheumatoid arthritis"),
    }


def test_mentions_are_those_of_the_training_abstracts(found: Terms) -> None:
    assert texts(found.pairs["mentions"]) == {("breast cancer", "cancer of the breast", "D001")}


def test_the_vocabulary_and_inclusion_terms_are_pairs(found: Terms) -> None:
    assert texts(found.pairs["vocabulary"]) == {
        ("running a temperature", "Fever, unspecified", "icd10cm:R50.9"),
        ("burning up", "Fever, unspecified", "icd10cm:R50.9"),
        ("running a temperature", "burning up", "icd10cm:R50.9"),
    }
    assert texts(found.pairs["inclusion"]) == {
        ("Fever of unknown origin FUO", "Fever, unspecified", "icd10cm:R50.9")
    }


def test_held_out_wordings_are_in_no_pair(found: Terms) -> None:
    everything = [pair for some in found.pairs.values() for pair in some]
    assert [pair for pair in everything if is_held_out(pair.query)] == []
    assert [pair for pair in everything if pair.target in HELD] == []
    # The table of DOID, the tabular list and the vocabulary named some as well.
    assert texts(found.held_out) == {
        (HELD[0], "Fever, unspecified", "icd10cm:R50.9"),
        (HELD[1], "Fever, unspecified", "icd10cm:R50.9"),
        (HELD[2], "Fever, unspecified", "icd10cm:R50.9"),
    }


def test_an_official_title_stays_a_target_though_it_is_held_out(folder: Path) -> None:
    path = folder / "icd10cm_titles_fy2026.tsv.gz"
    table = gzip.decompress(path.read_bytes()).decode()
    path.write_bytes(gzip.compress((table + f"R50.8\t1\tOther fever\t{HELD[4]}\n").encode()))
    pairs = read_terms(folder).pairs["short_titles"]
    assert ("Other fever", HELD[4], "icd10cm:R50.8") in texts(pairs)


@pytest.mark.parametrize("table", sorted(TABLES))
def test_a_missing_table_is_reported(folder: Path, table: str) -> None:
    (folder / f"{table}.tsv.gz").unlink()
    found = read_terms(folder)
    missing = [source for source in SOURCES[:-2] if source not in found.pairs]
    assert len(missing) == 1
    assert found.skipped == [f"{missing[0]}: no {table}.tsv.gz"]


def test_without_the_tabular_list_there_are_no_inclusion_terms(folder: Path) -> None:
    assert "inclusion" not in read_terms(folder).pairs


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of the terminology tables") as caught:
        read_terms(tmp_path)
    assert str(tmp_path) in str(caught.value)


@pytest.mark.parametrize("table", ["icd10cm_titles_fy2026", "mondo_terms", "doid_terms"])
@pytest.mark.parametrize("damage", ["cut", "plain", "latin"])
def test_a_damaged_table(folder: Path, table: str, damage: str) -> None:
    path = folder / f"{table}.tsv.gz"
    whole = path.read_bytes()
    path.write_bytes(
        {"cut": whole[:-20], "plain": b"id\tlabel\n", "latin": gzip.compress(b"code\xff\n")}[damage]
    )
    with pytest.raises(TrainingError, match=r"not a complete gzip table") as caught:
        read_terms(folder)
    assert str(path) in str(caught.value)


def test_a_table_without_a_column(folder: Path) -> None:
    path = folder / "symp_terms.tsv.gz"
    path.write_bytes(gzip.compress(b"id\tname\nSYMP:1\tcramp\n"))
    with pytest.raises(TrainingError, match="no column 'label'"):
        read_terms(folder)


def test_a_row_that_is_too_short_is_left_out(folder: Path) -> None:
    path = folder / "mondo_terms.tsv.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"MONDO:9\tshort\tEXACT\n"))
    assert all(pair.concept == "MONDO:7" for pair in read_terms(folder).pairs["mondo"])


# Held out


@given(st.permutations(["acute", "heart", "failure", "of", "unknown", "origin"]))
def test_held_out_does_not_depend_on_order_case_or_small_words(words: list[str]) -> None:
    text = " ".join(words)
    other = " ".join(word.upper() for word in sorted(words) if word != "of")
    assert is_held_out(text) == is_held_out(other)
    assert is_held_out(HELD[0]) and is_held_out(HELD[0].upper())


@pytest.mark.parametrize("form", ["{}{}", "{}{}{}xa", "acute {0}{1}{0}ma of the lung"])
def test_one_wording_in_33_is_held_out(form: str) -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    some = [form.format(one, two, one) for one in letters for two in letters]
    assert 0.015 < sum(map(is_held_out, some)) / len(some) < 0.05


def test_abbreviations_of_two_letters_are_not_all_held_out() -> None:
    assert not is_held_out("MI")
    assert not is_held_out("a&e")
    assert not is_held_out("%")
    assert not is_held_out("")
