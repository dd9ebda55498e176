"""The lexical half: BM25, slips, counts, trees and crosswalks; and files that are no lexicon."""

from __future__ import annotations

import sqlite3

import numpy as np
import pytest
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsearch import lexicon as module
from cmsearch.errors import IndexFolderError
from cmsearch.lexicon import Lexicon
from cmsearch.lexiconfile import write_lexicon
from cmsearch.rows import ConceptRow, FormRow
from cmsearch.wording import stem, terms, tokens


def make(path, texts):
    """Build and open a lexicon whose concept and form number n is text number n."""
    concepts = [
        ConceptRow(n, "icd10cm", f"A{n:02}", text, "code", None, True, "", "", "{}")
        for n, text in enumerate(texts)
    ]
    forms = [
        FormRow(n, n, "icd10cm", f"A{n:02}", "title", text, "", n) for n, text in enumerate(texts)
    ]
    write_lexicon(path, concepts, forms, [])
    return Lexicon.open(path)


def stems(text):
    return terms(tokens(text))


@pytest.fixture(scope="module")
def lexicon(tiny_files):
    return tiny_files.lexicon


def found(lexicon, text, limit=5):
    return [form.code for form in lexicon.forms(lexicon.find(stems(text), limit=limit))]


# ---------------------------------------------------------------- BM25


def test_the_rarest_words_and_the_shortest_texts_win(tmp_path):
    lexicon = make(
        tmp_path / "l",
        ["fracture of arm", "fracture of leg", "fracture of scaphoid bone of wrist", "asthma",
         "fracture of scaphoid", "fracture"],
    )  # fmt: skip
    assert lexicon.find(["scaphoid", "fractur"], limit=2) == [4, 2]
    assert lexicon.find(["fractur"], limit=1) == [5]
    assert lexicon.find(["asthma", "fractur"], limit=1) == [3]
    assert sorted(lexicon.find(["fractur"], limit=9)) == [0, 1, 2, 4, 5]


def test_equals_come_in_the_order_of_their_ids(tmp_path):
    lexicon = make(tmp_path / "l", ["left arm", "right leg", "right arm", "right arm"])
    assert lexicon.find(["right"], limit=9) == [1, 2, 3]


def test_inflected_words_find(lexicon):
    assert set(found(lexicon, "fractured", limit=9)) == {"S52", "S52.5", "S52.501"}
    assert set(found(lexicon, "infarctions", limit=20)) >= {"I21", "I21.4", "I21.9", "410"}


def test_unknown_words_find_nothing(lexicon):
    assert lexicon.find([], limit=5) == []
    assert lexicon.find(["zebra"], limit=5) == []
    assert lexicon.find(['"', "*", "a OR b", "terms:x", ""], limit=5) == []
    assert lexicon.find(["asthma", "zebra"], limit=9) == lexicon.find(["asthma"], limit=9)


def test_common_words_search_only_where_nothing_is_rarer(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "_COMMON", 3)
    lexicon = make(tmp_path / "l", [f"common case {n}" for n in range(6)] + ["rare case", "odd"])
    assert lexicon.find(["common", "case", "rare"], limit=9) == [6]
    assert len(lexicon.find(["common", "case"], limit=9)) == 7
    assert lexicon.find(["odd"], limit=9) == [7]


def test_a_query_of_many_words_is_cut_at_its_rarest(tmp_path):
    words = [f"q{n:03}" for n in range(60)]
    lexicon = make(tmp_path / "l", words + words[30:])
    assert set(lexicon.find(words, limit=999)) == set(range(24))


# ---------------------------------------------------------------- counts


def test_terms_are_counted_facts(tmp_path):
    lexicon = make(tmp_path / "l", ["fracture of fractured arm", "fractures", "arm of the arm"])
    known = lexicon.terms(["arm", "fractur", "of", "none"])
    assert {term: count for term, (_, count) in known.items()} == {"arm": 2, "fractur": 2}
    assert [lexicon.table.counts[place] for place, _ in known.values()] == [2, 2]
    assert lexicon.terms([]) == {}


def test_more_terms_than_sqlite_takes(lexicon):
    wanted = [f"no{n}" for n in range(5000)] + ["asthma", "pneumonia"]
    assert set(lexicon.terms(wanted)) == {"asthma", "pneumonia"}


# ---------------------------------------------------------------- slips


def distance(a, b):
    """Optimal string alignment distance, by the textbook recursion."""
    table = {(i, -1): i + 1 for i in range(-1, len(a))} | {
        (-1, j): j + 1 for j in range(-1, len(b))
    }
    for i in range(len(a)):
        for j in range(len(b)):
            table[i, j] = min(
                table[i - 1, j] + 1,
                table[i, j - 1] + 1,
                table[i - 1, j - 1] + (a[i] != b[j]),
            )
            if i and j and a[i] == b[j - 1] and a[i - 1] == b[j]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return table[len(a) - 1, len(b) - 1]


def naive_correction(word, counts):
    if len(word) < 4 or any(letter.isdigit() for letter in word):
        return None
    reach = 1 if len(word) < 7 else 2
    near = [known for known in counts if distance(word, known) <= reach]
    return min(
        near,
        key=lambda known: (distance(word, known) + (known[0] != word[0]), -counts[known], known),
        default=None,
    )


COUNTED = {
    "asthma": 5, "fracture": 9, "fractured": 2, "pneumonia": 4, "pneumonias": 2, "infarction": 6,
    "infection": 8, "infections": 3, "inflection": 2, "hypertension": 7, "hypotension": 7,
    "ulna": 3, "ulnar": 4, "vulva": 2, "arm": 5, "harm": 2, "pain": 9, "main": 2, "gain": 3,
}  # fmt: skip


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    texts = [word for word, count in COUNTED.items() for _ in range(count)]
    return make(tmp_path_factory.mktemp("words") / "l", [*texts, "hapax", "e119", "e119", "of"])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("pnuemonia", "pneumonia"),
        ("neumonia", "pneumonia"),
        ("astma", "asthma"),
        ("infarcton", "infarction"),
        ("hypretension", "hypertension"),
        ("fracure", "fracture"),
        ("paim", "pain"),
        ("zebra", None),
        ("arn", None),
        ("happax", None),
        ("e1119", None),
        ("", None),
        ("心臓発作心臓", None),
    ],
)
def test_slips_are_corrected(words, typed, meant):
    assert words.correct(typed) == meant


@settings(max_examples=300, deadline=None)
@given(
    word=st.sampled_from(sorted(COUNTED)),
    edits=st.lists(
        st.tuples(st.sampled_from("dits"), st.integers(0, 12), st.sampled_from("aeinrtu")),
        max_size=3,
    ),
)
def test_corrections_are_those_of_a_naive_search(words, word, edits):
    for kind, at, letter in edits:
        at %= len(word) + 1
        if kind == "d":
            word = word[:at] + word[at + 1 :]
        elif kind == "i":
            word = word[:at] + letter + word[at:]
        elif kind == "s":
            word = word[:at] + letter + word[at + 1 :]
        else:
            word = word[:at] + word[at : at + 2][::-1] + word[at + 2 :]
    assert words.correct(word) == naive_correction(word, COUNTED)


def test_the_commonest_of_very_many_equals(tmp_path):
    equals = [f"vein{letter}" for letter in "abcdefghijklmnopqrstuvwxyz"]
    lexicon = make(tmp_path / "l", [*equals, *equals, "veinw"])
    assert lexicon.correct("vein7") is None
    assert lexicon.correct("vein") == "veinw"


# ---------------------------------------------------------------- rows


def test_concepts_and_forms_by_id(lexicon):
    by_id = lexicon.concepts(range(tiny.CONCEPTS))
    assert len(by_id) == tiny.CONCEPTS
    assert all(row.id == key for key, row in by_id.items())
    infarction = lexicon.by_code("I21.9")[0]
    assert (infarction.system, infarction.billable, infarction.level) == ("icd10cm", True, "code")
    assert infarction.chapter == "Diseases of the circulatory system"
    assert infarction.grouping == "CCSR CIR009"
    assert [form.text for form in lexicon.forms_of_concept(infarction.id)] == [
        "Acute myocardial infarction, unspecified",
        "Myocardial infarction (acute) NOS",
        "Heart attack",
        "heart infarct",
        "Infarct, infarction heart",
    ]


def test_ids_that_are_not_there_are_left_out(lexicon):
    assert lexicon.concepts([10_000, -1]) == {}
    assert lexicon.forms([10_000]) == []
    assert lexicon.by_code("X99") == []


def test_forms_come_in_the_order_of_their_ids(lexicon):
    assert [form.id for form in lexicon.forms([9, 2, 5])] == [2, 5, 9]


def test_concepts_with_one_text_share_a_vector(lexicon):
    first = next(form for form in lexicon.forms_of_concept(lexicon.by_code("J18.9")[0].id))
    sharing = lexicon.table.forms_of_vectors(np.array([first.vector, -1, 10_000]))
    assert [form.code for form in lexicon.forms(sharing.tolist())] == ["J18", "J18.9"]


def test_children(lexicon):
    def below(code):
        return [row.code for row in lexicon.children(lexicon.by_code(code)[0].id)]

    assert below("I20-I25") == ["I20", "I21"]
    assert below("S52.501") == ["S52.501A", "S52.501D", "S52.501S"]
    assert below("I21.9") == []


def test_codes_that_begin_so(lexicon):
    assert [row.code for row in lexicon.starting_with("I2", limit=9)] == [
        "I20", "I20.0", "I20.9", "I21", "I21.4", "I21.9",
    ]  # fmt: skip
    assert [row.code for row in lexicon.starting_with("I2", limit=2)] == ["I20", "I20.0"]
    assert lexicon.starting_with("I2%", limit=9) == []


def test_the_crosswalk_keeps_flags_and_leaves_out_what_is_not_there(lexicon):
    def targets(code):
        lines = lexicon.crosswalk(lexicon.by_code(code)[0].id)
        return [(line.target, line.approximate, line.no_map) for line in lines]

    diabetes = lexicon.by_code("E11.9")[0].id
    assert targets("250.00") == [(diabetes, True, False)]
    assert targets("250.01") == [(None, True, True)]
    assert targets("413.9") == []
    assert targets("J18.9") == [(lexicon.by_code("486")[0].id, False, False)]
    assert targets("I10") == []


def test_details(lexicon):
    infarction = lexicon.details(lexicon.by_code("I21")[0])
    assert infarction["notes"]["excludes1"] == ["angina pectoris (I20.-)"]
    forearm = lexicon.details(lexicon.by_code("S52")[0])
    assert forearm["seventh"] == [list(pair) for pair in tiny.SEVENTH]
    assert lexicon.details(lexicon.by_code("S52.501A")[0])["expansion"] is True


def test_distinct_texts_with_their_vectors(lexicon):
    pairs = list(lexicon.texts())
    assert len({text for text, _ in pairs}) == len(pairs) == len({row for _, row in pairs})
    assert all(stem("asthma") in stems(text) for text, _ in pairs if "sthma" in text)


def test_titles_and_inclusion_terms_of_codes_for_peers(lexicon):
    pairs = list(lexicon.peer_forms("icd9cm"))
    assert len(pairs) == 8
    assert ("I21.9", "Heart attack") in set(lexicon.peer_forms("icd10cm"))
    assert not [pair for pair in lexicon.peer_forms("icd10cm") if "-" in pair[0]]


# ---------------------------------------------------------------- files


def test_reading_changes_nothing(tmp_path):
    path = tmp_path / "l"
    lexicon = make(path, ["asthma", "asthma"])
    before = path.read_bytes()
    lexicon.find(["asthma"], limit=1)
    lexicon.correct("astma")
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        lexicon._db.execute("DELETE FROM concept")
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["l"]


def test_many_may_read_at_once(tmp_path):
    make(tmp_path / "l", ["asthma"])
    readers = [Lexicon.open(tmp_path / "l") for _ in range(20)]
    assert [reader.find(["asthma"], limit=1) for reader in readers] == [[0]] * 20


def test_a_name_with_odd_characters(tmp_path):
    folder = tmp_path / "a b?mode=rw#é%20"
    folder.mkdir()
    assert make(folder / "l", ["asthma"]).find(["asthma"], limit=9) == [0]


@pytest.mark.parametrize("content", [b"", b"no lexicon", b"\0" * 10_000, b"SQLite format 3\0"])
def test_a_file_that_is_no_lexicon(tmp_path, content):
    (tmp_path / "l").write_bytes(content)
    with pytest.raises(IndexFolderError, match="not a readable lexicon") as caught:
        Lexicon.open(tmp_path / "l")
    assert tiny.one_line(caught.value)
    assert str(tmp_path / "l") in str(caught.value)
    assert "cmsearch index --rebuild" in str(caught.value)


def test_another_database_a_folder_and_nothing(tmp_path):
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE thing (id)")
    other.close()
    for path in (tmp_path / "other", tmp_path, tmp_path / "none", tmp_path / "none" / "l"):
        with pytest.raises(IndexFolderError, match="not a readable lexicon"):
            Lexicon.open(path)
    assert not (tmp_path / "none").exists()


def test_a_truncated_file_is_refused(tmp_path):
    make(tmp_path / "l", [f"asthma {n}" for n in range(500)])
    data = (tmp_path / "l").read_bytes()
    for length in (100, 4096, len(data) // 2, len(data) - 4096):
        (tmp_path / "l").write_bytes(data[:length])
        with pytest.raises(IndexFolderError, match="not a readable lexicon"):
            Lexicon.open(tmp_path / "l")


def test_damage_inside_is_told_as_such(tmp_path):
    path = tmp_path / "l"
    make(path, [f"asthma number {n}" for n in range(3000)])
    data = bytearray(path.read_bytes())
    for page in range(len(data) // 3 // 4096 * 4096, len(data) // 2, 4096):
        data[page : page + 64] = b"\xff" * 64
    path.write_bytes(data)
    lexicon = Lexicon.open(path)
    with pytest.raises(IndexFolderError, match="not a readable lexicon") as caught:
        list(lexicon.texts())
    assert str(path) in str(caught.value)


def test_a_lexicon_that_cannot_be_written(tmp_path):
    with pytest.raises(IndexFolderError, match="cannot be written"):
        write_lexicon(tmp_path / "none" / "l", [], [], [])
