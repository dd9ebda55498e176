"""The user's folder of official release files: what is in it, and what becomes of it."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, fields
from hashlib import sha256
from pathlib import Path

from filelock import FileLock, Timeout

from cmsearch.codes import System
from cmsearch.errors import OntologyError
from cmsearch.ontology.alphabetic import IndexTerms
from cmsearch.ontology.assemble import assemble
from cmsearch.ontology.concept import CodeSet
from cmsearch.ontology.release import FoundFile, Kind, effective, read_release

LEDGER = "releases.json"
_FORMAT = 1
_LOCK_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class ReleaseFile:
    """One release file in the folder.

    Attributes:
        name: its own name, and that of the archive that it came in.
        kind: what it holds.
        system: whose codes.
        release: name of its release.
        rows: codes in it; of an index or table, lines that lead to a code.
        sha256: hexadecimal digest of the file.
        file: name of the copy in the folder.
        used: whether it is part of the next index.
        remark: why it is not used, or what is missing beside it; mostly empty.
    """

    name: str
    kind: Kind
    system: System
    release: str
    rows: int
    sha256: str
    file: str
    used: bool
    remark: str


@dataclass(frozen=True, slots=True)
class AddedFile:
    """What became of one release file that the user named.

    ``new`` is False if the folder held it already; ``remark`` says what else there is to
    know (lines of an index that lead nowhere, a newer release that is used instead).
    """

    name: str
    kind: Kind
    system: System
    release: str
    rows: int
    new: bool
    remark: str


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the ledger."""

    name: str
    kind: str
    system: str
    release: str
    rows: int
    sha256: str
    file: str


def add(paths: Sequence[Path], folder: Path) -> list[AddedFile]:
    """Check release files, copy them into a folder, and return what each of them is.

    All are read to their end, and put together with those already there, before any is
    copied: one bad file, and nothing changes. A file that is there already stays as it is.
    Files of older releases stay in the folder; ``installed`` says which ones are used. To
    take a file away again, delete it from the folder.

    Args:
        paths: ZIP archives, XML and text files as CDC and CMS publish them.
        folder: where to keep the files; made if it does not exist.

    Raises:
        OntologyError: a file is missing, damaged or no release file, does not fit the
            others, or the folder cannot be written to.
    """
    found = [file for path in paths for file in read_release(path)]
    with _locked(folder):
        before = _entries(folder)
        entries = list(before)
        fresh = []
        new = []
        for file in found:
            entry = _entry(file)
            new.append(not any(_same(entry, other) for other in entries))
            if new[-1]:
                entries = [other for other in entries if other.sha256 != entry.sha256] + [entry]
                fresh.append(file)
        terms = _checked(entries, fresh, folder)
        if fresh:
            _store(fresh, entries, before, folder)
    listed = {release.sha256: release for release in _described(entries)}
    return [
        _added(file, is_new, listed[file.sha256], terms.get(file.sha256))
        for file, is_new in zip(found, new, strict=True)
    ]


def installed(folder: Path) -> list[ReleaseFile]:
    """Return the release files in a folder, in the order in which they were added.

    Raises:
        OntologyError: the list in the folder is damaged.
    """
    return _described(_entries(folder))


def code_sets(folder: Path) -> list[CodeSet]:
    """Return the code sets of the release files in a folder, to pass to ``Ontology.load``.

    Each is whole: concepts, and the terms of the index files. A folder with nothing but
    index files gives the packaged ICD-10-CM codes with these terms. Takes two to five
    seconds for a full release of ICD-10-CM.

    Raises:
        OntologyError: a file in the folder was changed or cannot be read.
    """
    entries = _entries(folder)
    used = _used(entries)
    files = [_loaded(entry, folder) for entry in entries if entry.sha256 in used]
    return list(assemble(files).code_sets)


def _entry(file: FoundFile) -> _Entry:
    """Return the ledger's line of a file; the copy's name says what it is, and which one."""
    words = f"{file.system.value}-{file.kind.value}-{file.release}"
    slug = re.sub(r"[^0-9A-Za-z]+", "-", words).strip("-")
    suffix = ".xml" if file.kind is Kind.TABULAR or file.kind.is_index else ".txt"
    return _Entry(
        name=file.name,
        kind=file.kind.value,
        system=file.system.value,
        release=file.release,
        rows=file.rows,
        sha256=file.sha256,
        file=f"{slug}-{file.sha256[:8]}{suffix}",
    )


def _same(entry: _Entry, other: _Entry) -> bool:
    return entry.sha256 == other.sha256 and entry.release == other.release


def _used(entries: Sequence[_Entry]) -> dict[str, str]:
    """Return the digests of the files in use, each with a remark.

    Of each system: the newest tabular list with the order file or code list of the same
    release; without tabular list the newest order file, code list or descriptions; and the
    newest of each index file. Of two files of one release the one that was added last.
    """
    used: dict[str, str] = {}
    for system in dict.fromkeys(entry.system for entry in entries):
        newest: dict[str, _Entry] = {}
        mine = [entry for entry in entries if entry.system == system]
        for entry in sorted(mine, key=lambda entry: effective(entry.release)):
            newest[entry.kind] = entry
        tabular = newest.pop(Kind.TABULAR.value, None)
        lists = [entry for entry in mine if entry.kind in _LIST_KINDS]
        if tabular is not None:
            used[tabular.sha256] = ""
            lists = [entry for entry in lists if entry.release == tabular.release]
        if lists:
            best = max(enumerate(lists), key=lambda pair: (*_preference(pair[1]), pair[0]))[1]
            alone = tabular is None and system == System.ICD10CM.value
            used[best.sha256] = (
                f"no notes and inclusion terms without the tabular list of {best.release}"
                if alone
                else ""
            )
        indexes = [entry for kind, entry in newest.items() if Kind(kind).is_index]
        used.update((entry.sha256, "") for entry in indexes)
    return used


_LIST_KINDS = (Kind.ORDER.value, Kind.CODES.value, Kind.DESCRIPTIONS.value)


def _preference(entry: _Entry) -> tuple[tuple[int, int], bool]:
    return effective(entry.release), entry.kind == Kind.ORDER.value


def _described(entries: Sequence[_Entry]) -> list[ReleaseFile]:
    used = _used(entries)
    in_use = [entry for entry in entries if entry.sha256 in used]
    return [
        ReleaseFile(
            name=entry.name,
            kind=Kind(entry.kind),
            system=System(entry.system),
            release=entry.release,
            rows=entry.rows,
            sha256=entry.sha256,
            file=entry.file,
            used=entry.sha256 in used,
            remark=used[entry.sha256] if entry.sha256 in used else _why_unused(entry, in_use),
        )
        for entry in entries
    ]


def _why_unused(entry: _Entry, in_use: Sequence[_Entry]) -> str:
    beside = [other for other in in_use if other.system == entry.system]
    tabular = next((other for other in beside if other.kind == Kind.TABULAR.value), None)
    if entry.kind in _LIST_KINDS and tabular and tabular.release != entry.release:
        return f"not used: the tabular list in use is of {tabular.release}"
    same = entry.kind in _LIST_KINDS
    other = next(o for o in beside if o.kind == entry.kind or (same and o.kind in _LIST_KINDS))
    return f"not used: replaced by the {Kind(other.kind).label} {other.release}, {other.name}"


def _checked(
    entries: Sequence[_Entry], fresh: Sequence[FoundFile], folder: Path
) -> Mapping[str, IndexTerms]:
    """Put the files in use together, in memory, and return where the index lines lead."""
    used = _used(entries)
    at_hand = {file.sha256: file for file in fresh}
    touched = {file.system.value for file in fresh}
    needed = [entry for entry in entries if entry.sha256 in used and entry.system in touched]
    files = [at_hand.get(entry.sha256) or _loaded(entry, folder) for entry in needed]
    return assemble(files).terms


def _added(file: FoundFile, new: bool, release: ReleaseFile, terms: IndexTerms | None) -> AddedFile:
    remarks = [release.remark] if release.remark else []
    if terms is not None and terms.nearest:
        remarks.append(f"lines that lead to the nearest header of their code: {terms.nearest:,}")
    if terms is not None and terms.skipped:
        remarks.append(f"lines skipped, their code is not in the code set: {terms.skipped:,}")
    return AddedFile(
        file.name, file.kind, file.system, file.release, file.rows, new, "; ".join(remarks)
    )


def _loaded(entry: _Entry, folder: Path) -> FoundFile:
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


def _entries(folder: Path) -> list[_Entry]:
    """Return the ledger of a folder; files that were deleted from it are left out."""
    path = folder / LEDGER
    names = {field.name for field in fields(_Entry)}
    try:
        ledger = json.loads(path.read_text(encoding="utf-8"))
        if ledger["format"] != _FORMAT:
            raise ValueError(f"format {ledger['format']}, this cmsearch reads {_FORMAT}")
        entries = [
            _Entry(**{name: value for name, value in item.items() if name in names})
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


def _store(
    fresh: Sequence[FoundFile], entries: Sequence[_Entry], before: Sequence[_Entry], folder: Path
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
def _locked(folder: Path) -> Iterator[None]:
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
