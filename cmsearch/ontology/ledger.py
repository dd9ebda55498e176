"""The ledger of a folder of release files: written whole, with the copies, or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from cmsearch.codes import System
from cmsearch.errors import OntologyError
from cmsearch.ontology.release import FoundFile, Kind

LEDGER = "releases.json"
_FORMAT = 1
_LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the ledger."""

    name: str
    kind: str
    system: str
    release: str
    rows: int
    sha256: str
    file: str


def entry_of(file: FoundFile) -> Entry:
    """Return the ledger's line of a file; the copy's name says what it is, and which one."""
    words = f"{file.system.value}-{file.kind.value}-{file.release}"
    slug = re.sub(r"[^0-9A-Za-z]+", "-", words).strip("-")
    suffix = ".xml" if file.kind is Kind.TABULAR or file.kind.is_index else ".txt"
    return Entry(
        name=file.name,
        kind=file.kind.value,
        system=file.system.value,
        release=file.release,
        rows=file.rows,
        sha256=file.sha256,
        file=f"{slug}-{file.sha256[:8]}{suffix}",
    )


def same(entry: Entry, other: Entry) -> bool:
    return entry.sha256 == other.sha256 and entry.release == other.release


def load(entry: Entry, folder: Path) -> FoundFile:
    path = folder / entry.file
    try:
        data = path.read_bytes()
    except OSError as error:
        raise OntologyError(f"{path}: cannot be read ({error}); add the file again") from error
    if sha256(data).hexdigest() != entry.sha256:
        raise OntologyError(
            f"{path}: changed since it was added; delete it and add the official file again"
        )
    return FoundFile(
        entry.name, Kind(entry.kind), System(entry.system), entry.release, entry.rows, data
    )


def read_ledger(folder: Path) -> list[Entry]:
    """Return the ledger of a folder; files that were deleted from it are left out."""
    path = folder / LEDGER
    names = {field.name for field in fields(Entry)}
    try:
        ledger = json.loads(path.read_text(encoding="utf-8"))
        if ledger["format"] != _FORMAT:
            raise ValueError(f"format {ledger['format']}, this cmsearch reads {_FORMAT}")
        entries = [
            Entry(**{name: value for name, value in item.items() if name in names})
            for item in ledger["files"]
        ]
        for entry in entries:
            Kind(entry.kind), System(entry.system)
            if Path(entry.file).name != entry.file:
                raise ValueError(f"{entry.file!r} is not the name of a file")
        return [entry for entry in entries if (folder / entry.file).is_file()]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise OntologyError(
            f"{path}: the list of release files is damaged ({error}); delete it and add the "
            "files again with: cmsearch ontology add"
        ) from error


def store(
    fresh: Sequence[FoundFile], entries: Sequence[Entry], before: Sequence[Entry], folder: Path
) -> None:
    """Write the copies, then the ledger that makes them count: all of it or nothing."""
    there = {entry.file for entry in before}
    data = {file.sha256: file.data for file in fresh}
    written: list[Path] = []
    try:
        for entry in entries:
            if entry.sha256 in data and entry.file not in there:
                written.append(folder / entry.file)
                _write(folder / entry.file, data[entry.sha256])
        ledger = {"format": _FORMAT, "files": [asdict(entry) for entry in entries]}
        text = json.dumps(ledger, indent=2, ensure_ascii=False) + "\n"
        _write(folder / LEDGER, text.encode())
        for name in there - {entry.file for entry in entries}:
            (folder / name).unlink(missing_ok=True)
    except OSError as error:
        for path in written:
            with suppress(OSError):
                path.unlink(missing_ok=True)
        raise OntologyError(
            f"{folder}: cannot be written to ({error}); nothing was added. Free some space or "
            "choose another folder with $CMSEARCH_HOME"
        ) from error


def _write(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        with temporary.open("wb") as handle:
            handle.write(data)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Let one process at a time change the folder; make the folder if need be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / ".lock", timeout=_LOCK_SECONDS)
        lock.acquire()
    except Timeout as error:
        raise OntologyError(
            f"{folder}: another cmsearch is adding files there; try again when it is done"
        ) from error
    except OSError as error:
        raise OntologyError(
            f"{folder}: cannot be written to ({error}); choose another folder with $CMSEARCH_HOME"
        ) from error
    try:
        yield
    finally:
        lock.release()
