"""Pairs from texts: what a question, a title and a sentence of a coded note are paired with."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

pytest.importorskip("zstandard", reason="the training extra is not installed")

from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.train.documents import Document  # noqa: E402
from cmsearch.train.terms import Pair, is_held_out  # noqa: E402
from cmsearch.train.textpairs import (  # noqa: E402
    TEXT_SOURCES,
    abstract_pairs,
    consumer_pairs,
    evidence_pairs,
    text_pairs,
)

pytestmark = pytest.mark.train
KNOWN = {
    "inclusion": [Pair("grippe with fever", "Influenza", "icd10cm:J11.1", "inclusion")],
    "vocabulary": [Pair("flu", "Influenza", "icd10cm:J11.1", "vocabulary")],
    "linked": [Pair("cough", "Influenza", "icd10cm:J11.1", "linked")],
}


def test_a_question_and_its_answer_mean_the_condition() -> None:
    text = "Cowden syndrome\nWhat is (are) Cowden syndrome ?\nIt is inherited by many. It grows."
    found = list(consumer_pairs([Document("consumer", "x", text), Document("notes", "y", text)]))
    assert [(pair.query, pair.target) for pair in found] == [
        ("What is (are) Cowden syndrome ?", "Cowden syndrome"),
        ("It is inherited by many.", "Cowden syndrome"),
    ]
    assert {pair.concept for pair in found} == {"consumer:cowden syndrome"}
    assert not list(consumer_pairs([Document("consumer", "x", "A title alone")]))


def test_a_conclusion_means_its_title() -> None:
    text = "Aspirin in stroke\nWe gave aspirin to many people. Aspirin was better than nothing."
    (pair,) = abstract_pairs([Document("abstracts", "x", text), Document("articles", "y", text)])
    assert (pair.query, pair.target) == ("Aspirin was better than nothing.", "Aspirin in stroke")
    assert not list(abstract_pairs([Document("abstracts", "x", "No title, one line of text.")]))


def test_a_sentence_with_the_words_of_a_code_is_its_evidence() -> None:
    note = "He was well. He had fever and the grippe since then. The flu was mild."
    (pair,) = evidence_pairs([(note, ["J11.1", "Z00.0"])], KNOWN)
    assert (pair.target, pair.concept) == ("Influenza", "icd10cm:J11.1")
    assert pair.query == "He had fever and the grippe since then."
    assert not list(evidence_pairs([("He had a cough.", ["J11.1"])], KNOWN))
    assert not list(evidence_pairs([(note, ["Z00.0"])], KNOWN))


def test_only_wanted_sources_are_read_and_nothing_that_is_held_out(tmp_path: Path) -> None:
    rows = [
        {"source": "medquad_nih", "id": str(row), "text": f"Disease {row}\nWhat is disease {row} ?"}
        for row in range(300)
    ]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    found = text_pairs(["index", "consumer"], KNOWN, corpus=tmp_path, coded=None)
    assert set(found) == {"consumer"}
    assert 280 <= len(found["consumer"]) < 300
    assert not any(is_held_out(pair.query) for pair in found["consumer"])
    assert text_pairs(["index"], KNOWN, corpus=None, coded=None) == {}


def test_what_a_source_needs_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--coded"):
        text_pairs(["evidence"], KNOWN, corpus=tmp_path, coded=None)
    for source in set(TEXT_SOURCES) - {"evidence"}:
        with pytest.raises(TrainingError, match="--corpus"):
            text_pairs([source], KNOWN, corpus=None, coded=None)
    with pytest.raises(TrainingError, match="No such file"):
        text_pairs(["evidence"], KNOWN, corpus=None, coded=tmp_path / "none.jsonl")
    coded = tmp_path / "coded.jsonl.gz"
    good = json.dumps({"id": "1", "text": "He had the flu.", "codes": ["J11.1"]})
    coded.write_bytes(gzip.compress(f"{good}\n".encode()))
    found = text_pairs(["evidence"], KNOWN, corpus=None, coded=coded)
    assert [pair.query for pair in found["evidence"]] == ["He had the flu."]
    coded.write_bytes(gzip.compress(f'{good}\n{{"text": "SECRET"}}\n'.encode()))
    with pytest.raises(TrainingError, match="line 2") as caught:
        text_pairs(["evidence"], KNOWN, corpus=None, coded=coded)
    assert "SECRET" not in str(caught.value)
