"""Probes: what is read, how it is scored, and that a head and a tuning learn on toy models."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("onnx", reason=REASON)

from transformers import ModernBertForMaskedLM  # noqa: E402

from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.train import probedata, probenet  # noqa: E402
from cmsearch.train.model import (  # noqa: E402
    Shape,
    as_sentence_transformer,
    load_tokenizer,
    new_model,  # noqa: E402
)
from cmsearch.train.probe import Budget, as_json, probe  # noqa: E402
from cmsearch.train.probedata import Labelled  # noqa: E402
from cmsearch.train.probescore import (  # noqa: E402
    entities,
    entity_counts,
    interval,
    label_counts,
    macro_f1,
    mean_of,
    micro_f1,
)
from cmsearch.train.tokenizer import train_tokenizer  # noqa: E402

pytestmark = pytest.mark.train

DISEASES = ["asthma", "gout", "measles", "anemia"]
OTHERS = ["the", "patient", "has", "no", "severe", "daily", "walks", "well"]
TINY = Budget(train=60, test=30, max_tokens=16, steps=30, batch=8, rate=5e-3)


def sentence(number: int) -> list[tuple[str, str]]:
    words = [(OTHERS[(number + step) % 8], "O") for step in range(4)]
    words[number % 4] = (DISEASES[number % 3], "B-Disease")
    return [*words, ("today", "O")]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder like that of the public sets, with tasks that are easy to learn."""
    folder = tmp_path_factory.mktemp("eval")
    for name in ("mentions", "classification", "retrieval"):
        (folder / name).mkdir()
    for split in ("train", "devel", "test"):
        lines = ["\n".join("\t".join(pair) for pair in sentence(n)) + "\n" for n in range(60)]
        path = folder / "mentions" / f"ncbi-disease_{split}.iob.tsv.gz"
        path.write_bytes(gzip.compress("\n".join(lines).encode()))
    splits = ["train", "dev", "test"]
    notes = [
        {"text": f"{DISEASES[n % 2]} {OTHERS[n % 8]}", "label": ["A", None, "B"][n % 3],
         "split": splits[n // 3 % 3]}
        for n in range(180)
    ]  # fmt: skip
    for row in notes:
        row["text"] = f"{'gout' if row['label'] == 'A' else 'asthma'} {row['text']}"
    papers = [
        {"sentences": [["METHODS", "patient walks"], ["RESULTS", f"severe {DISEASES[n % 4]}"]],
         "split": splits[n % 3]}
        for n in range(9)
    ]  # fmt: skip
    write(folder / "classification" / "mtsamples_specialty.jsonl.gz", notes)
    write(folder / "classification" / "rct_roles.jsonl.gz", papers)
    texts = [{"_id": f"t{n}", "text": f"{word} {word}"} for n, word in enumerate(DISEASES + OTHERS)]
    asked = [{"_id": f"q{n}", "text": word} for n, word in enumerate([*DISEASES, "unjudged"])]
    write(folder / "retrieval" / "pubmedqa_corpus.jsonl.gz", texts)
    write(folder / "retrieval" / "pubmedqa_queries.jsonl.gz", asked)
    lines = ["query-id\tcorpus-id\tscore", *(f"q{n}\tt{n}\t1" for n in range(4)), "q0\tt5\t0"]
    (folder / "retrieval" / "pubmedqa_qrels.tsv").write_text("\n".join(lines) + "\n")
    return folder


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in rows).encode()))


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sentence-transformers folder of two layers."""
    folder = tmp_path_factory.mktemp("toy")
    corpus = [" ".join(word for word, _ in sentence(n)) for n in range(40)]
    train_tokenizer([*corpus, *DISEASES, "gout methods results"] * 3, size=200).save(
        str(folder / "tokenizer.json")
    )
    tokenizer = load_tokenizer(folder / "tokenizer.json")
    model = new_model(Shape(layers=2, width=32, inner=48, heads=2), tokenizer)
    model.save_pretrained(folder / "core")
    tokenizer.save_pretrained(folder / "core")
    whole = as_sentence_transformer(folder / "core", max_tokens=64, device="cpu")
    whole.save_pretrained(str(folder / "model"))
    return folder / "model"


# Scores


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ([], set()),
        ([0, 1, 2, 0], {(1, 3)}),
        ([1, 1, 2], {(0, 1), (1, 3)}),
        ([0, 2, 2, 1], {(1, 3), (3, 4)}),
        ([1], {(0, 1)}),
    ],
)
def test_entities(tags: list[int], expected: set[tuple[int, int]]) -> None:
    assert entities(tags) == expected


def test_entity_f1_counts_whole_spans() -> None:
    counts = entity_counts([[0, 1, 2], [1, 0, 1]], [[0, 1, 0], [1, 0, 1]])
    assert counts.tolist() == [[0, 1, 1], [2, 0, 0]]
    assert micro_f1(counts.mean(axis=0)) == pytest.approx(2 / 3)
    assert micro_f1(np.zeros(3)) == 0


def test_macro_f1_against_scikit_learn() -> None:
    library = pytest.importorskip("sklearn.metrics", reason="the extra bench is not installed")
    draws = np.random.default_rng(2)
    gold, found = draws.integers(0, 5, (2, 80))
    counts = label_counts(gold[:, None].tolist(), found[:, None].tolist(), 7)
    expected = library.f1_score(gold, found, average="macro")
    assert macro_f1(counts.mean(axis=0)) == pytest.approx(expected)


def test_an_interval_holds_the_value_and_narrows() -> None:
    rows = (np.random.default_rng(1).random((400, 1)) < 0.7).astype(float)
    low, high = interval(rows, mean_of)
    assert low < rows.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * (0.7 * 0.3 / 400) ** 0.5, rel=0.25)
    assert interval(rows, mean_of) == (low, high)
    few_low, few_high = interval(rows[:40], mean_of)
    assert few_high - few_low > 2 * (high - low)


# Data


def test_what_is_read(data: Path) -> None:
    read = probedata.mentions(data, "ncbi")
    assert read.parts["dev"][1].words == ("patient", "gout", "no", "severe", "today")
    assert read.parts["dev"][1].labels == (0, 1, 0, 0, 0)
    assert len(read.parts["test"]) == 60
    assert probedata.specialties(data).labels == ("A", "B")
    assert len(probedata.roles(data).parts["train"]) == 6
    asked = probedata.questions(data)
    assert asked.questions == tuple(DISEASES)
    assert asked.right[2] == {2}
    assert probedata.some(range(9), 4, seed=1) == probedata.some(range(9), 4, seed=1)
    assert probedata.some(range(3), 0, seed=1) == (0, 1, 2)


def test_what_cannot_be_read(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="--data names the folder"):
        probedata.mentions(tmp_path, "ncbi")
    (tmp_path / "mentions").mkdir()
    path = tmp_path / "mentions" / "ncbi-disease_train.iob.tsv.gz"
    path.write_bytes(gzip.compress(b"a\tO\nb\tB-Gene\n"))
    with pytest.raises(TrainingError, match="row 2: tag 'B-Gene' is none of"):
        probedata.mentions(tmp_path, "ncbi")
    with pytest.raises(TrainingError, match="no task is called 'sleep'"):
        probe(["any"], data, tasks=["sleep"])


# Networks


def test_words_begin_where_their_first_piece_stands(toy: Path, tmp_path: Path) -> None:
    probed = probenet.open_probed(str(toy), device="cpu", scratch=tmp_path)
    item = Labelled(("asthmaasthma", "gout", "daily"), (0, 1, 0))
    (whole,) = probenet.tokenized(probed, [item], max_tokens=64)
    pieces = len(probed.tokenizer.tokenize("asthmaasthma"))
    assert pieces > 1
    assert whole.starts[:2] == [0, pieces]
    (cut,) = probenet.tokenized(probed, [item], max_tokens=pieces)
    assert cut.starts[1:] == [-1, -1]
    (rows,) = probenet.states(probed, [cut], by_word=True)
    assert rows.shape == (3, 32)
    assert rows[0].abs().sum() > 0
    assert rows[1:].abs().sum() == 0


def test_states_do_not_depend_on_the_batch(toy: Path, tmp_path: Path) -> None:
    probed = probenet.open_probed(str(toy), device="cpu", scratch=tmp_path)
    items = [Labelled((text,), (0,)) for text in ["gout", "the patient has gout today", "has"]]
    cut = probenet.tokenized(probed, items, max_tokens=64)
    together = probenet.states(probed, cut, by_word=False)
    for item, expected in zip(cut, together, strict=True):
        assert torch.allclose(
            probenet.states(probed, [item], by_word=False)[0], expected, atol=1e-5
        )
    assert probenet.vectors(probed, ["gout"], max_tokens=9).norm().item() == pytest.approx(1)


def test_a_linear_head_against_scikit_learn() -> None:
    library = pytest.importorskip("sklearn.linear_model", reason="the extra bench is not installed")
    draws = np.random.default_rng(3)
    rows = draws.normal(size=(200, 6)) * [1, 5, 0.1, 1, 1, 1] + 3
    labels = (rows[:, 0] + rows[:, 1] > 6).astype(int) + (rows[:, 3] > 3)
    head = probenet.fit_head(
        torch.tensor(rows, dtype=torch.float32), torch.tensor(labels), 3, decay=1e-3
    )
    scaled = (rows - rows.mean(axis=0)) / rows.std(axis=0, ddof=1)
    theirs = library.LogisticRegression(C=1 / (2 * 1e-3 * 200), max_iter=1000).fit(scaled, labels)
    with torch.no_grad():
        ours = head(torch.tensor(rows, dtype=torch.float32)).softmax(dim=1).numpy()
    assert np.abs(ours - theirs.predict_proba(scaled)).max() < 0.02


def test_the_whole_probe(toy: Path, data: Path) -> None:
    said: list[str] = []
    figures = probe([str(toy)], data, tasks=["ncbi", "specialty", "retrieval", "masked"],
                    budget=TINY, report=said.append)  # fmt: skip
    tasks = ("ncbi", "specialty", "retrieval", "masked")
    assert [line for line in said if line[0] != " "] == [f"model: {task}" for task in tasks]
    assert len(said) == 4 + 7
    found = {(row.task, row.way, row.metric): row for row in figures}
    assert list(found) == [
        ("mentions ncbi", "frozen", "entity F1"),
        ("mentions ncbi", "fine-tuned", "entity F1"),
        ("specialty", "frozen", "accuracy"),
        ("specialty", "frozen", "macro F1"),
        ("specialty", "fine-tuned", "accuracy"),
        ("specialty", "fine-tuned", "macro F1"),
        ("question to abstract", "frozen", "nDCG@10"),
    ]  # no head for masked words, no figure
    assert all(row.low <= row.value <= row.high for row in figures)
    assert found["mentions ncbi", "frozen", "entity F1"].value > 0.9
    assert found["specialty", "fine-tuned", "accuracy"].value > 0.9
    values = json.loads(json.dumps(as_json(figures, TINY)))
    assert values["budget"]["steps"] == 30
    assert len(values["figures"]) == len(figures)


def test_fine_tuning_repeats_by_its_seed(toy: Path, data: Path) -> None:
    short = Budget(train=20, test=20, max_tokens=16, steps=4, batch=4, rate=1e-2, seeds=2)
    one, other = (probe([str(toy)], data, tasks=["ncbi"], budget=short)[-1] for _ in range(2))
    assert one == other
    assert len(one.seeds) == 2
    assert one.value == pytest.approx(np.mean(one.seeds), abs=1e-4)


def test_masked_words_where_there_is_a_head(toy: Path, tmp_path: Path) -> None:
    probed = probenet.open_probed(str(toy), device="cpu", scratch=tmp_path)
    assert probenet.masked_words(probed, ["gout"], share=0.5, max_tokens=9, seed=1) is None
    model = ModernBertForMaskedLM(probed.network.config)
    with torch.no_grad():  # knows one answer
        model.decoder.bias.zero_()
        model.decoder.bias[probed.tokenizer.convert_tokens_to_ids("gout")] = 100
    model.save_pretrained(tmp_path / "mlm")
    probed.tokenizer.save_pretrained(tmp_path / "mlm")
    headed = probenet.open_probed(str(tmp_path / "mlm"), device="cpu", scratch=tmp_path)
    right = probenet.masked_words(headed, ["gout " * 8] * 5, share=0.5, max_tokens=20, seed=1)
    wrong = probenet.masked_words(headed, ["daily " * 8] * 5, share=0.5, max_tokens=20, seed=1)
    assert right is not None and wrong is not None
    assert 10 < len(right) < 40
    assert (right == 0).all()
    assert (wrong > 0).all()
