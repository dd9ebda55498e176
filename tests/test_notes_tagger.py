"""The tagger of condition names: its tokens, features and decoding, and fitting it."""

from __future__ import annotations

import itertools
import json
from importlib.resources import files

import numpy as np
import pytest

from cmsearch.errors import TrainingError
from cmsearch.notes.mentions import Finder, words
from cmsearch.notes.shortforms import ShortForms
from cmsearch.notes.tagger import (
    LABELS,
    TAGGER_FILE,
    Counts,
    Tagger,
    common,
    describe,
    known,
    split,
    stretches,
)


def test_tokens_keep_their_places():
    text = "COPD (GOLD-2), 3.5mg"
    tokens = split(text, 0, len(text))
    assert [token.text for token in tokens] == [
        "COPD", "(", "GOLD", "-", "2", ")", ",", "3", ".", "5", "mg",
    ]  # fmt: skip
    assert all(text[token.begin : token.end] == token.text for token in tokens)


def test_words_of_forms_are_marked(tiny_files):
    text = "severe heart attack"
    spans = Finder(tiny_files.lexicon).spans(words(text, [(0, len(text))]))
    chapters = tiny_files.lexicon.chapters("icd10cm")
    assert known(split(text, 0, len(text)), spans, chapters) == ["-", "B2", "I2"]
    assert known(split(text, 0, len(text)), spans, {}) == ["-", "-", "-"]


def test_counts_are_those_of_the_index(tiny_files):
    counts = Counts(tiny_files.lexicon)
    assert counts(["Diabetes", "zebra"]) == [tiny_files.lexicon.terms(["diabet"])["diabet"][1], 0]
    assert counts(["zebra", "Diabetes"]) == counts(["Diabetes", "zebra"])[::-1]
    assert [common(number) for number in (0, 1, 3, 4, 16, 10**6)] == ["0", "1", "1", "2", "3", "6"]


def best_by_trying(tagger, features):
    """Return the best labels of all sequences, tried one by one."""

    def score(path):
        total = 0.0
        for row, label in enumerate(path):
            total += sum(tagger.weights.get(name, (0, 0, 0))[label] for name in features[row])
            if row:
                total += tagger.transitions[path[row - 1]][label]
        return total if path[0] != 2 else total - 100.0

    return max(itertools.product(range(3), repeat=len(features)), key=score)


def test_decoding_finds_the_best_of_all_sequences():
    chance = np.random.default_rng(3)
    names = [f"f{number}" for number in range(12)]
    weights = {name: tuple(chance.normal(size=3)) for name in names}
    moves = chance.normal(size=(3, 3))
    moves[0][2] = -100.0
    tagger = Tagger(weights, moves.tolist())
    for _ in range(25):
        features = [list(chance.choice(names, 3)) for _ in range(5)]
        wanted = [LABELS[label] for label in best_by_trying(tagger, features)]
        assert tagger.labels(features) == wanted


def test_no_words_have_no_labels():
    assert Tagger({}, [[0.0] * 3] * 3).labels([]) == []


def test_stretches_go_from_b_to_the_last_i():
    text = "aa bb cc dd"
    tokens = split(text, 0, len(text))
    assert stretches(tokens, ["B", "I", "O", "B"]) == [(0, 5), (9, 11)]
    assert stretches(tokens, ["B", "B", "O", "O"]) == [(0, 2), (3, 5)]
    assert stretches([], []) == []


def test_the_shipped_tagger_names_what_it_should(tiny_files):
    shipped = files("cmsearch.notes").joinpath(TAGGER_FILE)
    assert len(shipped.read_bytes()) < 2_000_000
    tagger = Tagger.load()
    text = "Patients with nephrotic syndrome and hypertension were given captopril."
    tokens = split(text, 0, len(text))
    written = [token.text for token in tokens]
    features = describe(written, ["-"] * len(tokens), [0] * len(tokens))
    found = [text[begin:end] for begin, end in stretches(tokens, tagger.labels(features))]
    assert "captopril" not in found
    assert "hypertension" in found


@pytest.mark.train
def test_fitting_learns_to_mark(tmp_path, tiny_files):
    pytest.importorskip("pycrfsuite", reason="needs the training extra")
    from cmsearch.train.tagger import fit, read_marked, score

    lines = []
    for drug, disease in itertools.product(("captopril", "aspirin"), ("gout", "asthma", "measles")):
        lines += [f"{drug}\tO", "for\tO", f"{disease}\tB-Disease", ".\tO", ""]
    path = tmp_path / "marked.tsv"
    path.write_text("\n".join(lines * 3), encoding="utf-8")
    sentences = read_marked(path, tiny_files.lexicon)
    assert len(sentences) == 18
    tagger = Tagger.from_json(json.loads(fit(sentences, rounds=30)))
    assert score(tagger, sentences).f1 == 1.0


@pytest.mark.train
def test_a_line_without_a_label_is_refused(tmp_path, tiny_files):
    from cmsearch.train.tagger import read_marked

    path = tmp_path / "marked.tsv"
    path.write_text("gout\tB\nasthma\n", encoding="utf-8")
    with pytest.raises(TrainingError, match="line 2"):
        read_marked(path, tiny_files.lexicon)


def tagged(sentences):
    """Return the labels of sentences, "word/B word word", after their short forms."""
    short_forms = ShortForms()
    found = []
    for sentence in sentences:
        parts = [word.partition("|") for word in sentence.split()]
        text = " ".join(word for word, _, _ in parts)
        tokens = split(text, 0, len(text))
        labels = [label or "O" for _, _, label in parts]
        assert len(tokens) == len(labels)
        found.append("".join(short_forms.applied(tokens, labels)))
    return found


def test_a_short_form_that_is_explained_as_a_name_is_one():
    assert tagged(["atrial|B fibrillation|I ( AF ) .", "No AF was seen", "AFs and AFX"]) == [
        "BIOBOO",
        "OBOO",
        "BOO",
    ]


def test_a_short_form_of_something_else_is_none():
    assert tagged(["creatine kinase ( CK|B ) rose", "CK|B fell"]) == ["OOOOOO", "OO"]


def test_a_short_form_that_nobody_explains_stays_as_it_is():
    assert tagged(["AF was seen", "CK|B fell"]) == ["OOO", "BO"]
