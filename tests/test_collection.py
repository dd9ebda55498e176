"""Collections of notes: cut into passages, found by words, code and likeness, grown safely."""

from __future__ import annotations

import json
import shutil

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import FakeEncoder, one_line

from cmsearch.codes import System
from cmsearch.collection import folder as collection_folder
from cmsearch.collection.folder import Entry, add_notes
from cmsearch.collection.passages import WIDTH, passages
from cmsearch.collection.search import NoteIndex
from cmsearch.errors import CodeError, IndexFolderError, IndexMismatch

NOTE = """Chief complaint: chest pain.
History of present illness: The patient has had pressing pain for two hours. It goes to the
left arm. He was sweating. There was no fever.

Family history: Father had a stroke at 60.

Assessment and plan:
1. Acute myocardial infarction. Aspirin was given.
2. Hypertension. Continue lisinopril.
"""
NOTES = {
    "heart": "The patient had a heart attack last night. Troponin was raised. He feels weak.",
    "lung": "Cough and fever for a week. Pneumonia of the left lung on the film.",
    "sugar": "Type 2 diabetes mellitus without complications. She takes metformin twice a day.",
    "arm": "He fell on ice. Fracture of forearm, closed. A cast was put on.",
}


def entries(notes=NOTES):
    return [Entry(name, "in.csv", text) for name, text in notes.items()]


@pytest.fixture
def place(tmp_path):
    add_notes(tmp_path / "notes", entries(), encoder=FakeEncoder())
    return tmp_path / "notes"


def opened(place):
    return NoteIndex.open(place, encoder=FakeEncoder())


def names(found):
    return [note.note for note in found]


def test_passages_keep_to_sections_and_hold_every_word():
    found = passages(NOTE)
    assert {part.section for part in found} >= {"chief complaint", "family history"}
    held = set(" ".join(NOTE[part.begin : part.end] for part in found).split())
    assert set(NOTE.split()) <= held
    assert all(part.begin < part.end for part in found)
    assert all(a.begin < b.begin for a, b in zip(found, found[1:], strict=False))


def test_passages_of_a_long_text_overlap_by_a_sentence():
    text = " ".join(f"The finding number {number} was seen again today." for number in range(60))
    found = passages(text)
    assert len(found) > 5
    for before, after in zip(found, found[1:], strict=False):
        assert before.end - before.begin <= WIDTH
        assert before.begin < after.begin < before.end < after.end
        assert text[after.begin : before.end].count(".") == 1


@given(st.text(st.sampled_from("ab .\n:-1é"), max_size=3_000))
def test_no_word_is_lost_and_nothing_is_endless(text):
    found = passages(text)
    assert (not found) == (not text.strip())
    covered = [False] * len(text)
    for part in found:
        assert part.end - part.begin <= 4 * WIDTH
        covered[part.begin : part.end] = [True] * (part.end - part.begin)
    assert all(seen or not letter.isalnum() for letter, seen in zip(text, covered, strict=True))


def test_a_sentence_without_end_is_cut_at_blanks():
    text = "word " * 2_000
    parts = [text[part.begin : part.end] for part in passages(text)]
    assert len(parts) > 10
    assert all(set(part.split()) == {"word"} for part in parts)
    assert len(passages("x" * 5_000)) > 5


def test_notes_are_found_by_words(place):
    index = opened(place)
    first = index.search(["heart attack", "pneumonia", "broken arm fracture", " "], k=2)
    assert [names(found)[:1] for found in first] == [["heart"], ["lung"], ["arm"], []]
    best = first[0][0]
    assert best.passage == NOTES["heart"][best.begin : best.end]
    assert (best.rank, best.source, best.section) == (1, "in.csv", "")
    assert 0 < best.score <= 1
    assert [note.score for note in first[0]] == sorted((n.score for n in first[0]), reverse=True)


def test_notes_are_found_by_a_code_in_the_words_of_its_forms(place, tiny_index):
    """I21.9 is "Heart attack" in its inclusion term alone."""
    index = opened(place)
    assert names(index.about("I21.9", index=tiny_index, k=1)) == ["heart"]
    assert names(index.about("E119", index=tiny_index, k=1)) == ["sugar"]
    assert names(index.about("S52", index=tiny_index, k=1)) == ["arm"]
    # By its parent's forms: codes made by a 7th character have none of their own.
    assert "arm" in names(index.about("S52.501A", index=tiny_index, k=2))
    with pytest.raises(CodeError):
        index.about("Q99", index=tiny_index)


def test_notes_are_found_by_another_note(place):
    index = opened(place)
    asked = "A fracture of the forearm after he fell. A cast was put on the arm."
    found = index.like(asked, k=3)
    assert names(found)[0] == "arm"
    assert found[0].score == found[0].cosine
    exact = index.like(NOTES["lung"], k=2)
    assert names(exact)[0] == "lung"
    assert exact[0].score == pytest.approx(1, abs=2e-3)
    assert index.like(" \n", k=2) == []


def test_adding_is_not_doubling(place):
    changed = {**NOTES, "arm": "He fell. Now only a bruise of the wrist.", "new": "Asthma."}
    done = add_notes(place, entries(changed), encoder=FakeEncoder())
    assert (done.added, done.changed, done.known) == (2, 1, 3)
    index = opened(place)
    assert index.book.counts()[0] == 5
    assert names(index.search(["asthma"], k=1)[0]) == ["new"]
    assert all("cast" not in note.passage for note in index.search(["cast forearm"], k=9)[0])
    assert add_notes(place, entries(changed), encoder=FakeEncoder()).added == 0
    other = add_notes(place, [Entry("arm", "other.csv", NOTES["arm"])], encoder=FakeEncoder())
    assert (other.added, other.changed) == (1, 0)


def test_added_in_two_goes_is_as_added_in_one(place, tmp_path):
    two = tmp_path / "two"
    for part in (entries()[:2], entries()[2:]):
        add_notes(two, part, encoder=FakeEncoder())
    queries = ["heart attack", "fever and cough", "diabetes"]
    assert opened(two).search(queries) == opened(place).search(queries)
    assert (two / "vectors.f16").read_bytes() == (place / "vectors.f16").read_bytes()


@pytest.mark.parametrize("after", [0, 1, 3])
def test_a_crash_leaves_what_was_there(place, monkeypatch, after):
    """Whatever was written after the last commit is as if it had never been."""
    before = opened(place).search(["heart attack", "asthma"], k=9)
    more = [Entry(f"more{number}", "in.csv", f"Asthma number {number}.") for number in range(5)]

    def breaking():
        yield from more[:after]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        add_notes(place, breaking(), encoder=FakeEncoder())
    assert opened(place).search(["heart attack", "asthma"], k=9) == before
    add_notes(place, more, encoder=FakeEncoder())
    index = opened(place)
    assert index.book.counts()[0] == 9
    assert len(index.vectors) == index.book.counts()[1]


def test_commits_on_the_way_are_kept(tmp_path, monkeypatch):
    monkeypatch.setattr(collection_folder, "_COMMIT", 3)

    def breaking():
        yield from entries()
        raise KeyboardInterrupt

    place = tmp_path / "notes"
    with pytest.raises(KeyboardInterrupt):
        add_notes(place, breaking(), encoder=FakeEncoder())
    done = add_notes(place, entries(), encoder=FakeEncoder())
    assert done.known >= 2
    assert done.added + done.known == 4
    assert opened(place).book.counts()[0] == 4


def test_a_reader_that_is_open_sees_what_it_opened(place):
    index = opened(place)
    add_notes(place, [Entry("new", "in.csv", "Asthma.")], encoder=FakeEncoder())
    assert "new" not in names(index.like("Asthma.", k=9))
    assert names(opened(place).search(["asthma"], k=1)[0]) == ["new"]


def test_faults_are_named(place, tmp_path):
    with pytest.raises(IndexFolderError, match="no notes are indexed here; .*cmsearch notes index"):
        NoteIndex.open(tmp_path / "none")
    with pytest.raises(IndexMismatch, match="encoder fake .*this is other") as refused:
        NoteIndex.open(place, encoder=FakeEncoder("other"))
    assert one_line(refused.value)
    with pytest.raises(IndexMismatch):
        add_notes(place, entries(), encoder=FakeEncoder("other"))
    copy = tmp_path / "copy"
    shutil.copytree(place, copy)
    (copy / "vectors.f16").write_bytes(b"short")
    with pytest.raises(IndexFolderError, match=r"vectors.f16: has 5 bytes"):
        opened(copy)
    (copy / "notes.sqlite").write_bytes(b"no database at all, but long enough to look at" * 99)
    with pytest.raises(IndexFolderError, match=r"notes.sqlite: damaged"):
        opened(copy)


def test_an_empty_collection_finds_nothing(tmp_path):
    done = add_notes(tmp_path / "notes", [Entry("a", "b", " ")], encoder=FakeEncoder())
    assert (done.added, done.passages) == (1, 0)
    index = opened(tmp_path / "notes")
    assert index.search(["heart"]) == [[]]
    assert index.like("heart attack") == []


def test_words_that_sqlite_would_read_as_syntax_are_words(place):
    index = opened(place)
    for query in ('"', "NOT", "heart OR", "a* NEAR(b)", "text:heart", "-", "\0", "heart\ud800"):
        assert isinstance(index.search([query], k=3)[0], list)


def test_the_state_is_plain_json(place):
    state = json.loads(json.dumps(opened(place).state.to_json()))
    assert state["encoder"]["name"] == "fake"
    assert state["extent"]["kind"] == "flat"
    assert System.ICD10CM.value not in state


@pytest.fixture
def said(tmp_path):
    notes = {
        "denied": "He denies chest pain. He came for a check.",
        "father": "Family history: His father had chest pain and died at 60.",
        "had": "He came by ambulance after an hour of chest pain.",
    }
    add_notes(tmp_path / "said", entries(notes), encoder=FakeEncoder())
    return opened(tmp_path / "said")


def test_who_has_it_comes_before_who_denies_it(said):
    found = said.search(["chest pain"])[0]
    assert names(found)[0] == "had"
    assert {note.note: note.assertion for note in found} == {
        "had": "present", "denied": "negated", "father": "family",
    }  # fmt: skip
    scores = [note.score for note in found]
    assert scores == sorted(scores, reverse=True)


def test_a_search_for_relatives_finds_relatives(said):
    assert names(said.search(["family history of chest pain"])[0])[0] == "father"


def test_two_notes_of_one_id_are_told_and_the_first_stays(tmp_path):
    twice = [Entry("a", "in.csv", "Asthma."), Entry("a", "in.csv", "Gout of the left toe.")]
    done = add_notes(tmp_path / "n", twice, encoder=FakeEncoder())
    assert (done.added, done.changed, done.doubled) == (1, 0, ("a",))
    assert opened(tmp_path / "n").search(["asthma"])[0][0].passage == "Asthma."
    again = add_notes(tmp_path / "n", twice[1:], encoder=FakeEncoder())
    assert (again.added, again.changed, again.doubled) == (1, 1, ())
    same = add_notes(tmp_path / "n", twice[1:] * 2, encoder=FakeEncoder())
    assert (same.added, same.known, same.doubled) == (0, 2, ())
