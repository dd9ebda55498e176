"""Ambiguous short forms: what they stand for in a note, and how that is learned."""

from __future__ import annotations

import json
import re
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from cli_fixtures import invoke, refusal
from hypothesis import given, settings
from hypothesis import strategies as st
from real_index import real_home

import cmsearch
from cmsearch.notes.layout import segments
from cmsearch.notes.mentions import words
from cmsearch.notes.rules import rows
from cmsearch.notes.senses import SENSES_FILE, Cues, Senses, near
from cmsearch.notes.suggest import coder_of

DATA = Path(__file__).parent / "data" / "senses.tsv"


@cache
def real():
    return cmsearch.Index.open(real_home() / "indexes" / "default")


def senses_of(text):
    parts = segments(text)
    found = Senses.load().of(text, parts, words(text, [(p.begin, p.end) for p in parts]))
    return {text[one.begin : one.end]: one.words for one in found if one.words}


def codes(text):
    return [item.code.value for item in real().suggest([text])[0]]


# What a short form stands for


def test_sentences_with_a_short_form_say_what_it_is():
    cases = [line.split("\t") for line in DATA.read_text(encoding="utf-8").splitlines()[1:]]
    found = [(senses_of(text).get(short), sense) for short, sense, text in cases]
    clear = [pair for pair in found if pair[0] is not None]
    wrong = [pair for pair in clear if pair[0] != pair[1]]
    assert len(clear) >= 0.8 * len(cases)
    assert len(wrong) <= 0.04 * len(clear), wrong


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("multiple sclerosis (MS) or not", {"MS": "multiple sclerosis"}),
        ("SpO2 91% on RA", {"RA": "room air"}),
        ("lisinopril 10 MG", {"MG": "milligrams"}),
        ("CVA tenderness", {"CVA": "costovertebral angle"}),
        ("L hip and R knee", {"L": "left", "R": "right"}),
        ("L5-S1, R spine, L spine", {}),
        ("signed John Smith, MD", {"MD": "doctor of medicine"}),
        ("born in Detroit, MI", {"MI": "Michigan"}),
        ("MS", {}),
        ("we cannot say whether MS is meant", {}),
        ("AS FAR AS WE KNOW HE HIT HIS HEAD", {}),
        ("the msec, CMS and MSX", {}),
        ("", {}),
    ],
)
def test_idioms_definitions_and_what_is_left_open(text, expected):
    assert senses_of(text) == expected


def test_one_note_may_use_a_short_form_twice():
    text = "RA on methotrexate with morning stiffness of the hands. SpO2 98% on RA."
    parts = segments(text)
    read = words(text, [(part.begin, part.end) for part in parts])
    assert [one.words for one in Senses.load().of(text, parts, read)] == [
        "rheumatoid arthritis",
        "room air",
    ]


def test_words_near_and_far_are_weighed():
    senses = Senses(
        {"XY": {"one": Cues({"a": 2.0}, {"c": 3.0}), "two": Cues({"b": 2.0}, {"d": 3.0})}}
    )
    assert senses.best("XY", {"a"}, {"a"}) == ("one", 2.0)
    assert senses.best("XY", {"a", "b"}, {"d"}) == ("two", 3.0)
    sense, ahead = senses.best("XY", {"a"}, {"d", "e", "f", "g"})
    assert (sense, ahead) == ("one", 0.5)  # a far word counts half among four
    assert senses.knows("XY", "one") and not senses.knows("XY", "three")
    assert not senses.knows("ZZ", "one")


def test_near_is_eight_words_and_no_further_than_a_sentence_or_two():
    text = " ".join(f"w{number}x" for number in range(30)) + " " * 400 + "far"
    read = words(text, [(0, len(text))])
    begin = text.index("w15x")
    found = near(read, begin, begin + 4)
    assert found == {word.stem for word in (*read[7:15], *read[16:24])}
    begin = text.index("w29x")
    assert near(read, begin, begin + 4) == {word.stem for word in read[21:29]}


@settings(max_examples=50, deadline=None)
@given(st.text(alphabet="MSRAPE. ()%-\n\x000a", max_size=60))
def test_any_text_is_read(text):
    for short, sense in senses_of(text).items():
        assert short in text and sense


# Senses in a note's codes


@pytest.mark.parametrize(
    ("text", "has", "lacks"),
    [
        ("45F with MS on interferon, new optic neuritis and leg weakness.", "G35.D", "I05.0"),
        ("Severe MS, valve area 1.0 cm2, enlarged left atrium.", "I05.0", "G35.D"),
        ("COPD exacerbation, SpO2 89% on RA.", "J44.1", "M06.9"),
        ("RA on methotrexate, morning stiffness.", "M06.9", "J44.1"),
        ("Assessment:\n1. MS, relapsing\n2. Neurogenic bladder", "G35.A", "A68.9"),
        ("Boy with spastic CP and seizures.", "G80.1", "R07.9"),
        ("TTP, schistocytes, plasma exchange.", "M31.19", "D69.2"),
        ("L hip fx.", "S72.002A", "S72.009A"),
        ("Hypertension. Signed John Smith, MD", "I10", "G71.00"),
    ],
)
def test_the_note_is_read_with_what_is_meant(text, has, lacks):
    found = codes(text)
    assert has in found and lacks not in found


def test_what_nothing_decides_is_not_stated():
    reading = coder_of(real()).reader.read("BPD.")
    assert [(one.begin, one.end, one.words) for one in reading.senses] == [(0, 3, "")]
    assert reading.spelled_out(0, 4) == "BPD."
    found = {item.code.value: item.probability for item in real().suggest(["BPD."])[0]}
    assert max(found.values()) < 0.5  # both readings, neither as if it were said


def test_evidence_keeps_the_words_of_the_note():
    text = "45F with MS on interferon, new optic neuritis."
    found = next(item for item in real().suggest([text])[0] if item.code.value == "G35.D")
    assert [mention.text for mention in found.evidence] == ["MS"]
    assert "ultiple sclerosis" in found.why
    reading = coder_of(real()).reader.read(text)
    assert reading.spelled_out(0, len(text)) == text.replace("MS", "multiple sclerosis")
    assert reading.spelled_out(0, 5) == text[:5]


# The packaged tables


def test_senses_and_cues_belong_together():
    table = list(rows("senses"))
    assert len({row[:2] for row in table}) == len(table)
    for short, sense, _, before, after, source in table:
        assert short.isupper() and short.isalpha() and sense and source
        re.compile(before)
        re.compile(after)
    learned = json.loads(files("cmsearch.notes").joinpath(SENSES_FILE).read_text(encoding="utf-8"))
    known = {(short, sense) for short, sense, *_ in table}
    assert {(short, sense) for short in learned for sense in learned[short]} <= known
    assert all(len(senses) > 1 for senses in learned.values())


# How cues are learned


def corpus(folder: Path, lines: list[dict[str, str]]) -> Path:
    folder.mkdir()
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (folder / "part-00.jsonl").write_text(text, encoding="utf-8")
    return folder


def notes_of(sense: str, cue: str, count: int) -> list[dict[str, str]]:
    return [
        {"source": "mtsamples", "id": f"{sense}{number}",
         "text": f"Report {number}x. The {cue} said it: {sense} (MS) was found by the {cue}."}
        for number in range(count)
    ]  # fmt: skip


def filler(count: int) -> list[dict[str, str]]:
    """Texts of a third short form, so that no word of the others is common."""
    return [
        {"source": "mtsamples", "id": f"f{number}", "text": f"The rheumatoid arthritis {number}x."}
        for number in range(count)
    ]  # fmt: skip


def test_cues_are_learned_from_texts_that_spell_out_a_sense(tmp_path):
    pytest.importorskip("zstandard", reason="the training extra is not installed")
    folder = corpus(
        tmp_path / "corpus",
        [
            *notes_of("multiple sclerosis", "neurologist", 30),
            *notes_of("mitral stenosis", "cardiologist", 30),
            *filler(600),
        ],
    )
    out = tmp_path / "senses.json"
    result = invoke("train", "senses", "--corpus", str(folder), "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "1.000 right" in " ".join(result.output.split())
    learned = json.loads(out.read_text(encoding="utf-8"))
    assert set(learned) == {"MS"}  # of RA the texts spell out one sense alone
    near_cues, far_cues, usual = learned["MS"]["mitral stenosis"]
    assert 0 < usual < 2
    assert set(near_cues) == set(far_cues) == {"cardiolog"}
    senses = Senses.from_json(out.read_text(encoding="utf-8"))
    assert senses.best("MS", {"cardiolog"}, {"cardiolog"})[0] == "mitral stenosis"


def test_a_corpus_without_senses_is_refused(tmp_path):
    pytest.importorskip("zstandard", reason="the training extra is not installed")
    folder = corpus(tmp_path / "corpus", filler(5))
    out = tmp_path / "senses.json"
    said = refusal("train", "senses", "--corpus", str(folder), "--out", str(out))
    assert "spells out" in said and not out.exists()


def test_a_text_with_two_senses_teaches_neither():
    pytest.importorskip("zstandard", reason="the training extra is not installed")
    from cmsearch.train.documents import Document
    from cmsearch.train.senses import contexts

    senses = {"MS": {"multiple sclerosis": [], "mitral stenosis": ["narrow mitral valve"]}}
    both = Document("notes", "a", "Multiple sclerosis; narrow mitral valve.")
    one = Document("notes", "b", "A narrow mitral valve\u2019s rumble, Sjögren\u2019s too.")
    (found,) = contexts([both, one], senses)
    assert (found.sense, found.clinical) == ("mitral stenosis", True)
    assert found.far == {"rumbl", "sjogren", "too"}
