"""Official release files: recognised, checked to the end, copied whole or not at all."""

from __future__ import annotations

import io
import json
import os
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsearch.codes import Code, System
from cmsearch.errors import CmsearchError, OntologyError
from cmsearch.ontology import archive
from cmsearch.ontology.alphabetic import placed, read_drugs, read_index, read_neoplasms
from cmsearch.ontology.concept import Concept, Level
from cmsearch.ontology.ledger import LEDGER
from cmsearch.ontology.library import add, code_sets, installed
from cmsearch.ontology.ontology import Ontology
from cmsearch.ontology.release import Kind, read_release
from cmsearch.ontology.releasename import effective, release_name

CM = System.ICD10CM

TABULAR = """<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.tabular>
  <version>{version}</version>
  <chapter><name>9</name><desc>Diseases of the circulatory system (I00-I99)</desc>
    <section id="I20-I25"><desc>Ischemic heart diseases (I20-I25)</desc>
      <diag><name>I21</name><desc>Acute myocardial infarction</desc>
        <diag><name>I21.9</name><desc>Acute myocardial infarction, unspecified</desc>
          <inclusionTerm><note>Myocardial infarction (acute) NOS</note></inclusionTerm></diag>
        <diag><name>I21.4</name><desc>{nstemi}</desc></diag>
      </diag>
    </section>
  </chapter>
  <chapter><name>19</name><desc>Injury and poisoning (S00-T88)</desc>
    <section id="S00-S09"><desc>Injuries to the head (S00-S09)</desc>
      <diag><name>S06</name><desc>Intracranial injury</desc>
        <sevenChrDef><extension char="A">initial encounter</extension>
          <extension char="S">sequela</extension></sevenChrDef>
        <diag><name>S06.0</name><desc>Concussion</desc>
          <diag><name>S06.0X</name><desc>Concussion</desc>
            <diag><name>S06.0X0</name><desc>Concussion without loss of consciousness</desc></diag>
          </diag></diag>
      </diag>
    </section>
  </chapter>
</ICD10CM.tabular>
"""

ORDER_ROWS = [
    ("I21", "0", "Acute myocardial infarction"),
    ("I214", "1", "NSTEMI"),
    ("I219", "1", "Acute myocardial infarction, unspecified"),
    ("S06", "0", "Intracranial injury"),
    ("S060", "0", "Concussion"),
    ("S060X", "0", "Concussion"),
    ("S060X0", "0", "Concussion without loss of consciousness"),
    ("S060X0A", "1", "Concussion w/o loss of consciousness, initial"),
]

INDEX = """<?xml version="1.0" encoding="utf-8"?>
<ICD10CM.index>
  <version>2026</version>
  <title>ICD-10-CM INDEX TO DISEASES and INJURIES</title>
  <letter><title>A</title>
    <mainTerm><title>Attack, attacks</title>
      <term level="1"><title>heart</title><see>Infarct, myocardium</see></term>
      <term level="1"><title>panic</title><see>Disorder, panic</see></term>
    </mainTerm>
    <mainTerm><title>Infarct, infarction</title>
      <term level="1"><title>myocardium, myocardial<nemod>(acute) (-ish)</nemod> NEC
        <nemod>(due to)</nemod></title><code>I21.9</code>
        <term level="2"><title>without ST elevation</title><code>I21.42</code></term>
      </term>
      <term level="1"><title>bowel</title><code>K55.06-</code></term>
    </mainTerm>
    <mainTerm><title>Concussion<nemod>(brain)</nemod></title><code>S06.0X-</code></mainTerm>
  </letter>
</ICD10CM.index>
"""

NEOPLASM = """<ICD10CM.index><version>2026</version><title>ICD-10-CM NEOPLASM TABLE</title>
<indexHeading><head col="1">Neoplasm</head><head col="2">Malignant Primary</head>
<head col="3">Malignant Secondary</head><head col="4">Ca in situ</head><head col="5">Benign</head>
<head col="6">Uncertain Behavior</head><head col="7">Unspecified Behavior</head></indexHeading>
<letter><title>N</title><mainTerm><title>Neoplasm, neoplastic</title><cell col="2">C80.1</cell>
<term level="1"><title>lung</title><cell col="2">C34.9-</cell><cell col="3">C78.0-</cell>
<cell col="4">-</cell><cell col="6">D38.1</cell>
<term level="2"><title>upper lobe<nemod>(left)</nemod></title><cell col="4">D02.2-</cell></term>
</term></mainTerm></letter></ICD10CM.index>"""

DRUGS = """<ICD10CM.index><version>2026</version>
<title>ICD-10-CM TABLE of DRUGS and CHEMICALS</title>
<indexHeading><head col="1">Substance</head>
<head col="2">Poisoning Accidental (unintentional)</head>
<head col="3">Poisoning Intentional self-harm</head><head col="4">Poisoning Assault</head>
<head col="5">Poisoning Undetermined</head><head col="6">Adverse effect</head>
<head col="7">Underdosing</head></indexHeading>
<letter><title>A</title><mainTerm><title>Acid<nemod>(corrosive)</nemod> NEC</title>
<term level="1"><title>hydrochloric</title><cell col="2">T54.2X1</cell><cell col="3">T54.2X2</cell>
<cell col="6">--</cell></term></mainTerm>
<mainTerm><title>Aspirin</title><cell col="6">T39.015</cell><cell col="7">T39.016</cell></mainTerm>
</letter></ICD10CM.index>"""


def tabular(version: str = "2026", nstemi: str = "Non-ST elevation infarction") -> str:
    return TABULAR.format(version=version, nstemi=nstemi)


def order(rows: list[tuple[str, str, str]] = ORDER_ROWS) -> str:
    return "".join(
        f"{number:05d} {code:7} {flag} {title[:60]:60} {title}\r\n"
        for number, (code, flag, title) in enumerate(rows, start=1)
    )


def write(path: Path, content: str | bytes) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def zipped(path: Path, members: dict[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def contents(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != ".lock"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "ontology"


@pytest.fixture
def tabular_file(tmp_path: Path) -> Path:
    return write(tmp_path / "icd10cm-tabular-2026.xml", tabular())


# What a file is


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [
        ("icd10cm-tabular-April-1-2026.xml", tabular(), (Kind.TABULAR, CM, "April 2026", 7)),
        ("renamed.xml", tabular("2025"), (Kind.TABULAR, CM, "2025", 7)),
        ("icd10cm_order_2026.txt", order(), (Kind.ORDER, CM, "2026", 8)),
        ("FY2025 list.txt", order(), (Kind.ORDER, CM, "2025", 8)),
        ("icd10cm-index-2026.xml", INDEX, (Kind.INDEX, CM, "2026", 7)),
        ("icd10cm-neoplasm-2026.xml", NEOPLASM, (Kind.NEOPLASM, CM, "2026", 5)),
        ("icd10cm-drug-2026.xml", DRUGS, (Kind.DRUGS, CM, "2026", 4)),
        (
            "icd10cm-eindex-2026.xml",
            INDEX.replace("INDEX TO DISEASES and INJURIES", "EXTERNAL CAUSE of INJURIES INDEX"),
            (Kind.EXTERNAL, CM, "2026", 7),
        ),
        (
            "icd10cm-codes-April-2025.txt",
            "I214    NSTEMI infarct\nI219    Infarction, unspecified\n",
            (Kind.CODES, CM, "April 2025", 2),
        ),
        (
            "icd10pcs_order_2026.txt",
            order([("001", "0", "Bypass"), ("0016070", "1", "Bypass Cerebral Ventricle")]),
            (Kind.ORDER, System.ICD10PCS, "2026", 1),
        ),
        (
            "icd10pcs_codes_2026.txt",
            "0016070 Bypass Cerebral Ventricle\n",
            (Kind.CODES, System.ICD10PCS, "2026", 1),
        ),
        (
            "CMS32_DESC_LONG_DX.txt",
            "0010  Cholera due to vibrio cholerae\nV700  Routine medical exam\n"
            "E8809 Fall on stairs\n38600 M\xe9ni\xe8re's disease\n".encode("latin-1"),
            (Kind.DESCRIPTIONS, System.ICD9CM, "v32 (2015)", 4),
        ),
        (
            "CMS31_DESC_LONG_SG.txt",
            "0001 Therapeutic ultrasound of vessels\n3950 Angioplasty of vessel\n",
            (Kind.DESCRIPTIONS, System.ICD9PROC, "v31 (2014)", 2),
        ),
        (
            "unnamed v32.txt",
            "0001 Therapeutic ultrasound of vessels\n3950 Angioplasty of vessel\n",
            (Kind.DESCRIPTIONS, System.ICD9PROC, "v32 (2015)", 2),
        ),
    ],
)
def test_a_file_is_recognised(
    tmp_path: Path, name: str, content: str | bytes, expected: tuple[object, ...]
) -> None:
    (file,) = read_release(write(tmp_path / name, content))
    assert (file.kind, file.system, file.release, file.rows) == expected


def test_a_zip_gives_every_release_file_in_its_folders_and_passes_over_the_rest(
    tmp_path: Path,
) -> None:
    path = zipped(
        tmp_path / "april-1-2026-code-descriptions-tabular-order.zip",
        {
            "Code Descriptions/icd10cm_order_2026.txt": order(),
            "Table and Index/XML/icd10cm_index_2026.xml": INDEX,
            "Table and Index/XML/icd10cm_neoplasm_2026.xml": NEOPLASM,
            "Table and Index/tabular.xsd": "<xsd:schema/>",
            "Code Descriptions/icd10cm_order_addenda_2026.txt": "Add:   I2199  Something new\n",
            "Code Descriptions/readme.txt": "Please read this first.\n",
            "Code Descriptions/manifestations.txt": "I214    Some part of the list\n",
            "Code Descriptions/POAexemptCodes2026.txt": "B900 Sequelae of tuberculosis\n",
            "guide.pdf": b"%PDF-1.7",
            "__MACOSX/._icd10cm_order_2026.txt": b"\0\5\26\7",
            "schema.xml": "<ICD10PCS.tabular/>",
        },
    )
    found = read_release(path)
    assert [(f.kind, f.release) for f in found] == [
        (Kind.ORDER, "April 2026"),
        (Kind.INDEX, "April 2026"),
        (Kind.NEOPLASM, "April 2026"),
    ]
    assert found[0].name == (
        "april-1-2026-code-descriptions-tabular-order.zip, icd10cm_order_2026.txt"
    )


@pytest.mark.parametrize(
    ("names", "version", "release"),
    [
        (["icd10cm-tabular-April-1-2026.xml"], "2026", "April 2026"),
        (["icd10cm-order-april-2025.txt"], "", "April 2025"),
        (["icd10cm_order_2026.txt", "october_1,2025.zip"], "", "October 2025"),
        (["tabular.xml"], "2026", "2026"),
        (["tabular-2024.xml"], "2026", "2026"),
        (["order.txt", "ICD10CM_FY2025_codes.zip"], "", "2025"),
        (["order.txt", "FY24.zip"], "", "2024"),
        (["icd10cm-codes-2023.txt"], "", "2023"),
        (["order-12026.txt"], "", ""),
        (["order.txt"], "", ""),
    ],
)
def test_release_names(names: list[str], version: str, release: str) -> None:
    assert release_name(CM, names, version=version) == release


def test_releases_are_ordered_by_the_day_they_count_from() -> None:
    releases = ["2027", "April 2025", "v32 (2015)", "April 2026", "2026", "v31 (2014)"]
    in_order = ["v31 (2014)", "v32 (2015)", "April 2025", "2026", "April 2026", "2027"]
    assert sorted(releases, key=effective) == in_order


# Index and tables


def test_index_lines_follow_levels_references_and_modifiers() -> None:
    assert read_index(ElementTree.fromstring(INDEX.encode())) == [
        ("I21.9", "Attack, attacks > heart"),
        ("I21.9", "Infarct, infarction > myocardium, myocardial NEC"),
        ("I21.9", "Infarct, infarction > myocardium, myocardial NEC > acute"),
        ("I21.42", "Infarct, infarction > myocardium, myocardial NEC > without ST elevation"),
        ("K55.06", "Infarct, infarction > bowel"),
        ("S06.0X", "Concussion"),
        ("S06.0X", "Concussion > brain"),
    ]


def test_references_that_go_round_end() -> None:
    xml = (
        "<ICD10CM.index><mainTerm><title>A</title><see>B</see></mainTerm>"
        "<mainTerm><title>B</title><see>A</see></mainTerm></ICD10CM.index>"
    )
    assert read_index(ElementTree.fromstring(xml)) == []


def test_codes_that_do_not_exist_lead_to_the_nearest_header_or_are_counted() -> None:
    known = {Code(value, CM) for value in ("I21", "I21.4", "I21.9", "S06.0X")}
    lines = read_index(ElementTree.fromstring(INDEX.encode()))
    result = placed(lines, known)
    assert (result.nearest, result.skipped) == (1, 1)
    assert (
        Code("I21.4", CM),
        "Infarct, infarction > myocardium, myocardial NEC > without ST elevation",
    ) in result.terms
    assert (Code("S06.0X", CM), "Concussion") in result.terms
    assert not any(code.value.startswith("K55") for code, _ in result.terms)


def test_the_neoplasm_table() -> None:
    assert read_neoplasms(ElementTree.fromstring(NEOPLASM)) == [
        ("C80.1", "Neoplasm > primary malignant"),
        ("C34.9", "Neoplasm > primary malignant > of lung"),
        ("C78.0", "Neoplasm > secondary malignant > of lung"),
        ("D38.1", "Neoplasm > of uncertain behavior > of lung"),
        ("D02.2", "Carcinoma in situ > of upper lobe lung"),
    ]


def test_the_table_of_drugs() -> None:
    assert read_drugs(ElementTree.fromstring(DRUGS)) == [
        ("T54.2X1", "Poisoning > accidental > by hydrochloric Acid NEC"),
        ("T54.2X2", "Poisoning > intentional self-harm > by hydrochloric Acid NEC"),
        ("T39.015", "Adverse effect > of Aspirin"),
        ("T39.016", "Underdosing > of Aspirin"),
    ]


# The folder


def concepts(folder: Path, system: System = CM) -> dict[str, Concept]:
    (found,) = [c for c in code_sets(folder) if c.system is system]
    return {concept.code.value: concept for concept in found.concepts}


def test_a_tabular_list_alone_is_a_code_set(tabular_file: Path, folder: Path) -> None:
    (added,) = add([tabular_file], folder)
    assert (added.kind, added.rows, added.new, added.remark) == (Kind.TABULAR, 7, True, "")
    found = concepts(folder)
    assert len(found) == 4 + 7 + 2
    assert {code for code, c in found.items() if c.billable} == {
        "I21.9",
        "I21.4",
        "S06.0X0A",
        "S06.0X0S",
    }
    assert found["S06.0X0S"].title == "Concussion without loss of consciousness, sequela"


def test_an_order_file_of_the_release_says_which_7th_characters_exist(
    tabular_file: Path, tmp_path: Path, folder: Path
) -> None:
    listed = write(tmp_path / "icd10cm-order-2026.txt", order())
    assert [a.new for a in add([tabular_file, listed], folder)] == [True, True]
    found = concepts(folder)
    assert "S06.0X0S" not in found
    assert found["S06.0X0A"].title == "Concussion w/o loss of consciousness, initial"
    assert found["I21.4"].title == "Non-ST elevation infarction"
    (code_set,) = code_sets(folder)
    assert code_set.release == "2026"
    assert code_set.origin == "icd10cm-tabular-2026.xml + icd10cm-order-2026.txt"


def test_an_order_file_of_another_release_is_kept_but_not_used(
    tabular_file: Path, tmp_path: Path, folder: Path
) -> None:
    add([tabular_file], folder)
    (added,) = add([write(tmp_path / "icd10cm-order-2025.txt", order())], folder)
    assert added.remark == "not used: the tabular list in use is of 2026"
    assert "S06.0X0S" in concepts(folder)


def test_a_newer_release_replaces_the_older_which_stays_listed(
    tabular_file: Path, tmp_path: Path, folder: Path
) -> None:
    newer = write(tmp_path / "icd10cm-tabular-April-1-2026.xml", tabular("2026", "Newer"))
    older = write(tmp_path / "icd10cm-tabular-2025.xml", tabular("2025", "Older"))
    for path in (newer, tabular_file, older):
        add([path], folder)
    assert [(f.release, f.used) for f in installed(folder)] == [
        ("April 2026", True),
        ("2026", False),
        ("2025", False),
    ]
    assert installed(folder)[1].remark == (
        "not used: replaced by the tabular list April 2026, icd10cm-tabular-April-1-2026.xml"
    )
    assert concepts(folder)["I21.4"].title == "Newer"


def test_adding_the_same_file_twice_changes_nothing(tabular_file: Path, folder: Path) -> None:
    add([tabular_file, tabular_file], folder)
    before = contents(folder)
    again = zipped(tabular_file.parent / "2026.zip", {"a/tabular.xml": tabular_file.read_bytes()})
    assert [a.new for a in add([tabular_file, again], folder)] == [False, False]
    assert contents(folder) == before
    assert len(installed(folder)) == 1


def test_index_terms_join_the_codes_and_reach_the_ontology(
    tabular_file: Path, tmp_path: Path, folder: Path
) -> None:
    index = write(tmp_path / "icd10cm-index-2026.xml", INDEX)
    added = add([tabular_file, index], folder)[1]
    assert added.remark == (
        "lines that lead to the nearest header of their code: 1; "
        "lines skipped, their code is not in the code set: 1"
    )
    ontology = Ontology.load([CM], extra=code_sets(folder))
    assert "Attack, attacks > heart" in ontology.index_terms(ontology.resolve("I21.9"))
    assert ontology.code_set(CM).origin.endswith("icd10cm-index-2026.xml")


def test_index_files_alone_join_the_packaged_codes(tmp_path: Path, folder: Path) -> None:
    add([write(tmp_path / "icd10cm-drug-2026.xml", DRUGS)], folder)
    (code_set,) = code_sets(folder)
    assert (code_set.release, len(code_set.concepts)) == ("April 2026", 98_466)
    assert (Code("T39.015", CM), "Adverse effect > of Aspirin") in code_set.index_terms


def test_an_order_file_alone_stands_under_the_packaged_blocks(tmp_path: Path, folder: Path) -> None:
    (added,) = add([write(tmp_path / "icd10cm-order-2027.txt", order())], folder)
    assert added.remark == "no notes and inclusion terms without the tabular list of 2027"
    found = concepts(folder)
    assert found["I21"].parent == Code("I20-I25", CM)
    assert found["S06.0X0A"].parent == Code("S06.0X0", CM)
    billable = {code for code, concept in found.items() if concept.billable}
    assert billable == {"I21.4", "I21.9", "S06.0X0A"}


def test_icd9_and_pcs_files_make_code_sets(tmp_path: Path, folder: Path) -> None:
    add(
        [
            write(
                tmp_path / "CMS32_DESC_LONG_DX.txt",
                "38600 M\xe9ni\xe8re's disease, unspecified\n".encode("latin-1"),
            ),
            write(tmp_path / "icd10pcs_codes_2026.txt", "0016070 Bypass Cerebral Ventricle\n"),
        ],
        folder,
    )
    assert concepts(folder, System.ICD9CM)["386.00"].title == "Ménière's disease, unspecified"
    assert concepts(folder, System.ICD10PCS)["0016070"].billable


def test_a_deleted_file_is_taken_away(tabular_file: Path, folder: Path) -> None:
    add([tabular_file], folder)
    (folder / installed(folder)[0].file).unlink()
    assert installed(folder) == []
    assert code_sets(folder) == []


def test_an_absent_folder_holds_nothing(folder: Path) -> None:
    assert installed(folder) == []
    assert code_sets(folder) == []
    assert not folder.exists()


# Damage


def truncated_zip(path: Path) -> Path:
    zipped(path, {"icd10cm-tabular-2026.xml": tabular() * 3})
    return write(path, path.read_bytes()[:-40])


def corrupted_zip(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        file.writestr("x/icd10cm-tabular-2026.xml", tabular())
    return write(path, path.read_bytes().replace(b"Concussion", b"Concussiom", 1))


def encrypted_zip(path: Path) -> Path:
    data = zipped(path, {"icd10cm-tabular-2026.xml": tabular()}).read_bytes()
    local, central = data.index(b"PK\x03\x04"), data.index(b"PK\x01\x02")
    flagged = bytearray(data)
    flagged[local + 6] |= 1
    flagged[central + 8] |= 1
    return write(path, bytes(flagged))


def broken_order(path: Path) -> Path:
    lines = order().split("\r\n")
    lines[4] = "00005 S060 0 Concussion"
    return write(path, "\r\n".join(lines))


BOMB = (
    '<?xml version="1.0"?><!DOCTYPE b [<!ENTITY a "aaaaaaaaaa">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1 if i > 1 else str()};" * 10}">' for i in range(1, 12))
    + "]><ICD10CM.tabular><version>2026</version>&a11;</ICD10CM.tabular>"
)
HTML = "<!DOCTYPE html>\n<html><head><title>404 Not Found</title></head></html>"
LATIN = tabular(nstemi="M\xe9ni\xe8re").encode("latin-1")

REFUSED: list[tuple[str, Callable[[Path], object], str]] = [
    ("t.zip", truncated_zip, r"t\.zip: a damaged or incomplete ZIP archive .*download it again"),
    ("c.zip", corrupted_zip, r"c\.zip, x/icd10cm-tabular-2026\.xml: damaged .*download"),
    ("e.zip", encrypted_zip, r"encrypted; unpack it with its password"),
    ("n.zip", lambda p: write(p, "hello"), r"n\.zip: not a ZIP archive, although its name"),
    ("h.zip", lambda p: write(p, HTML), r"h\.zip: this is an HTML page, probably the error page"),
    ("h.xml", lambda p: write(p, HTML), r"h\.xml: this is an HTML page"),
    (
        "h2.xml",
        lambda p: write(p, "<?xml version='1.0'?>\n<!DOCTYPE html>\n<html/>"),
        r"h2\.xml: this is an HTML page",
    ),
    ("p.txt", lambda p: write(p, b"%PDF-1.7\n%\xe2"), r"p\.txt: this is a PDF document"),
    ("b.txt", lambda p: write(p, b"abc\0\1\2"), r"b\.txt: a binary file"),
    ("e.txt", lambda p: write(p, b" \n"), r"e\.txt: the file is empty; download it again"),
    ("d", lambda p: p.mkdir(), r"d: this is a folder; name the files in it"),
    ("missing.zip", lambda p: None, r"missing\.zip: there is no such file; check the path"),
    ("fifo", os.mkfifo, r"fifo: not a regular file"),
    (
        "cut-2026.xml",
        lambda p: write(p, tabular()[:-60]),
        r"cut-2026\.xml: not a complete XML file .*line \d+.*download it again",
    ),
    (
        "cut-index-2026.xml",
        lambda p: write(p, INDEX[:-60]),
        r"cut-index-2026\.xml: not a complete XML file .*line \d+",
    ),
    ("head.xml", lambda p: write(p, "<?xml versio"), r"head\.xml: .*download it again"),
    ("bomb.xml", lambda p: write(p, BOMB), r"bomb\.xml: the XML has a document type"),
    (
        "file.xml",
        lambda p: write(
            p, '<!DOCTYPE t SYSTEM "file:///etc/passwd"><ICD10CM.tabular></ICD10CM.tabular>'
        ),
        r"file\.xml: the XML has a document type",
    ),
    ("l.xml", lambda p: write(p, LATIN), r"l\.xml, line 9: the XML says that it is UTF-8, .*0xE9"),
    (
        "u.xml",
        lambda p: write(p, tabular().encode("utf-16")),
        r"u\.xml: the XML says that it is utf-8, but is written in UTF-16",
    ),
    (
        "x.xml",
        lambda p: write(p, tabular().replace('"utf-8"', '"klingon"')),
        r"x\.xml: not a complete XML file \(unknown encoding",
    ),
    (
        "u-order-2026.txt",
        lambda p: write(p, order().encode("utf-16")),
        r"u-order-2026\.txt: the text is UTF-16.*save it as UTF-8",
    ),
    (
        "w-order-2026.txt",
        lambda p: write(p, order().encode().replace(b"NSTEMI", b"NST\x92MI")),
        r"w-order-2026\.txt, line 2: a control character",
    ),
    (
        "icd10cm-order-2026.txt",
        broken_order,
        r"icd10cm-order-2026\.txt, line 5: not order number, .*'00005 S060 0 Concussion'",
    ),
    (
        "twice-order-2026.txt",
        lambda p: write(p, order([*ORDER_ROWS, ORDER_ROWS[1]])),
        r"line 9: the code I214 stands in line 2 already",
    ),
    (
        "icd10pcs-codes-2026.txt",
        lambda p: write(p, "I214    NSTEMI infarct\n"),
        r"line 1: 'I214' is not written like an ICD-10-PCS code",
    ),
    ("order.txt", lambda p: write(p, order()), r"nothing says of which release .*order-2026\.txt"),
    ("notes.txt", lambda p: write(p, "Dear all,\nhello\n"), r"not a release file that cmsearch"),
    (
        "2018_I9gem.txt",
        lambda p: write(p, "0010  A000    00000\n"),
        r"by its name an addendum, short descriptions or another part",
    ),
    (
        "renamed.txt",
        lambda p: write(p, "0010  A000    00000\n" * 9),
        r"renamed\.txt: not a release file that cmsearch knows",
    ),
    ("svg.xml", lambda p: write(p, "<svg/>"), r"svg\.xml: not a release file that cmsearch knows"),
    ("text.xml", lambda p: write(p, "hello"), r"text\.xml: not an XML file, although its name"),
    (
        "hollow.xml",
        lambda p: write(p, "<ICD10CM.index><version>2026</version></ICD10CM.index>"),
        r"hollow\.xml: there is no code in it",
    ),
    (
        "deep.xml",
        lambda p: write(
            p,
            "<ICD10CM.index><mainTerm>"
            + "<term>" * 9000
            + "</term>" * 9000
            + "</mainTerm></ICD10CM.index>",
        ),
        r"deep\.xml: elements nested deeper",
    ),
    (
        "slip.zip",
        lambda p: zipped(p, {"../../icd10cm-tabular-2026.xml": tabular()}),
        r"slip\.zip: holds a file '\.\./\.\./icd10cm.* leads out of the archive",
    ),
    ("empty.zip", lambda p: zipped(p, {}), r"empty\.zip: an empty ZIP archive"),
    (
        "book.zip",
        lambda p: zipped(p, {"xl/a.bin": b"1", "b.zip": b"PK"}),
        r"no XML or text file in this archive, only a\.bin, b\.zip; unpack it",
    ),
    (
        "other.zip",
        lambda p: zipped(p, {"readme.txt": "Nothing here\n"}),
        r"other\.zip: no release file in this archive \(readme\.txt\)",
    ),
    (
        "half.zip",
        lambda p: zipped(p, {"a/icd10cm_order_2026.txt": order(), "b/tab.xml": tabular()[:-90]}),
        r"half\.zip, b/tab\.xml: not a complete XML file",
    ),
    (
        "wrong.zip",
        lambda p: zipped(p, {"a/icd10cm_order_2026.txt": "Service unavailable\n"}),
        r"wrong\.zip, a/icd10cm_order_2026\.txt: not a release file",
    ),
]


@pytest.mark.parametrize(("name", "make", "message"), REFUSED, ids=[r[0] for r in REFUSED])
def test_a_bad_file_is_refused_and_nothing_is_copied(
    tmp_path: Path,
    tabular_file: Path,
    name: str,
    make: Callable[[Path], object],
    message: str,
) -> None:
    folder = tmp_path / "kept" / "ontology"
    make(tmp_path / name)
    with pytest.raises(OntologyError, match=message):
        add([tabular_file, tmp_path / name], folder)
    assert not folder.exists() or not installed(folder)


def test_a_zip_bomb_is_refused_without_unpacking_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "MAX_FILE_BYTES", 2**20)
    bomb = zipped(tmp_path / "bomb.zip", {"icd10cm-order-2026.txt": b"0" * (8 * 2**20)})
    assert bomb.stat().st_size < 20_000
    with pytest.raises(OntologyError, match=r"unpacks to more than 1 MB"):
        read_release(bomb)
    monkeypatch.setattr(archive, "MAX_ARCHIVE_BYTES", 2**20)
    many = zipped(tmp_path / "many.zip", {f"{i}.txt": b"0" * 2**19 for i in range(4)})
    with pytest.raises(OntologyError, match=r"many\.zip: unpacks to more than 1 MB"):
        read_release(many)


def test_an_entity_bomb_is_refused_at_once(tmp_path: Path) -> None:
    start = time.perf_counter()
    with pytest.raises(OntologyError):
        read_release(zipped(tmp_path / "2026.zip", {"icd10cm-tabular.xml": BOMB}))
    assert time.perf_counter() - start < 1


def test_a_utf16_file_that_says_so_is_read(tmp_path: Path) -> None:
    text = tabular(nstemi="M\xe9ni\xe8re").replace('"utf-8"', '"utf-16"')
    (file,) = read_release(write(tmp_path / "tabular.xml", text.encode("utf-16")))
    assert file.rows == 7


def test_a_list_that_does_not_fit_the_tabular_list_of_its_release_is_refused(
    tabular_file: Path, tmp_path: Path, folder: Path
) -> None:
    add([tabular_file], folder)
    before = contents(folder)
    cut = write(tmp_path / "icd10cm-order-2026.txt", order(ORDER_ROWS[:3]))
    with pytest.raises(OntologyError, match=r"with icd10cm-order-2026\.txt: the list lacks 1 "):
        add([cut], folder)
    other = write(cut, order([*ORDER_ROWS, ("Z000", "1", "Examination")]))
    with pytest.raises(OntologyError, match=r"names Z000, which the tabular list does not hold"):
        add([other], folder)
    assert contents(folder) == before


def test_a_copy_that_was_changed_is_refused(tabular_file: Path, folder: Path) -> None:
    add([tabular_file], folder)
    copy = folder / installed(folder)[0].file
    copy.write_bytes(copy.read_bytes() + b"\n")
    with pytest.raises(OntologyError, match="changed since it was added"):
        code_sets(folder)


@pytest.mark.parametrize(
    "ledger",
    [
        "{",
        "[]",
        '{"format": 2, "files": []}',
        '{"format": 1, "files": [{"name": "x"}]}',
        '{"format": 1, "files": [{"name":"x","kind":"order","system":"icd10cm","release":"2026",'
        '"rows":1,"sha256":"0","file":"../x"}]}',
    ],
)
def test_a_damaged_ledger_is_refused(folder: Path, ledger: str) -> None:
    folder.mkdir()
    (folder / LEDGER).write_text(ledger)
    with pytest.raises(OntologyError, match="the list of release files is damaged"):
        installed(folder)


def test_a_full_disk_leaves_the_folder_as_it_was(
    tabular_file: Path, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add([tabular_file], folder)
    before = contents(folder)
    newer = write(tmp_path / "icd10cm-tabular-2027.xml", tabular("2027"))
    calls: list[int] = []
    fsync = os.fsync

    def full(handle: int) -> None:
        calls.append(handle)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(os, "fsync", full)
    index = write(tmp_path / "icd10cm-index-2027.xml", INDEX)
    with pytest.raises(OntologyError, match=r"No space left.*nothing was added"):
        add([newer, index], folder)
    assert contents(folder) == before


def test_a_folder_that_is_a_file_is_refused(tabular_file: Path, tmp_path: Path) -> None:
    with pytest.raises(OntologyError, match="cannot be written to"):
        add([tabular_file], write(tmp_path / "taken", b""))


def test_the_ledger_is_plain_json(tabular_file: Path, folder: Path) -> None:
    add([tabular_file], folder)
    (item,) = json.loads((folder / LEDGER).read_text())["files"]
    assert (item["name"], item["release"]) == ("icd10cm-tabular-2026.xml", "2026")
    assert item["file"].startswith("icd10cm-tabular-2026-")


def test_the_concepts_of_a_release_have_their_places(tabular_file: Path, folder: Path) -> None:
    add([tabular_file], folder)
    found = concepts(folder)
    assert found["I00-I99"].level is Level.CHAPTER
    assert found["I21"].parent == Code("I20-I25", CM)


SOUND = [tabular().encode(), order().encode(), INDEX.encode(), NEOPLASM.encode(), DRUGS.encode()]


@settings(max_examples=150, deadline=None)
@given(
    sound=st.sampled_from(SOUND),
    at=st.floats(0, 1),
    put=st.binary(max_size=6),
    drop=st.integers(0, 30),
    in_zip=st.booleans(),
)
def test_damage_anywhere_gives_a_file_or_our_own_error(
    tmp_path_factory: pytest.TempPathFactory,
    sound: bytes,
    at: float,
    put: bytes,
    drop: int,
    in_zip: bool,
) -> None:
    place = int(at * len(sound))
    data = sound[:place] + put + sound[place + drop :]
    name = "icd10cm-order-2026" + (".xml" if sound.startswith(b"<") else ".txt")
    path = tmp_path_factory.getbasetemp() / name
    write(path, data)
    if in_zip:
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w") as file:
            file.writestr(name, sound)
        raw = buffer.getvalue()
        place = int(at * len(raw))
        write(path, raw[:place] + put + raw[place + drop :])
    try:
        found = read_release(path)
    except CmsearchError as error:
        assert str(path.name) in str(error)
    else:
        assert all(file.rows > 0 for file in found)
