"""Figure 3's logic on toy models: what is run is what transformers computes, and counted right."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("onnx", reason=REASON)

from transformers import (  # noqa: E402
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertModel,
)

pytest.importorskip("benchmarks", reason="not in a checkout")
from benchmarks import figure3  # noqa: E402
from benchmarks.figure3 import Timing, batches, exponents, notes_of, padded, table  # noqa: E402
from benchmarks.growth import Growth, cost  # noqa: E402
from benchmarks.long_context import NEEDLES, hit, note, passages  # noqa: E402
from benchmarks.networks import Network, PostNorm, networks, ours  # noqa: E402
from cmsearch.codes import Code, System  # noqa: E402
from cmsearch.encoder.onnx import OnnxEncoder, ShippedConfig  # noqa: E402
from cmsearch.train.export import write_fp32, write_int8  # noqa: E402
from cmsearch.train.inference import Inference  # noqa: E402
from cmsearch.train.model import Shape  # noqa: E402

pytestmark = [
    pytest.mark.train,
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:cmsearch.train.export"),
]

SMALL = Shape(layers=3, width=32, inner=48, heads=2)
BERT = BertConfig(vocab_size=50, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
                  intermediate_size=64)  # fmt: skip
DISTIL = DistilBertConfig(vocab_size=50, dim=32, n_layers=2, n_heads=2, hidden_dim=64)


def toy(name: str, kind: Any, config: Any, export: Any) -> Network:
    def make(attention: str) -> Any:
        torch.manual_seed(1)
        return kind._from_config(config, attn_implementation=attention).eval()

    return Network(name, make, export)


@pytest.fixture(scope="module")
def toys() -> list[Network]:
    config = ours(SMALL)
    return [
        toy("BERT-base", BertModel, BERT, PostNorm),
        toy("cmsearch small", ModernBertModel, config, lambda model: Inference(model, dim=32)),
    ]


@pytest.mark.parametrize(("kind", "config"), [(BertModel, BERT), (DistilBertModel, DISTIL)])
@torch.no_grad()
def test_what_is_exported_of_a_peer_equals_it(kind: Any, config: Any, tmp_path: Path) -> None:
    import onnxruntime

    torch.manual_seed(2)
    model = kind(config).eval()
    write_fp32(PostNorm(model).eval(), tmp_path / "peer.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "peer.onnx"))
    for shape in ((3, 9), (1, 40)):
        ids = torch.randint(0, 50, shape)
        hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        right = torch.nn.functional.normalize(hidden.mean(dim=1), dim=-1)
        assert torch.allclose(PostNorm(model)(ids), right, atol=1e-5)
        found = session.run(None, {"input_ids": ids.numpy()})[0]
        assert np.abs(found - right.numpy()).max() < 1e-5


def test_the_four_networks_are_what_they_are_called() -> None:
    assert [network.name for network in networks()] == [
        "DistilBERT", "BERT-base", "ModernBERT-base", "cmsearch small",
    ]  # fmt: skip
    config = ours()
    assert (config.num_hidden_layers, config.hidden_size) == (6, 384)
    assert config.layer_types.count("full_attention") == 2
    assert set(ours(local_only=True).layer_types) == {"sliding_attention"}


def test_notes_are_the_same_for_everybody() -> None:
    notes = notes_of(128, 50)
    assert notes == notes_of(128, 50)
    sizes = [len(note) for note in notes]
    assert (max(sizes), min(sizes) >= 64) == (128, True)
    assert max(max(note) for note in notes) < 24_000  # every vocabulary has these numbers


def test_batches_hold_every_note_once_and_like_lengths_together() -> None:
    notes = notes_of(40, 60)
    made = list(batches(notes, 200))
    assert sorted(note for batch in made for note in batch) == sorted(notes)
    assert all(len(batch) * len(batch[0]) <= 200 or len(batch) == 1 for batch in made)
    widths = [len(note) for batch in made for note in batch]
    assert widths == sorted(widths, reverse=True)
    block, mask = padded([[5, 6], [7]], 4)
    assert block.tolist() == [[5, 6, 0, 0], [7, 0, 0, 0]]
    assert mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]


def test_the_columns_run_every_note(
    toys: list[Network], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure3, "notes_of", lambda length, count: [[5] * length] * count)
    clock = iter(range(100))
    monkeypatch.setattr(figure3.time, "process_time", lambda: next(clock))
    found = figure3.measure(toys, [6, 12], 24, "cpu", tmp_path)
    assert [(row.model, row.length, row.column, row.notes) for row in found] == [
        (model, length, column, 24 // length)
        for model in ("BERT-base", "cmsearch small")
        for length in (6, 12)
        for column in ("alike", "as published")
    ]
    assert {row.times_bert for row in found} == {1.0}  # the clock ticks alike


@pytest.mark.parametrize(
    ("kind", "config"), [(BertModel, BERT), (DistilBertModel, DISTIL), (ModernBertModel, None)]
)
@torch.no_grad()
def test_notes_without_padding_have_the_vectors_that_each_has_alone(
    kind: Any, config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(figure3, "_CUDA_TOKENS", 300)
    network = toy("a", kind, config or ours(SMALL), None)
    notes = [[number % 50 for number in note] for note in notes_of(200, 7)]
    found = figure3._in_line(network, "cpu", compiled=False)(notes, 200)
    model = network.make("sdpa")
    longest_first = sorted(notes, key=len, reverse=True)
    right = [model(torch.tensor([note])).last_hidden_state.mean(dim=1) for note in longest_first]
    assert torch.allclose(found, torch.cat(right), atol=1e-5)


def test_ratios_and_extrapolation() -> None:
    rows = [Timing("BERT-base", 24, "alike", 100, 2.0), Timing("x", 24, "alike", 100, 0.5, 4.0)]
    lines = table(rows, [], [10_000])
    assert lines[2] == "| alike | 24 | BERT-base | 20.00 | 200 s | 1.0 |"
    assert lines[3] == "| alike | 24 | x | 5.00 | 50 s | 4.0 |"


def test_the_power_of_growth() -> None:
    rows = [Growth("line", n, 0.001 * n, 1) for n in (512, 1024, 4096)]
    rows += [Growth("square", n, 1e-6 * n * n, 1) for n in (512, 1024, 4096)]
    assert exponents(rows) == {"line": 1.0, "square": 2.0}


def test_growth_runs_what_was_exported(toys: list[Network], tmp_path: Path) -> None:
    with torch.no_grad():
        write_int8(toys[1].export(toys[1].make("sdpa")).eval(), tmp_path / "model.onnx")
    seconds, megabytes = cost(tmp_path, 300, dim=32)
    assert seconds > 0
    assert megabytes >= 0
    config = ShippedConfig("toy", "", "mean", 32, 8192, 0)
    found = OnnxEncoder(tmp_path, config).encode_ids([[5] * 300, [6], [5] * 300, [6]])
    assert np.allclose(found[0], found[2], atol=1e-5)
    assert np.allclose(found[1], found[3], atol=1e-5)
    assert np.abs(found[0] - found[1]).max() > 1e-3


def test_the_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    rows = [Timing(name, length, column, 10, 1.0) for name in ("a", "b") for length in (24, 128)
            for column in ("alike", "as published")]  # fmt: skip
    grown = [Growth("ours", n, n * 1.0, 1) for n in (512, 1024)]
    for number, part in enumerate((grown, [])):
        path = tmp_path / f"{number}.png"
        figure3.draw(rows, part, path, notes=10_000)
        assert path.read_bytes().startswith(b"\x89PNG")


def test_a_needle_stands_at_its_depth(shipped: OnnxEncoder) -> None:
    needle = NEEDLES[0][0]
    for depth, least, most in ((0, 0, 0), (5, 0.45, 0.65), (9, 1, 1)):
        sentences = note(shipped, needle, tokens=300, depth=depth, seed=1)
        assert sentences.count(needle) == 1
        assert least <= sentences.index(needle) / (len(sentences) - 1) <= most
        (ids,) = shipped.tokenize([" ".join(sentences)])
        assert 300 <= len(ids) < 345
    assert passages(["a", "b"]) == ["a b"]
    assert passages(["a", "b", "c", "d"]) == ["a b c", "b c d"]


def test_the_needle_is_found_by_its_passage(shipped: OnnxEncoder) -> None:
    titles = ["Multiple sclerosis", *(f"Other {word}" for word in "abcdefghijklmnopqrst")]
    codes = [Code("G35", System.ICD10CM), *(Code(f"A{n}", System.ICD10CM) for n in range(10, 30))]
    vectors = shipped.encode(titles)
    sentences = note(shipped, NEEDLES[0][0], tokens=100, depth=4, seed=1)
    assert hit(shipped.encode(passages(sentences)), vectors, codes, "G35")
    assert not hit(-vectors[:1], vectors, codes, "G35")


@pytest.fixture(scope="module")
def shipped() -> OnnxEncoder:
    return OnnxEncoder.load()
