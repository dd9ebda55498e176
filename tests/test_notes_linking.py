"""From spans to candidates, and from headers to the most specific code that is supported."""

from __future__ import annotations

import pytest

from cmsearch.codes import Code, System
from cmsearch.lexicon import Lexicon
from cmsearch.lexiconfile import write_lexicon
from cmsearch.notes.experience import Experience, association, telling
from cmsearch.notes.layout import segments
from cmsearch.notes.problems import problems
from cmsearch.notes.proposals import Proposal, combined, merged, ordered, settled
from cmsearch.notes.reading import Reader
from cmsearch.notes.specific import Specifier
from cmsearch.rows import ConceptRow, FormRow
from cmsearch.types import Assertion

ICD10 = (System.ICD10CM,)
TREE = """
M25.5     |        | no  | Pain in joint
M25.50    | M25.5  | yes | Pain in unspecified joint
M25.56    | M25.5  | no  | Pain in knee
M25.561   | M25.56 | yes | Pain in right knee
M25.562   | M25.56 | yes | Pain in left knee
M25.569   | M25.56 | yes | Pain in unspecified knee
S52.5     |        | no  | Fracture of lower end of radius
S52.51    | S52.5  | no  | Fracture of radial styloid process
S52.511   | S52.51 | no  | Fracture of right radial styloid process
S52.511A  | S52.511| yes | Fracture of right radial styloid process, initial encounter
S52.511D  | S52.511| yes | Fracture of right radial styloid process, subsequent encounter
S52.512   | S52.51 | no  | Fracture of left radial styloid process
S52.512A  | S52.512| yes | Fracture of left radial styloid process, initial encounter
E11       |        | no  | Type 2 diabetes mellitus
E11.8     | E11    | yes | Type 2 diabetes mellitus with unspecified complications
E11.9     | E11    | yes | Type 2 diabetes mellitus without complications
I10       |        | yes | Essential (primary) hypertension
I50.9     |        | yes | Heart failure, unspecified
I11.0     |        | yes | Hypertensive heart disease with heart failure
"""


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A lexicon of a few codes with sides, 7th characters and complications."""
    lines = [[part.strip() for part in line.split("|")] for line in TREE.strip().splitlines()]
    ids = {line[0]: number for number, line in enumerate(lines)}
    rows = [
        ConceptRow(ids[code], "icd10cm", code, title, "code", ids.get(parent), billable == "yes",
                   "", "", "{}")
        for code, parent, billable, title in lines
    ]  # fmt: skip
    forms = [
        FormRow(row.id, row.id, "icd10cm", row.code, "title", row.title, "", row.id) for row in rows
    ]
    path = tmp_path_factory.mktemp("tree") / "tree.sqlite"
    write_lexicon(path, rows, forms, [])
    return Lexicon.open(path)


def concept(lexicon, code):
    return lexicon.by_code(code)[0]


def specific(lexicon, code, said, **more):
    found = Specifier(lexicon).specific(concept(lexicon, code), frozenset(said.split()), **more)
    return [row.code for row in found.concepts], found.missing


def test_a_side_that_is_stated_is_taken(tree):
    assert specific(tree, "M25.56", "right knee pain")[0] == ["M25.561"]
    assert specific(tree, "M25.56", "left knee pain")[0] == ["M25.562"]


def test_both_sides_are_two_codes(tree):
    assert specific(tree, "M25.56", "bilater knee pain")[0] == ["M25.561", "M25.562"]


def test_silence_is_the_unspecified_code(tree):
    assert specific(tree, "M25.56", "knee pain") == (["M25.569"], "")


def test_an_unspecified_code_gives_way_to_what_is_said(tree):
    assert specific(tree, "M25.569", "right knee")[0] == ["M25.561"]
    assert specific(tree, "M25.569", "knee")[0] == ["M25.569"]


def test_what_is_missing_is_named(tree):
    codes, missing = specific(tree, "S52.51", "fractur radial styloid process")
    assert codes == ["S52.51"]
    assert missing == "laterality not stated: S52.511/S52.512"


def test_the_encounter_chooses_the_seventh_character(tree):
    assert specific(tree, "S52.511", "")[0] == ["S52.511A"]
    assert specific(tree, "S52.511", "", encounter="D")[0] == ["S52.511D"]


def test_no_complication_is_made_up(tree):
    assert specific(tree, "E11", "diabet")[0] == ["E11.9"]


def test_the_part_of_the_body_may_stand_elsewhere(tree):
    around = frozenset(("knee",))
    assert specific(tree, "M25.5", "left pain", around=around)[0] != ["M25.562"]
    assert specific(tree, "M25.56", "left pain", around=around)[0] == ["M25.562"]


def test_spans_become_candidates_with_what_is_said(tiny_files):
    reader = Reader(tiny_files.lexicon)
    reading = reader.read("He denies asthma. Heart attack in May.")
    items = reader.candidates(reading, Experience.none(), ICD10)
    said = {item.concept.code: [match.found.assertion for match in item.matches] for item in items}
    assert said["I21.9"] == [Assertion.PRESENT]
    assert set(said["J45"]) == {Assertion.NEGATED}


def test_words_beside_a_header_lead_on(tree):
    reader = Reader(tree)
    reading = reader.read("Severe pain in the left knee joint.")
    items = {
        item.concept.code: item for item in reader.candidates(reading, Experience.none(), ICD10)
    }
    assert all(match.narrowed for match in items["M25.562"].matches) or "M25.562" in items


def test_phrases_of_training_notes_bring_codes(tiny_files):
    experience = Experience(20, {"I10": 4}, {"I10": 4}, {}, {}, {"tension": (4, (("I10", 4),))}, {})
    reader = Reader(tiny_files.lexicon)
    reading = reader.read("Her tension was 190.")
    (item,) = reader.candidates(reading, experience, ICD10)
    assert item.concept.code == "I10"
    assert [(one.phrase, one.notes) for one in item.learned] == [("tension", 4)]


def test_codes_of_the_same_category_come_along(tree):
    experience = Experience(20, {"E11.8": 3}, {"E11": 3}, {}, {}, {}, {"E11": (4, (("E11.8", 3),))})
    reader = Reader(tree)
    reading = reader.read("Type 2 diabetes mellitus.")
    items = {item.concept.code: item for item in reader.candidates(reading, experience, ICD10)}
    assert items["E11.8"].matches == []
    assert {match.found.span.key for match in items["E11.8"].related} == {"2 diabet mellitus type"}
    assert experience.given_beside("E11.8") == (4, 3)
    assert experience.given_beside("E11.9") == (4, 0)


def test_association_is_higher_for_more_and_rarer():
    assert association(10, 8, 0.1)[0] > association(10, 4, 0.1)[0]
    assert association(10, 4, 0.1)[2] > association(10, 4, 0.3)[2]


def test_phrases_of_one_note_alone_are_forgotten():
    kept = telling([("a", 2, {"X": 2}), ("b", 2, {"X": 1})], {"X": 0.01})
    assert kept == {"a": (2, (("X", 2),))}


def test_merged_proposals_keep_the_likelier_and_all_support(tree):
    row = concept(tree, "I10")
    first = Proposal(row, 0.2, missing="side")
    (found,) = merged([first, Proposal(row, 0.7)])
    assert (found.chance, found.missing) == (0.7, "")
    (found,) = merged([Proposal(row, 0.9, held_back="negated"), first])
    assert (found.chance, found.held_back) == (0.2, "")


def test_headers_settle_on_codes_that_a_claim_may_carry(tree):
    linker = Reader(tree).linker
    header = Proposal(concept(tree, "M25.56"), 0.5)
    said = {header.concept.id: frozenset(("right",))}
    assert [item.concept.code for item in settled([header], linker, said)] == ["M25.561"]


def test_hypertension_with_heart_failure_is_one_code(tree):
    linker = Reader(tree).linker
    found = combined(
        [Proposal(concept(tree, "I10"), 0.8), Proposal(concept(tree, "I50.9"), 0.8)], linker, 0.3
    )
    held = {item.concept.code: item.held_back for item in ordered(found)}
    assert held["I11.0"] == held["I50.9"] == ""
    assert "I11.0" in held["I10"]


def test_an_unlikely_companion_combines_nothing(tree):
    linker = Reader(tree).linker
    pair = [Proposal(concept(tree, "I10"), 0.8), Proposal(concept(tree, "I50.9"), 0.1)]
    assert {item.concept.code for item in combined(pair, linker, 0.3)} == {"I10", "I50.9"}


NOTE = """CHIEF COMPLAINT
Cough.

ASSESSMENT AND PLAN
1. Pneumonia, right lower lobe.
- Medical Treatment: Continue amoxicillin.
We will see him again in two weeks.

Asthma.
"""


def test_problems_are_the_short_statements_of_the_assessment():
    found = problems(NOTE, segments(NOTE))
    assert [NOTE[one.begin : one.end] for one in found] == ["Pneumonia, right lower lobe", "Asthma"]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("POSTOPERATIVE DIAGNOSIS: Right subdural hematoma.\n", ["Right subdural hematoma"]),
        ("DIAGNOSES: 1. Type II diabetes mellitus. 2. Hypertension. 3. Gout.\n",
         ["Type II diabetes mellitus", "Hypertension", "Gout"]),
        ("IMPRESSION:\nNo acute fracture.\nNormal heart size.\nPneumonia.\n", ["Pneumonia"]),
        ("ASSESSMENT: The CBC showed anemia. Cough.\n", []),
    ],
)  # fmt: skip
def test_problems_may_follow_their_heading(text, wanted):
    found = problems(text, segments(text))
    assert [text[one.begin : one.end] for one in found] == wanted


def test_a_note_without_diagnoses_lists_no_problems():
    text = "HISTORY OF PRESENT ILLNESS\nCough.\n"
    assert problems(text, segments(text)) == []


def test_codes_of_unknown_systems_are_no_concepts(tree):
    linker = Reader(tree).linker
    assert linker.by_code(Code("I10", System.ICD10CM)) is not None
    assert linker.by_code(Code("I10", System.ICD9CM)) is None
