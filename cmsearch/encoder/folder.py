"""What a folder of a sentence-transformers or Hugging Face model holds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path

from cmsearch.errors import EncoderError

MODULES_FILE = "modules.json"
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


def modules_of(folder: Path) -> list[dict[str, str]]:
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


def check_folder(folder: Path) -> None:
    """Refuse a folder without weights or with code of its own.

    Raises:
        EncoderError: a module is not sentence-transformers' own, or no file has weights.
    """
    for row in modules_of(folder):
        if not row["type"].startswith("sentence_transformers."):
            raise EncoderError(
                f"{folder / MODULES_FILE}: {row['type']} is code from outside "
                "sentence-transformers, which cmsearch never runs; name another encoder"
            )
    if not _files(folder, _is_weights):
        raise EncoderError(
            f"{folder}: no model.safetensors (or pytorch_model.bin), so this is no "
            "encoder; name a sentence-transformers or Hugging Face model folder"
        )


def sha256_of_model(folder: Path) -> str:
    """Return one digest of the weights, then of the tokenizer."""
    digest = hashlib.sha256()
    for path in _files(folder, _is_weights) + _files(folder, _is_tokenizer):
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()


def unusable(folder: Path, error: Exception) -> EncoderError:
    """Return what a library's error at opening the folder means for the user."""
    text = " ".join(str(error).split())
    if "trust_remote_code" in text:
        return EncoderError(
            f"{folder}: this encoder needs code that comes with it, which cmsearch never runs; "
            "name an encoder of an architecture that transformers knows"
        )
    return EncoderError(
        f"{folder}: cannot be opened as an encoder ({type(error).__name__}: {text[:200]}); "
        "the folder is damaged or incomplete: fetch or train the encoder again"
    )


def _files(folder: Path, wanted: Callable[[Path], bool]) -> list[Path]:
    """Return the wanted files of the model and its modules, in one order everywhere."""
    inside = [folder / row["path"] for row in modules_of(folder) if row["path"]]
    found = set(folder.glob("*")).union(*(part.rglob("*") for part in inside))
    kept = [path for path in found if path.is_file() and wanted(path)]
    return sorted(kept, key=lambda path: path.relative_to(folder).as_posix())


def _is_weights(path: Path) -> bool:
    if not _WEIGHTS.fullmatch(path.name):
        return False
    return path.suffix == ".safetensors" or not any(path.parent.glob("model*.safetensors"))


def _is_tokenizer(path: Path) -> bool:
    return path.name in _TOKENIZERS


def _is_inside(path: str) -> bool:
    return not Path(path).is_absolute() and ".." not in Path(path).parts
