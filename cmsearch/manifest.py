"""What an index folder says of itself: ``manifest.json``."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any

from cmsearch.errors import IndexFolderError
from cmsearch.paths import index_command
from cmsearch.types import EncoderIdentity

FORMAT = 2
MANIFEST_FILE = "manifest.json"
# The types of plain fields, by their annotations.
_PLAIN = {"str": str, "int": int, "float": float}


@dataclass(frozen=True, slots=True)
class IndexedCodeSet:
    """A code set of an index: which release, from where, with how many concepts."""

    system: str
    release: str
    origin: str
    sha256: str
    concepts: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """Everything that must agree before an index may be used.

    Attributes:
        encoder: the encoder that made the vectors.
        encoder_source: path or name by which it was opened; empty for the shipped one.
        kind: ``flat``, ``hnsw`` or ``ivfpq``.
        dtype: precision of the stored vectors.
        step: how much one step of a stored byte is in a component.
        templates, templates_version: the text forms of the concepts.
        vocabulary: version of the vocabulary; empty when it was left out.
        code_sets: what is in the index.
        forms, vectors: how many text forms, and distinct texts.
        lexicon_file, vectors_file: names of the files of this build.
        lexicon_bytes, vectors_bytes: their sizes: a truncated file is never opened.
    """

    encoder: EncoderIdentity
    encoder_source: str
    kind: str
    dtype: str
    step: float
    templates: tuple[str, ...]
    templates_version: str
    vocabulary: str
    code_sets: tuple[IndexedCodeSet, ...]
    forms: int
    vectors: int
    lexicon_file: str
    vectors_file: str
    lexicon_bytes: int
    vectors_bytes: int
    format: int = FORMAT

    @property
    def releases(self) -> dict[str, str]:
        """The release of each system."""
        return {item.system: item.release for item in self.code_sets}

    def check_sizes(self, folder: Path) -> None:
        """Raise IndexFolderError if a data file is missing or has another size."""
        for name, size in (
            (self.lexicon_file, self.lexicon_bytes),
            (self.vectors_file, self.vectors_bytes),
        ):
            path = folder / name
            found = path.stat().st_size if path.is_file() else None
            if found != size:
                state = "is missing" if found is None else f"has {found:,} bytes, not {size:,}"
                raise IndexFolderError(f"{path}: {state}; {_rebuild(folder)}")

    def write(self, folder: Path) -> None:
        """Put the manifest in place at once: readers see the old one or this one."""
        staged = folder / f".{MANIFEST_FILE}.{os.getpid()}"
        with staged.open("w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        staged.replace(folder / MANIFEST_FILE)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Return the manifest of an index folder.

        Raises:
            IndexFolderError: there is no index here, or its manifest is damaged or of
                another format.
        """
        path = folder / MANIFEST_FILE
        try:
            values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise IndexFolderError(
                f"{folder}: there is no index here; build one with: {index_command(folder)}"
            ) from error
        except NotADirectoryError as error:
            raise IndexFolderError(f"{folder} is a file; an index is a folder") from error
        except (OSError, ValueError, RecursionError) as error:
            raise IndexFolderError(
                f"{path}: cannot be read ({error}); {_rebuild(folder)}"
            ) from error
        found = values.get("format") if isinstance(values, dict) else None
        if found != FORMAT:
            raise IndexFolderError(
                f"{path}: index format {found}, this cmsearch reads format {FORMAT}; "
                f"{_rebuild(folder)}"
            )
        try:
            values["encoder"] = EncoderIdentity(**values["encoder"])
            values["code_sets"] = tuple(IndexedCodeSet(**item) for item in values["code_sets"])
            values["templates"] = tuple(values["templates"])
            manifest = cls(**values)
            _check(manifest)
            return manifest
        except (KeyError, TypeError) as error:
            raise IndexFolderError(
                f"{path}: incomplete or damaged ({error}); {_rebuild(folder)}"
            ) from error


def _rebuild(folder: Path) -> str:
    return f"rebuild with: {index_command(folder, '--rebuild')}"


def _check(value: object) -> None:
    """Raise TypeError unless the fields of a part of the manifest have their types."""
    for field in fields(value):  # type: ignore[arg-type]
        found = getattr(value, field.name)
        plain = _PLAIN.get(str(field.type))
        if plain is not None and type(found) is not plain:
            raise TypeError(f"{field.name} is {found!r}, no {plain.__name__}")
        for part in found if isinstance(found, tuple) else (found,):
            if is_dataclass(part):
                _check(part)
            elif isinstance(found, tuple) and not isinstance(part, str):
                raise TypeError(f"{field.name} holds {part!r}, no str")
