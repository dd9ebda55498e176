"""Pretraining on a toy: the architecture, packed attention, resuming, what is left behind."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("optimi", reason=REASON)

from safetensors.torch import load_file, save_file  # noqa: E402
from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import (  # noqa: E402
    AutoModel,
    BertConfig,
    BertForMaskedLM,
    ModernBertForMaskedLM,
    ModernBertModel,
)

from cmsearch.encoder.torch import TorchEncoder  # noqa: E402
from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.train import attention, mlm  # noqa: E402
from cmsearch.train.corpus import Shards, write_shards  # noqa: E402
from cmsearch.train.documents import Document  # noqa: E402
from cmsearch.train.embeddings import read_embeddings  # noqa: E402
from cmsearch.train.feed import Feed, attended  # noqa: E402
from cmsearch.train.journal import Moment, read_log  # noqa: E402
from cmsearch.train.model import SIZES, Shape, load_tokenizer, pretrained  # noqa: E402
from cmsearch.train.pretrain import Run, _filled, pretrain  # noqa: E402
from cmsearch.train.pretrain_config import PretrainConfig  # noqa: E402
from cmsearch.train.schedule import Phase, place, rate_at, tokens_before  # noqa: E402
from cmsearch.train.speed import step_flops  # noqa: E402
from cmsearch.train.tokenizer import train_tokenizer  # noqa: E402

pytestmark = pytest.mark.train

SITES = ("lung", "heart", "liver", "kidney", "brain", "skin", "knee", "bladder")
FAULTS = ("infection", "fracture", "swelling", "pain", "cancer", "bleeding", "burn", "palsy")
PHASES = (
    Phase("warmup", 2, length=32, rows=4, micro=4),
    Phase("constant", 4, length=32, rows=4, micro=2),
    Phase("decay", 2, length=64, rows=2, micro=2, mask=0.15, theta=200_000.0),
)
TOY = PretrainConfig(
    size="toy", rate=2e-3, save_steps=3, log_steps=1, valid_steps=4, valid_rows=8, phases=PHASES
)


@pytest.fixture(scope="module", autouse=True)
def toy_size() -> Any:
    """A size of four layers, the first and the last of them global."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "toy", Shape(layers=4, width=64, inner=64, heads=2))
        yield


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token shards of 400 short notes."""
    folder = tmp_path_factory.mktemp("shards")
    texts = [
        f"{fault} of the {site}, day {day}; the patient has {fault} in the {site}."
        for site in SITES
        for fault in FAULTS
        for day in range(7)
    ]
    train_tokenizer(texts, size=200).save(str(folder / "tokenizer.json"))
    documents = [Document("notes", str(number), text) for number, text in enumerate(texts)]
    write_shards(documents, folder / "tokenizer.json", folder / "shards")
    return folder / "shards"


class Stopped(Exception):
    """What a test raises in the middle of a run."""


def stop_at(step: int) -> Any:
    def report(moment: Moment) -> None:
        if moment.step == step:
            raise Stopped

    return report


@pytest.fixture(scope="module")
def whole(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run without a break."""
    out = tmp_path_factory.mktemp("runs") / "whole"
    assert pretrain(TOY, shards, out) == out / "model"
    return out


def build(shards: Path, config: PretrainConfig, out: Path) -> Run:
    out.mkdir(exist_ok=True)
    return Run(config, Shards.open(shards), out)


def toy_model(shards: Path) -> ModernBertForMaskedLM:
    tokenizer = load_tokenizer(shards / "tokenizer.json")
    return mlm.new_mlm("toy", tokenizer, local_theta=10_000.0, theta=160_000.0, seed=3).eval()


# What is built


def test_what_is_built_is_a_modernbert(shards: Path) -> None:
    model = toy_model(shards)
    core, config = model.model, model.config
    kinds = [layer.attention_type for layer in core.layers]
    near = "sliding_attention"
    assert kinds == ["full_attention", near, near, "full_attention"]
    assert [layer.attn.sliding_window for layer in core.layers] == [None, 65, 65, None]
    for kind, theta in (("full_attention", 160_000.0), (near, 10_000.0)):
        assert config.rope_parameters[kind]["rope_theta"] == theta
        turning = 1 / theta ** (torch.arange(0, 32, 2) / 32)
        assert torch.allclose(getattr(core.rotary_emb, f"{kind}_inv_freq"), turning)
    for layer in core.layers:
        assert layer.mlp.Wi.out_features == 2 * layer.mlp.Wo.in_features == 128
        assert type(layer.mlp.act).__name__ == "GELUActivation"
    assert not [name for name, _ in core.named_parameters() if "bias" in name]
    assert model.decoder.weight is core.embeddings.tok_embeddings.weight
    assert config._attn_implementation == attention.NAME
    mlm.check_architecture(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: setattr(m.model.layers[1], "attention_type", "full_attention"), None),
        (lambda m: [setattr(x, "attention_type", "full_attention") for x in m.model.layers],
         "do not alternate global and local"),
        (lambda m: setattr(m.model.layers[0].mlp, "Wi", torch.nn.Linear(64, 64)), "no GeGLU"),
        (lambda m: setattr(m.model.layers[0].attn, "Wo", torch.nn.Linear(64, 64)), "has biases"),
        (lambda m: setattr(m, "decoder", torch.nn.Linear(64, 200)), "not share the token embed"),
        (lambda m: delattr(m.model, "rotary_emb"), "not rotary"),
    ],
)  # fmt: skip
def test_another_architecture_is_seen(shards: Path, change: Any, message: str | None) -> None:
    model = toy_model(shards)
    change(model)
    if message is None:
        mlm.check_architecture(model)
        return
    with pytest.raises(TrainingError, match=message):
        mlm.check_architecture(model)


def test_a_context_extension_raises_the_global_theta_alone(shards: Path) -> None:
    model = toy_model(shards)
    before = model.model.rotary_emb.sliding_attention_inv_freq.clone()
    mlm.set_theta(model, 500_000.0)
    turning = 1 / 500_000.0 ** (torch.arange(0, 32, 2) / 32)
    assert torch.allclose(model.model.rotary_emb.full_attention_inv_freq, turning)
    assert torch.equal(model.model.rotary_emb.sliding_attention_inv_freq, before)
    assert model.config.rope_parameters["full_attention"]["rope_theta"] == 500_000.0


# Packed attention


def packed(length: int, cuts: list[list[int]]) -> tuple[Any, Any, Any]:
    """Return ids, positions and segments of rows that are cut at the given places."""
    ids = torch.randint(5, 100, (len(cuts), length), generator=torch.Generator().manual_seed(1))
    segments = torch.zeros_like(ids)
    positions = torch.zeros_like(ids)
    for row, places in enumerate(cuts):
        for number, (first, last) in enumerate(zip([0, *places], [*places, length], strict=True)):
            segments[row, first:last] = number
            positions[row, first:last] = torch.arange(last - first)
    return ids, positions, segments


@pytest.mark.parametrize("length", [64, 256, 320])
def test_no_document_sees_its_neighbours(shards: Path, length: int) -> None:
    """Packed, laid end to end, and alone through transformers' own SDPA: the same states."""
    model = toy_model(shards)
    cuts = [[length // 3, length // 2], [length - 9]]
    ids, positions, segments = packed(length, cuts)
    bounds = torch.from_numpy(attention.bounds_of(segments.numpy()))
    with torch.no_grad():
        rows = model.model(
            input_ids=ids, position_ids=positions,
            attention_mask=attention.blocks(segments, window=64),
        ).last_hidden_state  # fmt: skip
        line = model.model(
            input_ids=ids.view(1, -1), position_ids=positions.view(1, -1),
            attention_mask=attention.stretches(bounds, longest=length, window=64),
        ).last_hidden_state.view_as(rows)  # fmt: skip
        model.config._attn_implementation = "sdpa"
        for row, places in enumerate(cuts):
            for first, last in zip([0, *places], [*places, length], strict=True):
                alone = model.model(input_ids=ids[row : row + 1, first:last]).last_hidden_state[0]
                assert torch.allclose(rows[row, first:last], alone, atol=1e-5)
                assert torch.allclose(line[row, first:last], alone, atol=1e-5)


def test_local_layers_work_in_blocks_where_rows_are_long() -> None:
    segments = torch.zeros(2, 512, dtype=torch.long)
    layouts = attention.blocks(segments, window=64)
    assert layouts["full_attention"].mask is None
    assert layouts["sliding_attention"].mask.shape == (16, 1, 64, 192)  # not 2 x 512 x 512
    short = attention.blocks(segments[:, :100], window=64)["sliding_attention"]
    assert short.window == 0
    assert short.mask.shape == (1, 1, 100, 100)


def test_where_stretches_begin() -> None:
    segments = np.array([[0, 0, 1, -1], [0, 0, 0, 0]])
    assert attention.bounds_of(segments).tolist() == [0, 2, 3, 4, 8]


# Steps


def test_the_cut_into_micro_batches_does_not_count(shards: Path, tmp_path: Path) -> None:
    weights = []
    for micro in (4, 2, 1):
        phases = (Phase("constant", 3, length=32, rows=4, micro=micro),)
        run = build(shards, dataclasses.replace(TOY, phases=phases), tmp_path / str(micro))
        for step in run.feed.steps(0):
            assert len(step.micro) == 4 // micro
            run.take(step)
        weights.append({name: p.detach().clone() for name, p in run.model.named_parameters()})
    for name, first in weights[0].items():
        for other in weights[1:]:
            assert torch.allclose(first, other[name], atol=2e-4), name
    start = toy_weights(shards, tmp_path)
    moved = max(float((weights[0][name] - start[name]).abs().max()) for name in start)
    assert moved > 2e-3  # else equal weights would say nothing


def toy_weights(shards: Path, tmp_path: Path) -> dict[str, Any]:
    run = build(shards, TOY, tmp_path / "start")
    return {name: p.detach().clone() for name, p in run.model.named_parameters()}


def test_the_loss_is_that_of_hidden_tokens_alone(shards: Path, tmp_path: Path) -> None:
    run = build(shards, TOY, tmp_path / "run")
    step = next(iter(run.feed.steps(0)))
    (rows,) = step.micro
    with torch.no_grad():
        found = run.answers(rows, rank=True)
        states = run.model.model(
            input_ids=torch.from_numpy(rows.ids), position_ids=torch.from_numpy(rows.positions),
            attention_mask=attention.blocks(torch.from_numpy(rows.segments), window=64),
        ).last_hidden_state  # fmt: skip
        everything = run.model.decoder(run.model.head(states)).flatten(0, 1).log_softmax(dim=-1)
    chosen = everything[torch.from_numpy(rows.hidden)]
    expected = -chosen.gather(1, torch.from_numpy(rows.gold)[:, None]).sum()
    assert float(found.loss) == pytest.approx(float(expected), rel=1e-5)
    order = chosen.argsort(dim=1, descending=True).numpy()
    place_of = [row.tolist().index(gold) for row, gold in zip(order, rows.gold, strict=True)]
    assert found.right == tuple(sum(at < k for at in place_of) for k in (1, 5, 10, 25))


def test_the_arithmetic_of_a_step(shards: Path, tmp_path: Path) -> None:
    run = build(shards, TOY, tmp_path / "run")
    step = run.feed.step(0)
    pieces = run.model.config.vocab_size
    inside = 64 * (3 * 64 + 64 + 2 * 64 + 64) * 4 + 7 * 64 + 64 - 64
    assert inside == sum(p.numel() for p in run.model.model.layers.parameters())
    far, near = attended(step.micro[0], window=64)
    assert far == near <= 4 * 32 * 32  # rows are shorter than the window
    dense = 6 * (inside * 128 + (64 * 64 + 64 * pieces) * round(0.3 * 128))
    assert step_flops(run.model, step) == pytest.approx(dense + 12 * 64 * 4 * far)


def test_the_learning_rate_rises_stays_and_falls() -> None:
    phases = (
        Phase("warmup", 4), Phase("constant", 3), Phase("constant", 3),
        Phase("decay", 2, rows=2, length=10), Phase("decay", 2),
    )  # fmt: skip
    rates = [rate_at(phases, step, peak=2.0) for step in range(14)]
    assert rates[:10] == [0.5, 1.0, 1.5, 2.0, *[2.0] * 6]
    assert rates[10:] == pytest.approx([2 * (1 - math.sqrt(k / 4)) for k in range(4)])
    assert place(phases, 11).number == 3
    assert place(phases, 11).step == 1
    assert tokens_before(phases, 11) == 10 * 16 * 256 + 20
    with pytest.raises(IndexError):
        place(phases, 14)


# Runs


def test_a_run_learns_and_says_so(whole: Path) -> None:
    lines = read_log(whole)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert lines[-1]["loss"] < lines[0]["loss"] - 0.1
    assert lines[-1]["tokens"] == 8 * 4 * 32
    checked = [line for line in lines if "valid_loss" in line]
    assert [line["step"] for line in checked] == [4, 8]
    for line in checked:
        assert 0 <= line["top_1"] <= line["top_5"] <= line["top_10"] <= line["top_25"] <= 1
    assert all(line["tokens_per_second"] > 0 and line["memory_mb"] > 0 for line in lines)
    assert (whole / "curves.png").read_bytes().startswith(b"\x89PNG")
    used = json.loads((whole / "config.json").read_text(encoding="utf-8"))
    assert used["rate"] == 2e-3
    assert used["phases"][2]["theta"] == 200_000.0


def test_anybody_can_open_what_a_run_leaves(whole: Path) -> None:
    model = SentenceTransformer(str(whole / "model"), device="cpu")
    vectors = model.encode(["lung pain", "burn"], show_progress_bar=False)
    assert vectors.shape == (2, 64)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    core = AutoModel.from_pretrained(whole / "model")
    assert type(core) is ModernBertModel
    assert core.config.rope_parameters["full_attention"]["rope_theta"] == 200_000.0
    assert type(ModernBertForMaskedLM.from_pretrained(whole / "model")) is ModernBertForMaskedLM
    ours = TorchEncoder.load(str(whole / "model"), device="cpu").encode(["lung pain", "burn"])
    assert np.allclose(ours, vectors, atol=1e-5)


def test_a_killed_run_goes_on_to_the_same_losses(whole: Path, shards: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    with pytest.raises(Stopped):
        pretrain(TOY, shards, broken, report=stop_at(5))
    assert not (broken / "model").exists()
    assert [line["step"] for line in read_log(broken)] == [1, 2, 3, 4, 5]
    again: list[int] = []
    pretrain(TOY, shards, broken, report=lambda moment: again.append(moment.step))
    assert again == [4, 5, 6, 7, 8]  # from the checkpoint of step 3
    one, other = read_log(whole), read_log(broken)
    for name in ("step", "loss", "rate", "tokens"):
        assert [line[name] for line in one] == [line[name] for line in other], name
    assert [line.get("valid_loss") for line in one] == [line.get("valid_loss") for line in other]
    first = load_file(whole / "model" / "model.safetensors")
    second = load_file(broken / "model" / "model.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
    kept = sorted(path.name for path in (broken / "checkpoints").iterdir())
    assert kept == ["step-0000006", "step-0000008"]


def test_a_damaged_checkpoint_is_named(whole: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    shutil.copytree(whole, out)
    (out / "checkpoints" / "step-0000008" / "optimizer.safetensors").write_bytes(b"no archive")
    with pytest.raises(TrainingError, match=r"step-0000008: cannot go on from here.*delete it"):
        pretrain(TOY, shards, out)
    shutil.rmtree(out / "checkpoints" / "step-0000008")
    again: list[int] = []
    pretrain(TOY, shards, out, report=lambda moment: again.append(moment.step))
    assert again == [7, 8]


def test_another_configuration_is_refused(whole: Path, shards: Path) -> None:
    with pytest.raises(TrainingError, match=r"another configuration \(hide, rate\); name a new"):
        pretrain(dataclasses.replace(TOY, rate=1e-4, hide="word"), shards, whole)


def test_a_weight_that_names_nothing(shards: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="names letters; the parts are notes"):
        pretrain(dataclasses.replace(TOY, weights={"letters": 1.0}), shards, tmp_path / "run")
    assert not (tmp_path / "run").exists()


# Where a run starts


def test_a_run_goes_on_from_a_checkpoint(whole: Path, shards: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(TOY, start=str(whole / "model"), phases=PHASES[:1])
    run = build(shards, config, tmp_path / "run")
    trained = load_file(whole / "model" / "model.safetensors")
    assert torch.equal(run.model.model.final_norm.weight, trained["model.final_norm.weight"])
    before = read_log(whole)[0]["loss"]
    assert float(run.take(run.feed.step(0))) < before - 0.1
    assert run.model.config.rope_parameters["full_attention"]["rope_theta"] == 160_000.0


def test_a_checkpoint_of_another_architecture_is_refused(
    whole: Path, shards: Path, tmp_path: Path
) -> None:
    tokenizer = load_tokenizer(shards / "tokenizer.json")
    small = BertConfig(
        vocab_size=200, hidden_size=32, num_hidden_layers=1, num_attention_heads=1,
        intermediate_size=32,
    )  # fmt: skip
    BertForMaskedLM(small).save_pretrained(tmp_path / "bert")
    with pytest.raises(TrainingError, match="a bert checkpoint made by BertForMaskedLM"):
        mlm.open_mlm(str(tmp_path / "bert"), tokenizer)
    # Its configuration says ModernBERT, its weights are those of a BERT.
    liar = tmp_path / "liar"
    shutil.copytree(tmp_path / "bert", liar)
    shutil.copy(whole / "model" / "config.json", liar)
    with pytest.raises(TrainingError, match="not the architecture that its configuration names"):
        mlm.open_mlm(str(liar), tokenizer)
    # A bare encoder has no head for masked tokens.
    AutoModel.from_pretrained(whole / "model").save_pretrained(tmp_path / "bare")
    with pytest.raises(TrainingError, match="made by ModernBertModel; only a ModernBertForMasked"):
        mlm.open_mlm(str(tmp_path / "bare"), tokenizer)


def test_a_checkpoint_of_a_smaller_vocabulary_is_refused(whole: Path, tmp_path: Path) -> None:
    texts = [f"{a} {b} word{n}" for n, a in enumerate(SITES) for b in FAULTS] * 5
    path = tmp_path / "tokenizer.json"
    train_tokenizer([chr(97 + n % 26) * 2 + t for n, t in enumerate(texts)], size=900).save(
        str(path)
    )
    tokenizer = load_tokenizer(path)
    tokenizer.add_tokens([f"new{n}" for n in range(200)])
    with pytest.raises(TrainingError, match=r"token embeddings, but the shards were made with a"):
        mlm.open_mlm(str(whole / "model"), tokenizer)


def test_token_embeddings_may_come_from_another_encoder(
    whole: Path, shards: Path, tmp_path: Path
) -> None:
    config = dataclasses.replace(TOY, embeddings=str(whole / "model"))
    run = build(shards, config, tmp_path / "run")
    given = read_embeddings(str(whole / "model"))
    ours = run.model.model.embeddings.tok_embeddings.weight
    assert torch.allclose(ours, given / given.std() * 0.02)
    assert read_embeddings("shipped").shape[1] == 384
    frozen = build(shards, dataclasses.replace(config, freeze_embeddings=True), tmp_path / "frozen")
    frozen.go_on(None)
    assert torch.equal(frozen.model.model.embeddings.tok_embeddings.weight, ours)
    assert frozen.model.decoder.weight is frozen.model.model.embeddings.tok_embeddings.weight
    run.go_on(None)
    assert not torch.equal(ours, given / given.std() * 0.02)
    save_file({"other": torch.zeros(2)}, tmp_path / "model.safetensors")
    with pytest.raises(TrainingError, match="no token embeddings in a model.safetensors or"):
        read_embeddings(str(tmp_path))


def test_tuning_opens_a_pretrained_encoder(whole: Path, tmp_path: Path) -> None:
    core = pretrained(whole / "model", width=64, pieces=100)
    trained = load_file(whole / "model" / "model.safetensors")
    assert torch.equal(core.final_norm.weight, trained["model.final_norm.weight"])
    with pytest.raises(TrainingError, match=r"of width 64; the recipe's size needs a modernbert o"):
        pretrained(whole / "model", width=384, pieces=100)
    with pytest.raises(TrainingError, match="more pieces than it has embeddings"):
        pretrained(whole / "model", width=64, pieces=10_000)
    with pytest.raises(TrainingError, match="no pretrained model"):
        pretrained(tmp_path, width=64, pieces=100)


# Recipes


@pytest.mark.parametrize("name", ["toy", "cpu", "gpu"])
def test_the_recipes_of_the_checkout_are_read(name: str) -> None:
    recipe = Path(__file__).parents[1] / "recipes" / f"pretrain-{name}.toml"
    config = PretrainConfig.load(recipe)
    assert [phase.curve for phase in config.phases][0] == "warmup"
    assert config.phases[-1].curve == "decay"
    assert config.phases[-1].mask == 0.15
    assert {phase.mask for phase in config.phases if phase.curve != "decay"} == {0.3}


def recipe_of(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "r.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_recipe_is_read(tmp_path: Path) -> None:
    phases = '[[phases]]\ncurve = "warmup"\nsteps = 5\nrows = 6\n'
    text = f'size = "tiny"\nbetas = [0.8, 0.9]\ncompile = true\n[weights]\nnotes = 2\n{phases}'
    config = PretrainConfig.load(recipe_of(tmp_path, text))
    assert config == PretrainConfig(
        size="tiny", betas=(0.8, 0.9), compile=True, weights={"notes": 2},
        phases=(Phase("warmup", 5, rows=6, micro=6),),
    )  # fmt: skip
    assert config.steps == 5
    assert config.phases[0].tokens == 5 * 6 * 256


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rate = 1", "nothing reads learning_rate; the keys are betas, compile"),
        ("compile = 1", "compile = 1 should be like compile = False"),
        ('hide = "sentence"', "nothing reads sentence; what can be hidden as a whole are piece"),
        ("phases = 3", r"each as \[\[phases\]\]"),
        ("[[phases]]\nsteps = 3", "a phase lacks curve"),
        ('[[phases]]\ncurve = "cosine"\nsteps = 3', "nothing reads cosine; the curves are const"),
        ('[[phases]]\ncurve = "decay"\nsteps = 3\nbatch = 2', "nothing reads batch; the keys are"),
        ('[[phases]]\ncurve = "decay"\nsteps = 0', "cannot be taken 16 at a time"),
        ('[[phases]]\ncurve = "decay"\nsteps = 1\nrows = 6\nmicro = 4', "6 rows cannot be take"),
        ('[[phases]]\ncurve = "decay"\nsteps = 1\nmask = 1.5', "mask = 1.5 is no share"),
        ("size = ", "Invalid value"),
    ],
)
def test_a_wrong_recipe_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(TrainingError, match=message) as caught:
        PretrainConfig.load(recipe_of(tmp_path, text))
    assert "r.toml" in str(caught.value)


def test_steps_are_the_same_wherever_a_run_goes_on(shards: Path) -> None:
    tokenizer = load_tokenizer(shards / "tokenizer.json")
    feeds = [Feed(TOY, Shards.open(shards), tokenizer) for _ in range(2)]
    straight = list(feeds[0].steps(0))
    later = list(feeds[1].steps(5))
    assert [step.number for step in later] == [5, 6, 7]
    for one, other in zip(straight[5:], later, strict=True):
        assert all(
            np.array_equal(a.ids, b.ids) for a, b in zip(one.micro, other.micro, strict=True)
        )


def test_whole_terms_are_hidden_where_the_shards_have_them(shards: Path, tmp_path: Path) -> None:
    tokenizer = load_tokenizer(shards / "tokenizer.json")
    config = dataclasses.replace(TOY, hide="term")
    with pytest.raises(TrainingError, match="build the shards with --terms"):
        Feed(config, Shards.open(shards), tokenizer)
    found = [
        *(Document("terms", f"{a} {b}", f"{a} in the {b}") for a in FAULTS for b in SITES),
        *(Document("notes", str(n), f"day {n}; pain in the lung, palsy") for n in range(300)),
    ]
    write_shards(found, shards / "tokenizer.json", tmp_path / "shards")
    step = Feed(config, Shards.open(tmp_path / "shards"), tokenizer).step(0)
    assert step.hidden == round(0.3 * 4 * 32)


def test_bounds_are_filled_to_one_shape_with_empty_stretches() -> None:
    bounds = np.array([0, 3, 5], np.int32)
    assert _filled(bounds, 6).tolist() == [0, 3, 5, 5, 5, 5]
    assert _filled(bounds, 1).tolist() == [0, 3, 5, 5]
