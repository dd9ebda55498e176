"""Encoders: the shipped one through ONNX Runtime, any other through torch."""

from __future__ import annotations

from pathlib import Path

from cmsearch.encoder.onnx import CONFIG_FILE, OnnxEncoder
from cmsearch.encoder.torch import TorchEncoder
from cmsearch.types import Encoder

__all__ = ["Encoder", "OnnxEncoder", "TorchEncoder", "open_encoder"]


def open_encoder(source: str = "", *, device: str = "cpu", threads: int = 0) -> Encoder:
    """Return the encoder that a path or name stands for; the shipped one by default.

    A folder with ``encoder.json`` is an exported encoder and needs no torch; anything
    else is a sentence-transformers or Hugging Face encoder, by folder or name.

    Args:
        source: path or name; empty for the shipped encoder.
        device: ``cpu`` or ``cuda``.
        threads: how many threads run an exported encoder; one a core for 0.

    Raises:
        EncoderError: there is no such encoder, or it cannot be opened.
        MissingDependency: it needs torch, which is not installed.
    """
    if not source:
        return OnnxEncoder.load(device=device, threads=threads)
    if (Path(source).expanduser() / CONFIG_FILE).is_file():
        return OnnxEncoder.load(Path(source).expanduser(), device=device, threads=threads)
    return TorchEncoder.load(source, device=device)
