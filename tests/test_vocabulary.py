"""Every row of the packaged vocabulary: its code, its words, its kind, its place."""

from __future__ import annotations

from collections import Counter
from importlib.resources import files

import pytest

from cmsearch.codes import System
from cmsearch.ontology.concept import Concept, Level
from cmsearch.ontology.packaged import read_code_set
from cmsearch.ontology.vocabulary import Entry, read_vocabulary

KINDS = {"abbreviation", "brand", "eponym", "lay", "shorthand", "synonym"}
TABLES = sorted(
    file.name
    for file in files("cmsearch.ontology").joinpath("vocabulary").iterdir()
    if file.name.endswith(".tsv")
)


@pytest.fixture(scope="module")
def entries() -> list[Entry]:
    return list(read_vocabulary())


@pytest.fixture(scope="module")
def concepts() -> dict[str, Concept]:
    return {
        concept.code.value: concept
        for concept in read_code_set(System.ICD10CM).concepts
        if concept.level is Level.CODE
    }


def lines(table: str) -> list[str]:
    path = files("cmsearch.ontology").joinpath("vocabulary", table)
    return path.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("table", TABLES)
def test_tables_have_a_header_and_three_clean_fields(table: str) -> None:
    header, *rows = lines(table)
    assert header == "code\tterm\tkind"
    assert rows
    fields = [row.split("\t") for row in rows]
    assert [row for row in fields if len(row) != 3] == []
    assert [row for row in fields for field in row if field != " ".join(field.split())] == []
    assert [row for row in fields if len(row[1]) < 2 or not row[1].isprintable()] == []


@pytest.mark.parametrize("table", TABLES)
def test_rows_stand_in_the_order_of_their_codes(table: str) -> None:
    codes = [row.split("\t")[0] for row in lines(table)[1:]]
    assert [pair for pair in zip(codes, codes[1:], strict=False) if pair[0] > pair[1]] == []


def test_every_row_is_read(entries: list[Entry]) -> None:
    assert len(entries) == sum(len(lines(table)) - 1 for table in TABLES)
    assert len(entries) >= 1_500


def test_kinds_are_known_and_all_in_use(entries: list[Entry]) -> None:
    assert {entry.kind for entry in entries} == KINDS


def test_every_code_exists(entries: list[Entry], concepts: dict[str, Concept]) -> None:
    unknown = [(e.code.value, e.term) for e in entries if e.code.value not in concepts]
    assert unknown == []


def test_codes_are_spelled_officially(entries: list[Entry]) -> None:
    spelled = [row.split("\t")[0] for table in TABLES for row in lines(table)[1:]]
    assert spelled == [entry.code.value for entry in entries]


def test_no_row_stands_twice(entries: list[Entry]) -> None:
    counted = Counter((entry.code.value, entry.term.casefold()) for entry in entries)
    assert [row for row, count in counted.items() if count > 1] == []


def test_no_row_repeats_the_official_words(
    entries: list[Entry], concepts: dict[str, Concept]
) -> None:
    official = {
        (code, text.casefold())
        for code, concept in concepts.items()
        for text in (concept.title, *concept.inclusion_terms)
    }
    repeated = [e for e in entries if (e.code.value, e.term.casefold()) in official]
    assert [(entry.code.value, entry.term) for entry in repeated] == []


def test_every_chapter_has_words(entries: list[Entry]) -> None:
    # Each letter that begins ICD-10-CM codes; chapters share letters only at D and H.
    assert {entry.code.value[0] for entry in entries} == set("ABCDEFGHIJKLMNOPQRSTUVWXYZ")


@pytest.mark.parametrize(
    ("term", "code"),
    [
        ("heart attack", "I21.9"),
        ("sugar diabetes", "E11.9"),
        ("lou gehrig's disease", "G12.21"),
        ("water on the lung", "J90"),
    ],
)
def test_what_everybody_says_is_in(term: str, code: str, entries: list[Entry]) -> None:
    assert code in {entry.code.value for entry in entries if entry.term.casefold() == term}
