"""Words and spans of notes: where they stand, and what they are forms of."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cmsearch.notes.mentions import Finder, words
from cmsearch.wording import phrase_key


@pytest.fixture
def finder(tiny_files):
    return Finder(tiny_files.lexicon)


def spans(finder, lexicon, text):
    """Return the text and the codes of each span."""
    found = []
    for span in finder.spans(words(text, [(0, len(text))])):
        concepts = lexicon.concepts([concept for concept, _ in span.forms]).values()
        codes = sorted(row.code for row in concepts if row.system == "icd10cm")
        found.append((text[span.begin : span.end], codes))
    return found


def test_words_keep_their_places_whatever_the_shorthand():
    text = "Pt w/ HTN, h/o MI's; \u00e9pil\u00e9psie"
    found = words(text, [(0, len(text))])
    assert [(word.stem, text[word.begin : word.end]) for word in found] == [
        ("hypertens", "HTN"),
        ("histori", "h/o"),
        ("mi", "MI's"),
        ("epilepsi", "\u00e9pil\u00e9psie"),
    ]


def test_words_know_breaks_and_joints():
    text = "cough and fever; pain"
    found = words(text, [(0, len(text))])
    assert [word.joined for word in found] == [False, True, False]
    assert found[0].run == found[1].run != found[2].run


def test_words_know_what_denies_them():
    text = "asthma, not in crisis, pain without fever w/o chills"
    found = words(text, [(0, len(text))])
    assert {word.stem for word in found if word.denied} == {"crisi", "fever", "chill"}


def test_what_a_short_form_stands_for_is_not_cut(finder):
    text = "XX found"
    read = words(text, [(0, len(text))], {0: ("heart", "attack")})
    assert [(word.stem, word.begin, word.end) for word in read][:2] == [
        ("heart", 0, 2),
        ("attack", 0, 2),
    ]
    assert {span.key for span in finder.spans(read)} == {"attack heart"}


def test_a_form_is_found_in_any_order_and_inflection(finder, tiny_files):
    found = spans(
        finder, tiny_files.lexicon, "He had two heart attacks and pressures of blood high."
    )
    assert ("heart attacks", ["I21.9"]) in found
    assert ("pressures of blood high", ["I10"]) in found


def test_a_break_keeps_words_apart(finder, tiny_files):
    assert spans(finder, tiny_files.lexicon, "Heart: attack of coughing") == []


@pytest.mark.parametrize(
    "text",
    [
        "type 1 and 2 diabetes mellitus",
        "Type 1 or 2 diabetes mellitus",
        "type 1/2 diabetes mellitus",
    ],
)
def test_coordinated_mentions_name_both(finder, tiny_files, text):
    codes = {code for _, found in spans(finder, tiny_files.lexicon, text) for code in found}
    assert {"E10", "E11"} <= codes


def test_only_telling_words_count(finder, tiny_files):
    assert spans(finder, tiny_files.lexicon, "asthma, unspecified")[0][1] == ["J45"]


def test_keys_have_each_stem_once_in_order():
    assert phrase_key(["b", "a", "b"]) == "a b"
    assert phrase_key([]) == ""


@settings(max_examples=150, deadline=None)
@given(
    st.text(
        alphabet=st.sampled_from("heart atck ,;and/1\u0660\n\x00\ud800\u202e\U0001f600."),
        max_size=80,
    )
)
def test_spans_lie_in_the_text_whatever_it_is(tiny_files, text):
    found = words(text, [(0, len(text))])
    for span in Finder(tiny_files.lexicon).spans(found):
        assert 0 <= span.begin < span.end <= len(text)
        assert 0 <= span.first < span.last <= len(found)
        assert found[span.first].begin == span.begin
        assert found[span.last - 1].end == span.end
