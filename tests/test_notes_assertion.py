"""What notes say of conditions: negated, possible, hypothetical, historical, family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.assertion import labels, main, predict, scores
from cmsearch.notes.assertion import EFFECTS, Context, contexts
from cmsearch.notes.layout import segments
from cmsearch.notes.rules import classes, rows, spelled_out
from cmsearch.types import Assertion

DEV = Path(__file__).parents[2] / "shared" / "data" / "eval" / "negation" / "negex_dev.jsonl"


def said(text: str) -> dict[str, str]:
    """Return what a note says of each word in capitals of at least five letters."""
    spans, place = [], 0
    for word in text.split():
        place = text.index(word, place)
        bare = word.strip(".,;:()")
        if bare.isupper() and len(bare) > 4:
            begin = text.index(bare, place)
            spans.append((begin, begin + len(bare)))
        place += len(word)
    found = contexts(text, segments(text), spans)
    return {
        text[begin:end].lower(): context.assertion.value
        for (begin, end), context in zip(spans, found, strict=True)
    }


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # lists, and where they end
        ("He has no FEVER, CHILLS or SEIZURES.", "negated negated negated"),
        ("No FEVER but has COUGHING.", "negated present"),
        ("Denies FEVER, reports COUGHING.", "negated present"),
        ("He denies FEVER, CHILLS, has mild HEADACHE.", "negated negated present"),
        ("No FRACTURE; ARTHRITIS of the knee.", "negated present"),
        ("No history of ASTHMA who presents with COUGHING", "negated present"),
        ("Without NAUSEA, normal APPETITE.", "negated present"),
        # cues behind
        ("PNEUMONIA was ruled out.", "negated"),
        ("NAUSEA and vomiting are absent, FEVER is high", "negated present"),
        ("Tests for MALARIA: negative.", "negated"),
        ("FEVER: no", "negated"),
        ("FEVER - denies", "negated"),
        ("The nodes are negative for CANCER.", "negated"),
        ("Guided ASPIRATION gave negative material", "present"),
        ("PNEUMONIA unlikely", "negated"),
        ("(-) FEVER (+) CHILLS (-) SWEATS", "negated present negated"),
        ("Negative for MALARIA, positive for CHOLERA", "negated present"),
        # words that only look like a cue
        ("Gram negative SEPSIS", "present"),
        ("ASTHMA without improvement.", "present"),
        ("Not only FEVER", "present"),
        ("No increase in EDEMA", "present"),
        ("ASTHMA is not well controlled", "present"),
        ("Non-Hodgkin LYMPHOMA", "present"),
        ("Non-displaced FRACTURE", "present"),
        # possible
        ("Rule out PNEUMONIA.", "possible"),
        ("Possible PNEUMONIA vs. ASTHMA", "possible possible"),
        ("PNEUMONIA cannot be excluded.", "possible"),
        ("Cannot rule out PNEUMONIA", "possible"),
        ("Opacity consistent with PNEUMONIA", "possible"),
        ("Not consistent with PNEUMONIA", "negated"),
        ("PNEUMONIA is likely.", "possible"),
        ("I do not think that she has PNEUMONIA", "negated"),
        ("It is not clear whether this is PNEUMONIA", "possible"),
        # hypothetical
        ("Return if FEVER or SWELLING develop.", "hypothetical hypothetical"),
        ("Risks include BLEEDING and INFECTION.", "hypothetical hypothetical"),
        ("Aspirin to prevent STROKES", "hypothetical"),
        # historical
        ("History of ASTHMA.", "historical"),
        ("s/p APPENDECTOMY in 2004", "historical"),
        ("STROKES three years ago", "historical"),
        ("A two-day history of FEVER", "present"),
        ("History and physical: ASTHMA", "present"),
        ("In 2013 he came with ASTHMA", "present"),
        # family
        ("His mother had ASTHMA.", "family"),
        ("Mother reports FEVER.", "present"),
        ("ASTHMA in his father", "family"),
        ("Accompanied by his mother with FEVER", "present"),
        ("Father had ASTHMA; patient has FEVER.", "family present"),
        ("History of CANCER in her mother", "family"),
        ("Discussed with her mother that she has ASTHMA", "present"),
        ("His maternal aunt had no ASTHMA", "family"),
    ],
)
def test_cues(text, expected):
    assert list(said(text).values()) == expected.split()


def test_a_list_inherits_from_the_line_before_it():
    text = "The patient denies:\n- FEVER\n- CHILLS\n\nHas COUGHING."
    assert said(text) == {"fever": "negated", "chills": "negated", "coughing": "present"}
    text = "Return for any of the following:\n- FEVER\n- CHILLS"
    assert set(said(text).values()) == {"hypothetical"}
    assert said("The patient has:\n- FEVER") == {"fever": "present"}


def test_the_cell_beside_a_condition_answers():
    assert said("DIABETES | No\nASTHMA | Yes\nMIGRAINE\tdenies") == {
        "diabetes": "negated", "asthma": "present", "migraine": "negated",
    }  # fmt: skip
    assert said("ALLERGIES: None.") == {"allergies": "negated"}


def test_sections_have_their_defaults():
    text = "Family History: ASTHMA.\nPMH: EPILEPSY.\nReturn precautions: FEVER.\nHPI: COUGHING."
    assert list(said(text).values()) == ["family", "historical", "hypothetical", "present"]


def test_more_than_one_may_hold_and_precedence_is_fixed():
    text = "PMH: His mother had no asthma"
    [context] = contexts(text, segments(text), [(23, 29)])
    assert context == Context(negated=True, historical=True, family=True)
    assert context.assertion is Assertion.FAMILY
    order = ["family", "negated", "hypothetical", "possible", "historical"]
    for number, effect in enumerate(order):
        holds = Context(**dict.fromkeys(order[number:], True))
        assert holds.assertion is Assertion(effect)
    assert Context().assertion is Assertion.PRESENT
    assert set(EFFECTS) == set(order)


def test_a_cue_inside_a_mention_does_not_touch_it_and_one_that_overlaps_does():
    text = "Family history of asthma is no acute distress"
    layout = segments(text)
    whole, distress = contexts(text, layout, [(0, 24), (31, 45)])
    assert not whole.family
    assert distress.negated  # the cue is "no acute"


def test_spans_outside_every_segment_are_answered():
    text = "  No fever.   "
    layout = segments(text)
    assert contexts(text, layout, [(0, 1), (12, 14), (5, 10)])[2].negated
    assert contexts("", [], [(0, 0)]) == [Context()]
    assert contexts(text, layout, []) == []


def test_the_data_is_sound():
    for cue, effect, direction, reach, source in rows("cues"):
        assert effect in (*EFFECTS, "none")
        assert direction in ("forward", "backward", "none")
        assert (effect == "none") is (direction == "none")
        assert not reach or int(reach) > 0
        assert source and list(spelled_out(cue))
    cues = [(row[0], row[1], row[2]) for row in rows("cues")]
    assert len(cues) == len(set(cues))
    for words, ends, direction, source in rows("stops"):
        assert ends == "all" or set(ends.split(",")) <= set(EFFECTS)
        assert direction in ("forward", "backward", "both")
        assert source and words
    assert "mother" in classes()["relative"]


@given(
    st.lists(st.sampled_from(
        ["no", "denies", ",", "fever", ".", "\n", ":", "was", "ruled", "out", "mother", "has",
         "but", "3", "1999", "years", "ago", "if", "-", "|", "negative", "for", "Family History:"]
    )).map(" ".join),
    st.lists(st.tuples(st.integers(0, 80), st.integers(0, 20))),
)  # fmt: skip
def test_any_span_of_any_text_has_a_context(text, places):
    spans = [(begin, begin + length) for begin, length in places]
    found = contexts(text, segments(text), spans)
    assert len(found) == len(spans)
    alone = [contexts(text, segments(text), [span])[0] for span in spans]
    assert found == alone


def test_the_benchmark_counts():
    assert scores(["a", "a", "b"], ["a", "b", "b"])["accuracy"] == 0.6667
    assert scores(["a", "a", "b"], ["a", "b", "b"])["b"] == {
        "precision": 0.5, "recall": 1.0, "f1": 0.6667, "cases": 1,
    }  # fmt: skip
    assert labels(predict("No FEVER.", "fever"))["negation"] == "negated"


@pytest.mark.shared
def test_negation_of_the_development_sentences(monkeypatch, capsys):
    if not DEV.exists():
        pytest.skip("the development data is not beside the checkout")
    monkeypatch.setattr("sys.argv", ["assertion", str(DEV)])
    main()
    report = json.loads(capsys.readouterr().out)
    assert report["negation"]["negated"]["f1"] >= 0.95
    assert report["temporality"]["accuracy"] >= 0.92
    assert report["experiencer"]["accuracy"] >= 0.99
