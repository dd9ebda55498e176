"""The architecture that was built, and that what ships computes what was trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("zstandard", reason=REASON)
pytest.importorskip("onnx", reason=REASON)

from sentence_transformers import SentenceTransformer  # noqa: E402
from transformers import BertConfig, BertModel, ModernBertModel  # noqa: E402

from cmsearch.atlas import places  # noqa: E402
from cmsearch.codes import System  # noqa: E402
from cmsearch.encoder.onnx import OnnxEncoder  # noqa: E402
from cmsearch.errors import TrainingError  # noqa: E402
from cmsearch.ontology.ontology import Ontology  # noqa: E402
from cmsearch.ontology.vocabulary import read_vocabulary  # noqa: E402
from cmsearch.train.export import agreement, export, write_fp32  # noqa: E402
from cmsearch.train.inference import BLOCK, ONE_BLOCK, Blocks, Inference  # noqa: E402
from cmsearch.train.model import (  # noqa: E402
    SIZES,
    Shape,
    as_sentence_transformer,
    load_tokenizer,
    new_model,
    shape_of,
    take_embeddings,
)
from cmsearch.train.reopen import export_folder, reopen  # noqa: E402
from cmsearch.train.tokenizer import SPECIAL, read_corpus, train_tokenizer  # noqa: E402

pytestmark = [
    pytest.mark.train,
    # torch announces the end of the exporter that ONNX Runtime's quantisation needs.
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch.*"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:cmsearch.train.export"),
]

WORDS = ["acute", "chronic", "pain", "fever", "of", "2", "lung", "heart", "chest", "left",
         "right", "fracture", "type", "diabetes"]  # fmt: skip
SENTENCES = [" ".join(WORDS[i % 14] for i in range(n, n * 3 + 4)) for n in range(40)]
TEXTS = ["chest pain", "Fièvre", "type 2 diabetes, 65%", "", "😀 heart", *SENTENCES[:12]]
LONG = " ".join(SENTENCES * 3)
SHAPE = Shape(layers=4, width=64, inner=96, heads=4)


@pytest.fixture(scope="module")
def tokenizer_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    train_tokenizer(SENTENCES * 3, size=200).save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(tokenizer_file: Path) -> Any:
    return load_tokenizer(tokenizer_file)


def lively(model: ModernBertModel) -> ModernBertModel:
    """Return the model with weights so large that attention matters to the result."""
    torch.manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[1] ** 0.5)
    return model.eval()


@pytest.fixture(scope="module")
def model(tokenizer: Any) -> ModernBertModel:
    return lively(new_model(SHAPE, tokenizer))


@pytest.fixture(scope="module")
def tuned(model: ModernBertModel, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder as tuning leaves it."""
    folder = tmp_path_factory.mktemp("tuned")
    model.save_pretrained(folder / "core")
    tokenizer.save_pretrained(folder / "core")
    whole = as_sentence_transformer(folder / "core", max_tokens=32, device="cpu")
    whole.save_pretrained(str(folder / "model"))
    return folder / "model"


@pytest.fixture(scope="module")
def exported(tuned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "encoder"
    return export(tuned, out, name="trial-1", dim=48, max_tokens=512)


def reference(model: ModernBertModel, ids: Any, mask: Any, dim: int) -> Any:
    """ModernBertModel, mean pooling, normalisation: transformers' own way."""
    hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state
    pooled = (hidden * mask[:, :, None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
    return torch.nn.functional.normalize(pooled[:, :dim], dim=-1)


# The architecture


@pytest.mark.parametrize("size", sorted(SIZES))
def test_the_architecture_is_modernbert(size: str, tokenizer: Any) -> None:
    shape = shape_of(size)
    model = new_model(shape, tokenizer)
    config = model.config
    assert type(model) is ModernBertModel
    assert config._attn_implementation == "sdpa"
    assert len(model.layers) == shape.layers
    assert config.vocab_size == len(tokenizer)
    assert config.pad_token_id == tokenizer.pad_token_id == 0
    # Alternating attention: every third layer sees all, the others 64 tokens each way.
    kinds = ["full_attention", "sliding_attention", "sliding_attention"] * 4
    assert list(config.layer_types) == kinds[: shape.layers]
    assert config.local_attention == 128
    for layer, kind in zip(model.layers, kinds, strict=False):
        assert layer.attention_type == kind
        assert (layer.attn.sliding_window is None) == (kind == "full_attention")
        # GeGLU: one matrix makes value and gate, and the gate is a GELU.
        assert layer.mlp.Wi.weight.shape == (2 * shape.inner, shape.width)
        assert layer.mlp.Wo.weight.shape == (shape.width, shape.inner)
        assert layer.mlp.act(torch.tensor(-1.0)).item() == pytest.approx(-0.158655, abs=1e-5)
    # RoPE with a base of its own for either kind, and no learned places.
    assert config.rope_parameters["full_attention"]["rope_theta"] == 160_000
    assert config.rope_parameters["sliding_attention"]["rope_theta"] == 10_000
    names = [name for name, _ in model.named_parameters()]
    assert [name for name in names if name.endswith("bias")] == []
    assert [name for name in names if "position" in name] == []


def test_places_of_words_matter(model: ModernBertModel) -> None:
    ids = torch.tensor([[2, 10, 11, 12, 3], [2, 12, 11, 10, 3]])
    one, other = reference(model, ids, torch.ones_like(ids), 64)
    assert (one @ other).item() < 0.999


def test_a_seed_gives_one_model(tokenizer: Any) -> None:
    one, same, other = (new_model(SHAPE, tokenizer, seed=seed) for seed in (1, 1, 2))
    weights = [model.layers[1].attn.Wqkv.weight for model in (one, same, other)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_an_unknown_size() -> None:
    with pytest.raises(TrainingError, match="the sizes are micro, tiny, small, base"):
        shape_of("huge")


def test_embeddings_are_taken_at_the_usual_scale(tokenizer: Any) -> None:
    model = new_model(SHAPE, tokenizer)
    given = torch.randn(len(tokenizer), SHAPE.width) * 7
    take_embeddings(model, given)
    table = model.embeddings.tok_embeddings.weight
    assert table.std().item() == pytest.approx(0.02, rel=1e-3)
    assert torch.allclose(table, given * (table[9, 9] / given[9, 9]).item(), atol=1e-6)
    with pytest.raises(TrainingError, match=r"\(3, 64\) do not fit"):
        take_embeddings(model, given[:3])


# What is exported computes the same

LENGTHS = [1, 7, 65, 128, 129, ONE_BLOCK, ONE_BLOCK + 1, 3 * BLOCK, 700]


def texts_of(count: int, length: int) -> Any:
    made = torch.Generator().manual_seed(4)
    return torch.randint(5, 40, (count, length), generator=made)


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("dim", [64, 16])
@torch.no_grad()
def test_inference_equals_transformers(model: ModernBertModel, length: int, dim: int) -> None:
    ids = texts_of(3, length)
    found = Inference(model, dim=dim).eval()(ids)
    assert found.shape == (3, dim)
    assert torch.allclose(found, reference(model, ids, torch.ones_like(ids), dim), atol=1e-5)


@torch.no_grad()
def test_the_graph_equals_transformers_at_every_length(
    model: ModernBertModel, tmp_path: Path
) -> None:
    import onnxruntime

    write_fp32(Inference(model, dim=64).eval(), tmp_path / "fp32.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "fp32.onnx"))
    assert [item.name for item in session.get_inputs()] == ["input_ids"]
    for count, length in [(1, 1), *((2, length) for length in LENGTHS), (1, 2000)]:
        ids = texts_of(count, length)
        found = session.run(None, {"input_ids": ids.numpy()})[0]
        right = reference(model, ids, torch.ones_like(ids), 64).numpy()
        assert np.abs(found - right).max() < 1e-5, length


@torch.no_grad()
def test_long_texts_show_whether_attention_is_local(model: ModernBertModel) -> None:
    ids = texts_of(1, 300)
    local = Inference(model, dim=64).eval()
    wide = Inference(model, dim=64).eval()
    wide.window = 10_000
    narrow = Inference(model, dim=64).eval()
    narrow.window = 63
    right = reference(model, ids, torch.ones_like(ids), 64)
    assert (local(ids) - right).abs().max().item() < 1e-5
    assert (wide(ids) - right).abs().max().item() > 1e-3
    assert (narrow(ids) - right).abs().max().item() > 1e-4


def test_blocks_hold_no_square() -> None:
    for tokens in (300, 3_000, 30_000):
        blocks = Blocks(torch.tensor(tokens), 64)
        assert blocks.hidden.numel() <= (tokens + BLOCK) * (BLOCK + 2 * 64)
    small = Blocks(torch.tensor(40), 64)
    assert small.hidden.shape == (1, 40, 40)
    assert not small.hidden.any()


@pytest.mark.parametrize("tokens", [90, ONE_BLOCK, 300, 512])
def test_every_token_sees_its_window_once(tokens: int) -> None:
    blocks = Blocks(torch.tensor(tokens), 64)
    seen = torch.zeros(tokens, tokens, dtype=torch.int64)
    for asking, asked, hidden in zip(blocks.asking, blocks.asked, blocks.hidden, strict=True):
        for row, place in enumerate(asking.tolist()):
            if place < tokens:
                seen[place, asked[~hidden[row]]] += 1
    places = torch.arange(tokens)
    assert torch.equal(seen, ((places[:, None] - places[None, :]).abs() <= 64).long())


@torch.no_grad()
def test_rope_bases_differ_by_kind(model: ModernBertModel) -> None:
    ids = texts_of(1, 60)
    swapped = Inference(model, dim=64).eval()
    swapped.frequency_full_attention = swapped.frequency_sliding_attention
    right = reference(model, ids, torch.ones_like(ids), 64)
    assert (swapped(ids) - right).abs().max().item() > 1e-4


def test_the_exported_encoder_agrees_with_the_tuned_one(tuned: Path, exported: Path) -> None:
    assert agreement(tuned, exported, [*TEXTS, LONG]) >= 0.99
    worst = min(agreement(tuned, exported, [text]) for text in [*TEXTS[:6], LONG])
    assert worst >= 0.98
    vectors = OnnxEncoder.load(exported).encode([*TEXTS, LONG])
    assert vectors.shape == (len(TEXTS) + 1, 48)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    others = vectors @ vectors.T
    assert others.min() < 0.9  # else any two encoders would agree


def test_vectors_do_not_depend_on_the_batch(exported: Path) -> None:
    encoder = OnnxEncoder.load(exported)
    together = encoder.encode([*TEXTS, LONG])
    alone = np.concatenate([encoder.encode([text]) for text in [*TEXTS, LONG]])
    # Activations are quantised by the batch, so the last digits move.
    assert (together * alone).sum(axis=1).min() > 0.99


def test_the_files_of_an_exported_encoder(exported: Path) -> None:
    assert sorted(path.name for path in exported.iterdir()) == [
        "encoder.json", "model.onnx", "tokenizer.json",
    ]  # fmt: skip
    identity = OnnxEncoder.load(exported).identity
    assert (identity.name, identity.dim, identity.max_tokens) == ("trial-1", 48, 512)
    assert identity.pooling == "mean"
    assert len(identity.sha256) == 64
    assert json.loads((exported / "encoder.json").read_text())["pad_id"] == 0


def test_weights_are_int8(exported: Path, tuned: Path) -> None:
    import onnx

    graph = onnx.load(exported / "model.onnx").graph
    sizes = {item.name: int(np.prod(item.dims)) for item in graph.initializer}
    eight = {item.name for item in graph.initializer if item.data_type == onnx.TensorProto.INT8}
    assert "embedding_rows" in eight
    assert sum(sizes[name] for name in eight) > 0.9 * sum(sizes.values())
    weights = (tuned / "model.safetensors").stat().st_size
    assert (exported / "model.onnx").stat().st_size < weights * 0.6


# What is shipped opens again


@pytest.fixture(scope="module")
def sized(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported encoder of one of our sizes."""
    folder = tmp_path_factory.mktemp("sized")
    model = new_model(SIZES["tiny"], tokenizer)
    lively(model).save_pretrained(folder / "core")
    tokenizer.save_pretrained(folder / "core")
    whole = as_sentence_transformer(folder / "core", max_tokens=32, device="cpu")
    whole.save_pretrained(str(folder / "model"))
    return export(folder / "model", folder / "out", name="sized", dim=64, max_tokens=512)


def test_a_shipped_encoder_opens_again_and_exports_the_same(sized: Path, tmp_path: Path) -> None:
    import onnx

    again = reopen(sized, tmp_path / "model")
    exported = export(again, tmp_path / "out", name="sized", dim=64, max_tokens=512)
    assert agreement(again, sized, [*TEXTS, LONG]) > 0.99
    one, other = (
        {
            item.name: onnx.numpy_helper.to_array(item)
            for item in onnx.load(folder / "model.onnx").graph.initializer
            if item.data_type == onnx.TensorProto.INT8
        }
        for folder in (sized, exported)
    )
    assert len(one) > 16
    assert one.keys() == other.keys()
    assert all(np.array_equal(table, other[name]) for name, table in one.items())
    with pytest.raises(TrainingError, match="exists; name a new folder"):
        reopen(sized, again)


def test_an_encoder_goes_to_other_tools(sized: Path, tuned: Path, tmp_path: Path) -> None:
    """What ships and what tuning left both open by their path alone."""
    from transformers import AutoModel

    for number, source in enumerate((sized, tuned)):
        folder = export_folder(str(source), tmp_path / str(number), max_tokens=128)
        model = SentenceTransformer(str(folder), device="cpu")
        assert model.max_seq_length == (512 if source is sized else 128)
        if source is sized:
            assert agreement(folder, sized, [*TEXTS, LONG]) > 0.99
        else:
            given = SentenceTransformer(str(tuned), device="cpu").encode(TEXTS)
            assert np.allclose(model.encode(TEXTS), given, atol=1e-6)
        opened = AutoModel.from_pretrained(folder)
        own = model[0].auto_model.state_dict()
        assert all(torch.equal(own[name], value) for name, value in opened.state_dict().items())
        with pytest.raises(TrainingError, match="exists; name a new folder"):
            export_folder(str(source), folder, max_tokens=128)
    with pytest.raises(TrainingError, match="no such folder"):
        export_folder(str(tmp_path / "none"), tmp_path / "out", max_tokens=128)


def test_the_shipped_encoder_computes_what_its_float_form_does(tmp_path: Path) -> None:
    """int8 against fp32 on 1,000 titles and wordings."""
    folder = export_folder("shipped", tmp_path / "model", max_tokens=8192)
    titles = [place.title for place in places(Ontology.load((System.ICD10CM,)), System.ICD10CM)]
    entries = [entry.term for entry in read_vocabulary()]
    texts = [*titles[:: len(titles) // 500][:500], *entries[:: len(entries) // 500][:500]]
    assert len(set(texts)) > 990
    assert agreement(folder, OnnxEncoder.load().folder, texts) > 0.99


def test_another_shape_does_not_open_again(exported: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="none of our sizes"):
        reopen(exported, tmp_path / "model")
    assert not (tmp_path / "model").exists()


# The tokenizer


def test_the_exported_tokenizer_gives_the_same_ids(exported: Path, tokenizer: Any) -> None:
    encoder = OnnxEncoder.load(exported)
    texts = [*TEXTS, LONG]
    expected = tokenizer(texts, truncation=True, max_length=512)["input_ids"]
    # A text without tokens counts as one of padding.
    assert encoder.tokenize(texts) == [ids or [tokenizer.pad_token_id] for ids in expected]
    assert len(expected[-1]) == 512


def test_tokenizer_round_trip(tokenizer: Any) -> None:
    for sentence in SENTENCES[1:]:
        ids = tokenizer(sentence.upper())["input_ids"]
        assert not {tokenizer.cls_token_id, tokenizer.sep_token_id} & set(ids)
        assert tokenizer.decode(ids, skip_special_tokens=True) == sentence


def test_words_are_lower_case_without_accents_and_digits_apart(tokenizer: Any) -> None:
    assert tokenizer.tokenize("FÉVER") == tokenizer.tokenize("fever")
    assert tokenizer.tokenize("22") == ["2", "2"]
    assert tokenizer.tokenize("😀") == ["[UNK]"]


def test_special_tokens_come_first_and_the_size_is_a_limit() -> None:
    trained = train_tokenizer(SENTENCES * 3, size=60)
    assert [trained.id_to_token(number) for number in range(5)] == list(SPECIAL)
    assert trained.get_vocab_size() <= 60


def test_a_corpus_is_read_shard_by_shard(tmp_path: Path) -> None:
    import zstandard

    for number, texts in ((1, ["second é"]), (0, ["first", "line\nbreak"])):
        lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
        packed = zstandard.ZstdCompressor().compress(lines.encode())
        (tmp_path / f"part-{number:04}.jsonl.zst").write_bytes(packed)
    assert list(read_corpus(tmp_path)) == ["first", "line\nbreak", "second é"]
    with pytest.raises(TrainingError, match=r"no part-\*\.jsonl\.zst"):
        list(read_corpus(tmp_path / "elsewhere"))


# What is refused


def test_another_architecture_is_refused(tokenizer: Any, tmp_path: Path) -> None:
    config = BertConfig(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(tmp_path / "bert")
    tokenizer.save_pretrained(tmp_path / "bert")
    with pytest.raises(TrainingError, match="holds a BertModel, not a ModernBERT"):
        export(tmp_path / "bert", tmp_path / "out", name="x", dim=32, max_tokens=64)
    assert not (tmp_path / "out").exists()


def test_another_pooling_is_refused(tuned: Path, tokenizer: Any, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.sentence_transformer.modules import Pooling, Transformer

    core = Transformer(str(tuned))
    folder = tmp_path / "cls"
    SentenceTransformer(
        modules=[core, Pooling(64, pooling_mode="cls")], device="cpu"
    ).save_pretrained(str(folder))
    with pytest.raises(TrainingError, match="pools by cls"):
        export(folder, tmp_path / "out", name="x", dim=32, max_tokens=64)


@pytest.mark.parametrize("dim", [0, 65])
def test_more_dimensions_than_there_are(tuned: Path, tmp_path: Path, dim: int) -> None:
    with pytest.raises(TrainingError, match=f"64 dimensions; {dim} cannot be kept"):
        export(tuned, tmp_path / "out", name="x", dim=dim, max_tokens=64)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="no such folder"):
        export(tmp_path / "nowhere", tmp_path / "out", name="x", dim=32, max_tokens=64)
    with pytest.raises(TrainingError, match="no encoder that can be opened"):
        export(tmp_path, tmp_path / "out", name="x", dim=32, max_tokens=64)


def test_a_folder_with_something_else_is_not_replaced(tuned: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work", encoding="utf-8")
    with pytest.raises(TrainingError, match="something else than an exported encoder"):
        export(tuned, tmp_path, name="x", dim=32, max_tokens=64)
    assert (tmp_path / "thesis.txt").read_text(encoding="utf-8") == "years of work"


def test_an_exported_encoder_is_replaced_as_a_whole(tuned: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for name, dim in (("one", 64), ("two", 32)):
        export(tuned, out, name=name, dim=dim, max_tokens=64)
        identity = OnnxEncoder.load(out).identity
        assert (identity.name, identity.dim) == (name, dim)
        assert OnnxEncoder.load(out).encode(["chest pain"]).shape == (1, dim)
        (out / "left.txt").write_text("from before", encoding="utf-8")
    export(tuned, out, name="three", dim=32, max_tokens=64)
    assert not (out / "left.txt").exists()
