"""The encoder at query time: ONNX Runtime and a Rust tokenizer, no torch."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, fields
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from cmsearch.errors import EncoderError
from cmsearch.types import EncoderIdentity, Vectors

MODEL_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
CONFIG_FILE = "encoder.json"
# Small enough for a core's cache; more tokens in one product are no quicker.
_TOKENS_A_BATCH = 512
_LARGEST_BATCH = 64
# From this many batches on they run side by side, one a core.
_MANY = 4
_LONG = 1024
# Official builds of ONNX Runtime from 1.29 on report to Microsoft and keep a device id on
# disk, unless these are set before it is loaded (microsoft/onnxruntime #27379, #29843).
for _variable in ("ORT_DISABLE_TELEMETRY", "ORT_TELEMETRY_DISABLED"):
    os.environ.setdefault(_variable, "1")


@dataclass(frozen=True, slots=True)
class ShippedConfig:
    """What stands beside an exported encoder in ``encoder.json``."""

    name: str
    sha256: str
    pooling: str
    dim: int
    max_tokens: int
    pad_id: int
    prefix: str = ""


class OnnxEncoder:
    """An exported encoder: token ids in, unit vectors out.

    Args:
        folder: where ``model.onnx``, ``tokenizer.json`` and ``encoder.json`` lie.
        config: the contents of ``encoder.json``.
        device: ``cpu`` or ``cuda``.
        threads: how many threads run it; as many as there are cores for 0.
    """

    def __init__(
        self, folder: Path, config: ShippedConfig, *, device: str = "cpu", threads: int = 0
    ) -> None:
        self.folder = folder
        self.config = config
        self.device = device
        self.threads = threads

    @classmethod
    def load(
        cls, folder: Path | None = None, *, device: str = "cpu", threads: int = 0
    ) -> OnnxEncoder:
        """Return the encoder of a folder; the one that ships with cmsearch by default.

        Raises:
            EncoderError: a file is missing or cannot be read.
        """
        folder = folder or Path(str(files("cmsearch.encoder").joinpath("model")))
        path = folder / CONFIG_FILE
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            config = ShippedConfig(**values)
            _check(config)
        except FileNotFoundError as error:
            raise EncoderError(
                f"{folder}: no {CONFIG_FILE}, so this is no exported encoder; "
                "export one with: cmsearch train export MODEL --out FOLDER"
            ) from error
        except (OSError, ValueError, TypeError) as error:
            known = ", ".join(field.name for field in fields(ShippedConfig))
            raise EncoderError(f"{path}: {error}; it must hold {known}") from error
        return cls(folder, config, device=device, threads=threads)

    @property
    def identity(self) -> EncoderIdentity:
        """Name, weights, pooling, width and length of the encoder."""
        config = self.config
        return EncoderIdentity(
            name=config.name,
            sha256=config.sha256,
            pooling=config.pooling,
            dim=config.dim,
            max_tokens=config.max_tokens,
            prefix=config.prefix,
        )

    def encode(
        self, texts: Sequence[str], *, progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Return a unit vector for each text, float32, (n, dim).

        Texts of one length go through together, so that nothing is padding; a text beyond
        ``max_tokens`` tokens is cut there.

        Args:
            texts: any number of texts.
            progress: called with the number of texts done since the last call.
        """
        prefixed = [self.config.prefix + text for text in texts] if self.config.prefix else texts
        return self.encode_ids(self.tokenize(prefixed), progress=progress)

    def encode_ids(
        self, ids: Sequence[Sequence[int]], *, progress: Callable[[int], None] | None = None
    ) -> Vectors:
        """Return a unit vector for each text given as token ids, float32, (n, dim)."""
        vectors = np.empty((len(ids), self.config.dim), dtype=np.float32)
        batches = list(_batches(np.array([len(row) for row in ids], dtype=np.int64)))
        for rows, found in zip(batches, self._all(ids, batches), strict=True):
            if found.shape[1] != self.config.dim:
                raise EncoderError(
                    f"{self.folder / MODEL_FILE}: makes {found.shape[1]} dimensions, "
                    f"{CONFIG_FILE} says {self.config.dim}; export the encoder again"
                )
            vectors[rows] = found
            if progress is not None:
                progress(len(rows))
        return vectors

    def _all(
        self, ids: Sequence[Sequence[int]], batches: Sequence[np.ndarray]
    ) -> Iterator[np.ndarray]:
        """Yield what the network makes of each batch; many go side by side."""
        if len(batches) < _MANY:
            for rows in batches:
                block = np.array([ids[row] for row in rows], dtype=np.int64)
                yield self._run(self._wide if block.size > _LONG else self._narrow, block)
            return
        narrow = self._narrow
        with ThreadPoolExecutor(self._threads) as pool:
            blocks = (np.array([ids[row] for row in rows], dtype=np.int64) for rows in batches)
            yield from pool.map(lambda block: self._run(narrow, block), blocks)

    def _run(self, session: Any, block: np.ndarray) -> np.ndarray:
        """Return what the network makes of token ids of one length, (n, tokens)."""
        given = {"input_ids": block, "attention_mask": np.ones_like(block)}
        # Encoders exported before the blocks want a mask, later ones see no padding at all.
        found: np.ndarray = session.run(None, {name: given[name] for name in self._inputs})[0]
        return found

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the token ids of each text, cut at ``max_tokens``; never none.

        A text without tokens (blank, control characters) counts as one of padding.
        """
        found = []
        for start in range(0, len(texts), 10_000):
            part = [_encodable(text) for text in texts[start : start + 10_000]]
            rows = self._tokenizer.encode_batch_fast(part)
            found += [row.ids or [self.config.pad_id] for row in rows]
        return found

    @cached_property
    def _tokenizer(self) -> Any:
        from tokenizers import Tokenizer

        try:
            tokenizer = Tokenizer.from_file(str(self.folder / TOKENIZER_FILE))
        except Exception as error:
            raise EncoderError(f"{self.folder / TOKENIZER_FILE}: {error}") from error
        tokenizer.enable_truncation(self.config.max_tokens)
        tokenizer.no_padding()
        return tokenizer

    @cached_property
    def _inputs(self) -> list[str]:
        return [item.name for item in self._narrow.get_inputs()]

    @property
    def _threads(self) -> int:
        cores = len(os.sched_getaffinity(0)) if _can_ask() else (os.cpu_count() or 1)
        return self.threads or cores

    @cached_property
    def _narrow(self) -> Any:
        """The network on one thread: as quick as on two for a query, quicker for many texts."""
        return self._session(1)

    @cached_property
    def _wide(self) -> Any:
        """The network on all threads, for long texts."""
        return self._narrow if self._threads == 1 else self._session(self._threads)

    def _session(self, threads: int) -> Any:
        import onnxruntime

        onnxruntime.disable_telemetry_events()
        providers = ["CPUExecutionProvider"]
        if self.device == "cuda":
            providers = ["CUDAExecutionProvider"]
            if providers[0] not in onnxruntime.get_available_providers():
                raise EncoderError(
                    "this onnxruntime runs on the CPU only; for CUDA install onnxruntime-gpu, "
                    "or leave --device out"
                )
        elif self.device != "cpu":
            raise EncoderError(f"no device is called {self.device!r}; there are cpu and cuda")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Threads that spin after a text would take the cores from the vector search.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            return onnxruntime.InferenceSession(
                str(self.folder / MODEL_FILE), options, providers=providers
            )
        except Exception as error:
            raise EncoderError(
                f"{self.folder / MODEL_FILE}: cannot be opened ({type(error).__name__}); "
                "the file is damaged or missing: install cmsearch again or export the encoder again"
            ) from error


def _check(config: ShippedConfig) -> None:
    """Raise ValueError unless names are texts and sizes are numbers that can be."""
    for name in ("name", "sha256", "pooling", "prefix"):
        if not isinstance(getattr(config, name), str):
            raise ValueError(f"{name} is {getattr(config, name)!r}, no text")
    for name, least in (("dim", 1), ("max_tokens", 1), ("pad_id", 0)):
        value = getattr(config, name)
        if type(value) is not int or value < least:
            raise ValueError(f"{name} is {value!r}, no number from {least} on")


def _can_ask() -> bool:
    return hasattr(os, "sched_getaffinity")


def _encodable(text: str) -> str:
    """Return the text without lone surrogates, which no tokenizer accepts."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def _batches(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Yield row numbers in batches of one length, the longest texts first."""
    order = np.argsort(-lengths, kind="stable")
    starts = np.flatnonzero(np.diff(lengths[order])) + 1
    for rows in np.split(order, starts):
        if len(rows):
            longest = max(1, int(lengths[rows[0]]))
            size = max(1, min(_LARGEST_BATCH, _TOKENS_A_BATCH // longest))
            yield from (rows[start : start + size] for start in range(0, len(rows), size))


def sha256_of(*paths: Path) -> str:
    """Return the SHA-256 of the files' contents, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return digest.hexdigest()
