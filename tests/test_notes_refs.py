"""Codes in the notes of the tabular list, as they are printed there."""

from __future__ import annotations

import re

import pytest

from cmsearch.codes import System
from cmsearch.notes.noterefs import Place, references
from cmsearch.ontology.ontology import Ontology


def spans(text: str) -> list[str]:
    """Return the codes and ranges that a note names, ranges with a hyphen."""
    return [f"{ref.first}-{ref.last}" if ref.is_range else ref.first for ref in references(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acute bronchitis (J20.-)", ["J20"]),
        ("certain infectious diseases (A00-B99)", ["A00-B99"]),
        ("inflammatory bowel disease (K50-K52)", ["K50-K52"]),
        ("acute myocardial infarction (I21.-, I22.-)", ["I21", "I22"]),
        ("heart failure, by type (I50.2-I50.43)", ["I502-I5043"]),
        ("opioid use (F11.-F17.-)", ["F11-F17"]),
        ("rheumatoid arthritis, if known (M05.00 to M05.8A)", ["M0500-M058A"]),
        ("fracture of lumbar spine (S32.1--S32.9)", ["S321-S329"]),
        ("malignant carcinoid tumor (C7A.-)", ["C7A"]),
        ("vitamin B12 deficiency anemia (D51.-)", ["D51"]),
        ("chronic kidney disease (CKD) (N18.-)", ["N18"]),
        ("glucose-6-phosphate dehydrogenase (G6PD) deficiency (D75.A)", ["D75A"]),
        ("jaw pain R68.84", ["R6884"]),
        ("code from category Z3A, Weeks of gestation", ["Z3A"]),
        ("any condition classifiable to S06.4-S06.6", ["S064-S066"]),
        ("hyperlipidemia (E78.0 - E78.5)", ["E780-E785"]),
        ("inflammation of penis (N48.1, N48.2-)", ["N481", "N482"]),
        ("underlying disease, such as:", []),
        ("influenza A (H1N1)", []),
        ("", []),
    ],
)
def test_codes_and_ranges(text, expected):
    assert spans(text) == expected


@pytest.mark.parametrize(
    ("text", "covered", "not_covered"),
    [
        ("(J20.-)", ["J20", "J209"], ["J21", "J2"]),
        ("(A00-B99)", ["A00", "A419", "B99", "B999"], ["C00", "Z99"]),
        ("(I50.2-I50.43)", ["I5020", "I5043", "I5042"], ["I501", "I5081", "I509"]),
        ("(E08-E13 with .42)", ["E1142", "E0842"], ["E1141", "E119", "E1442"]),
        ("(E08-E13 with .51-.52)", ["E1151", "E1052"], ["E1159"]),
        ("(E11, E13 with final characters .00 or .01)", ["E1100", "E1301"], ["E1110", "E0800"]),
        ("(I69. with final characters -23)", ["I69023", "I69923"], ["I69020", "I6922"]),
        ("(T36-T50 with fifth or sixth character 5)",
         ["T360X5A", "T50905A", "T40415A"], ["T360X1A", "T50901A", "T40411A", "T520X5A"]),
        ("(T36-T65 with fifth or sixth character 1-4 or 6)",
         ["T510X1A", "T5891XA", "T360X6A"], ["T360X5A"]),
        ("(S06.0X- with seventh character A)", ["S060X0A"], ["S060X0D", "S0600"]),
        ("(B27.0-B27.9 with fifth character 1)", ["B2701", "B2791"], ["B2700", "B279"]),
        ("(F11-F19 with fifth to sixth characters 51)", ["F11151", "F19951"], ["F11150"]),
        ("(F11-F19 with .15. .25, .95)", ["F1115", "F19950"], ["F1114"]),
    ],
)  # fmt: skip
def test_what_a_reference_covers(text, covered, not_covered):
    found = references(text)
    assert found
    for undotted in covered:
        assert any(ref.covers(undotted) for ref in found), undotted
    for undotted in not_covered:
        assert not any(ref.covers(undotted) for ref in found), undotted


def test_a_tail_that_names_no_characters_cannot_be_checked():
    assert references("open fracture (S52.- with open fracture 7th character)") == ()


def test_a_tail_in_words_alone_changes_nothing():
    (ref,) = references("pneumoconiosis with tuberculosis, any type in A15")
    assert (ref.first, ref.place, ref.values) == ("A15", Place.ANYWHERE, ())


def test_every_code_that_the_tabular_list_points_to_is_read():
    """Against a plain reading: each code in parentheses lies in a reference."""
    ontology = Ontology.load((System.ICD10CM,))
    concepts = list(ontology.concepts(System.ICD10CM))
    known = {concept.code.undotted for concept in concepts}
    beginnings = {code[:length] for code in known for length in range(3, 8)}
    plain = re.compile(r"\b[A-Z][0-9][0-9A-Z](?:\.[0-9A-Z]{1,4})?(?![0-9A-Za-z])")
    seen = wrong = 0
    for concept in concepts:
        notes = concept.notes
        for text in (
            *notes.excludes1, *notes.excludes2, *notes.code_first, *notes.use_additional,
            *notes.code_also,
        ):  # fmt: skip
            found = references(text)
            ends = {end for ref in found for end in (ref.first, ref.last)}
            for inside in re.findall(r"\(([^()]*)\)", text):
                if "open fracture" not in inside and "to indicate intent" not in inside:
                    codes = {code.replace(".", "") for code in plain.findall(inside)}
                    assert codes <= ends, (concept.code, text)
            seen += len(found)
            wrong += sum(end not in beginnings for end in ends)
    assert seen > 10_000
    assert wrong <= 3  # slips of the printed list: G31.90, R10.4-
