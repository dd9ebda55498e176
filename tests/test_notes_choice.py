"""The model that chooses: its trees, its calibration, its features, and fitting it."""

from __future__ import annotations

import json
from dataclasses import replace
from importlib.resources import files

import numpy as np
import pytest

from cmsearch.codes import System
from cmsearch.errors import TrainingError
from cmsearch.notes.choice import FEATURES, MODEL_FILE, Choice, features
from cmsearch.notes.experience import Experience
from cmsearch.notes.reading import Reader
from cmsearch.notes.trees import Trees

ICD10 = (System.ICD10CM,)
STUMP = {
    "feature": [1, -1, 0, -1, -1],
    "threshold": [0.5, 0, -1.0, 0, 0],
    "left": [1, 1, 3, 3, 4],
    "right": [2, 1, 4, 3, 4],
    "value": [0, 0.25, 0, 2.0, -3.0],
}
LEAF = {"feature": [-1], "threshold": [0], "left": [0], "right": [0], "value": [1.0]}


def walked(tree, row):
    """Return the leaf of a row, walked node by node."""
    node = 0
    while tree["feature"][node] >= 0:
        below = row[tree["feature"][node]] <= tree["threshold"][node]
        node = tree["left"][node] if below else tree["right"][node]
    return tree["value"][node]


def test_trees_walk_like_a_person_would():
    trees = Trees.from_json([STUMP, LEAF])
    table = np.random.default_rng(1).normal(size=(50, 2)).astype(np.float32)
    wanted = [walked(STUMP, row) + walked(LEAF, row) for row in table]
    np.testing.assert_allclose(trees.logits(table), wanted, rtol=1e-6)


def test_a_value_at_the_threshold_goes_left():
    trees = Trees.from_json([STUMP])
    assert trees.logits(np.array([[9.0, 0.5]], dtype=np.float32)).tolist() == [0.25]


def test_no_rows_and_no_trees_are_fine():
    assert Trees.from_json([STUMP]).logits(np.empty((0, 2), np.float32)).shape == (0,)
    assert Trees.from_json([]).logits(np.ones((3, 2), np.float32)).tolist() == [0, 0, 0]


def test_the_shipped_model_is_small_and_its_calibration_rises():
    shipped = files("cmsearch.notes").joinpath(MODEL_FILE)
    assert len(shipped.read_bytes()) < 2_000_000
    choice = Choice.load()
    assert (np.diff(choice.corners) > 0).all()
    assert (np.diff(choice.heights) >= 0).all()
    assert 0 < choice.heights[0] < choice.threshold < choice.heights[-1] < 1
    assert min(count for count, _ in choice.experience.phrases.values()) >= 2


def test_a_model_of_other_features_is_refused():
    values = json.loads(files("cmsearch.notes").joinpath(MODEL_FILE).read_text("utf-8"))
    values["features"][0] = "something else"
    with pytest.raises(ValueError, match="other features"):
        Choice.from_json(values)


def test_experience_comes_back_from_json():
    experience = Choice.load().experience
    again = Experience.from_json(json.loads(json.dumps(experience.to_json())))
    assert again == experience


def table_of(reader, text, experience):
    reading = reader.read(text)
    items = reader.candidates(reading, experience, ICD10)
    table = reader.features(reading, items, experience)
    return {
        item.concept.code: dict(zip(FEATURES, row.tolist(), strict=True))
        for item, row in zip(items, table, strict=True)
    }


def test_features_say_what_the_note_says(tiny_files):
    experience = Experience(
        10, {"I10": 5}, {"I10": 5}, {"I10": (4, 3)}, {"I10 blood high pressur": (4, 3)}, {}, {}
    )
    found = table_of(
        Reader(tiny_files.lexicon),
        "High blood pressure. No asthma. He has high blood pressure.",
        experience,
    )
    own = found["I10"]
    assert (own["words"], own["mentions"], own["prior"]) == (3, 2, 0.5)
    assert own["given_when_mentioned"] == pytest.approx((3 + 0.3) / 5)
    assert own["given_by_phrase"] == pytest.approx((3 + 0.3) / 5)
    assert (own["present"], own["negated"]) == (1, 0)
    assert found["J45"]["negated"] == 1
    assert found["J45"]["child_is_candidate"] in (0, 1)


def test_no_candidates_are_no_rows():
    table = features([], Experience.none(), words=0, rarity={})
    assert table.shape == (0, len(FEATURES))


lightgbm = pytest.importorskip("lightgbm", reason="needs the training extra")


@pytest.fixture(scope="module")
def fitted(tiny_files):
    """A model of a coder who codes angina and heart attacks, but never asthma."""
    from cmsearch.train.notes import CodedNote, fit
    from cmsearch.train.notes_config import NotesConfig

    reader = Reader(tiny_files.lexicon)
    lines = [
        ("Asthma and a heart attack.", ["I21.9"]),
        ("Known asthma. Crescendo angina.", ["I20.0"]),
        ("Heart attack, then asthma.", ["I21.9"]),
        ("Pressing: crescendo angina. Asthma.", ["I20.0"]),
        ("Asthma alone.", []),
    ]
    notes = [
        CodedNote.of({"id": number, "text": text, "codes": codes}, reader)
        for number, (text, codes) in enumerate(lines * 12)
    ]
    config = NotesConfig(folds=5, rounds=30, leaves=4, least=5)
    return reader, notes, config, fit(notes, reader, config)


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
def test_fitting_learns_what_is_given(fitted):
    reader, _, _, (text, f1) = fitted
    choice = Choice.from_json(json.loads(text))
    assert f1 > 0.9
    reading = reader.read("Crescendo angina, asthma.")
    items = reader.candidates(reading, choice.experience, ICD10)
    chances = choice.probabilities(reader.features(reading, items, choice.experience))
    likely = dict(zip([item.concept.code for item in items], chances.tolist(), strict=True))
    assert likely["I20.0"] > 0.8 > 0.2 > likely["J45"]


@pytest.mark.train
@pytest.mark.filterwarnings("ignore")
def test_the_written_trees_are_those_that_were_fitted(fitted):
    from cmsearch.train.boosting import boost, nodes
    from cmsearch.train.notes import crossed

    reader, notes, config, _ = fitted
    judged = crossed(notes, reader, config)
    booster = boost(judged, config)
    table = np.vstack([item.features for item in judged])
    np.testing.assert_allclose(
        Trees.from_json(nodes(booster)).logits(table),
        booster.predict(table, raw_score=True),
        atol=1e-4,
    )


@pytest.mark.train
def test_counts_of_a_fold_know_nothing_of_its_notes(fitted):
    from cmsearch.train.notes import count, judge

    reader, notes, config, _ = fitted
    odd = replace(notes[0], codes=frozenset(("I10",)))
    without = count(notes[1:], config)
    assert without.prior("I10") == 0
    assert count([odd, *notes[1:]], config).prior("I10") > 0
    assert judge(odd, reader, without).right.sum() == 0


@pytest.mark.train
def test_too_few_notes_are_refused(fitted):
    from cmsearch.train.notes import fit

    reader, notes, config, _ = fitted
    with pytest.raises(TrainingError, match="too few"):
        fit(notes[:3], reader, config)


@pytest.mark.train
def test_a_recipe_with_an_unread_key_is_refused(tmp_path):
    from cmsearch.train.notes_config import NotesConfig

    recipe = tmp_path / "recipe.toml"
    recipe.write_text("rounds = 5\nturns = 3\n", encoding="utf-8")
    with pytest.raises(TrainingError, match="nothing reads turns"):
        NotesConfig.load(recipe)
    recipe.write_text("rounds = 5\n", encoding="utf-8")
    assert NotesConfig.load(recipe).rounds == 5


@pytest.mark.train
def test_lines_that_are_no_coded_notes_are_refused_without_their_words(tmp_path, tiny_files):
    from cmsearch.train.notes import read_coded

    path = tmp_path / "notes.jsonl"
    path.write_text('{"id": "1", "text": "SECRET words"}\n', encoding="utf-8")
    with pytest.raises(TrainingError, match="line 1") as caught:
        read_coded(path, Reader(tiny_files.lexicon))
    assert "SECRET" not in str(caught.value)


@pytest.mark.train
def test_silver_notes_name_codes_that_no_coder_gave(tiny_files):
    from cmsearch.train.documents import Document
    from cmsearch.train.silver import assembled, drawn, wordings

    texts = [Document("notes", str(row), f"{row}. " + "Short. " * 300) for row in range(9)]
    other = [Document("notes", "x", "brief"), Document("articles", "y", "Long. " * 300)]
    assert drawn([*texts, *other], 100, 1) != [one.text for one in texts]
    assert sorted(drawn([*texts, *other], 100, 1)) == sorted(one.text for one in texts)
    assert drawn(texts, 3, 1) == drawn(texts, 3, 1) != drawn(texts, 3, 2)
    every = wordings(tiny_files.lexicon, set())
    some = wordings(tiny_files.lexicon, {"I21.9"})
    assert every.keys() - some.keys() == {"I21.9"}
    notes = assembled([one.text for one in texts], some, 1)
    assert notes == assembled([one.text for one in texts], some, 1)
    for text, code in notes:
        assert any(wording in text for wording in some[code])


@pytest.mark.train
def test_a_silver_note_teaches_of_new_codes_alone():
    from cmsearch.train.boosting import Judged
    from cmsearch.train.silver import new_to_coders

    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    judged = Judged(("A00", "B00", "C00"), table, np.ones(3, dtype=np.float32))
    kept = new_to_coders(judged, {"B00"}, {"C00", "B00"})
    assert kept.codes == ("A00", "C00")
    assert kept.features.tolist() == [[0, 1], [4, 5]]
    assert kept.right.tolist() == [0, 1]


@pytest.mark.train
def test_silver_notes_need_a_corpus(tmp_path, tiny_files):
    from cmsearch.train.notes import fit_to_file
    from cmsearch.train.notes_config import NotesConfig

    with pytest.raises(TrainingError, match="--corpus"):
        fit_to_file(NotesConfig(silver=3), tmp_path / "x", tiny_files.folder, tmp_path / "out.json")
