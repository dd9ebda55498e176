"""The user's folder of official release files: what is in it, and what becomes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cmsearch.codes import System
from cmsearch.ontology.alphabetic import IndexTerms
from cmsearch.ontology.assemble import assemble
from cmsearch.ontology.concept import CodeSet
from cmsearch.ontology.ledger import Entry, entry_of, load, locked, read_ledger, same, store
from cmsearch.ontology.release import FoundFile, Kind, read_release
from cmsearch.ontology.releasename import effective


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
    with locked(folder):
        before = read_ledger(folder)
        entries = list(before)
        fresh = []
        new = []
        for file in found:
            entry = entry_of(file)
            new.append(not any(same(entry, other) for other in entries))
            if new[-1]:
                entries = [other for other in entries if other.sha256 != entry.sha256] + [entry]
                fresh.append(file)
        terms = _checked(entries, fresh, folder)
        if fresh:
            store(fresh, entries, before, folder)
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
    return _described(read_ledger(folder))


def code_sets(folder: Path) -> list[CodeSet]:
    """Return the code sets of the release files in a folder, to pass to ``Ontology.load``.

    Each is whole: concepts, and the terms of the index files. A folder with nothing but
    index files gives the packaged ICD-10-CM codes with these terms. Takes two to five
    seconds for a full release of ICD-10-CM.

    Raises:
        OntologyError: a file in the folder was changed or cannot be read.
    """
    entries = read_ledger(folder)
    used = _used(entries)
    files = [load(entry, folder) for entry in entries if entry.sha256 in used]
    return list(assemble(files).code_sets)


def _used(entries: Sequence[Entry]) -> dict[str, str]:
    """Return the digests of the files in use, each with a remark.

    Of each system: the newest tabular list with the order file or code list of the same
    release; without tabular list the newest order file, code list or descriptions; and the
    newest of each index file. Of two files of one release the one that was added last.
    """
    used: dict[str, str] = {}
    for system in dict.fromkeys(entry.system for entry in entries):
        newest: dict[str, Entry] = {}
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


def _preference(entry: Entry) -> tuple[tuple[int, int], bool]:
    return effective(entry.release), entry.kind == Kind.ORDER.value


def _described(entries: Sequence[Entry]) -> list[ReleaseFile]:
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


def _why_unused(entry: Entry, in_use: Sequence[Entry]) -> str:
    beside = [other for other in in_use if other.system == entry.system]
    tabular = next((other for other in beside if other.kind == Kind.TABULAR.value), None)
    if entry.kind in _LIST_KINDS and tabular and tabular.release != entry.release:
        return f"not used: the tabular list in use is of {tabular.release}"
    listed = entry.kind in _LIST_KINDS
    other = next(o for o in beside if o.kind == entry.kind or (listed and o.kind in _LIST_KINDS))
    return f"not used: replaced by the {Kind(other.kind).label} {other.release}, {other.name}"


def _checked(
    entries: Sequence[Entry], fresh: Sequence[FoundFile], folder: Path
) -> Mapping[str, IndexTerms]:
    """Put the files in use together, in memory, and return where the index lines lead."""
    used = _used(entries)
    at_hand = {file.sha256: file for file in fresh}
    touched = {file.system.value for file in fresh}
    needed = [entry for entry in entries if entry.sha256 in used and entry.system in touched]
    files = [at_hand.get(entry.sha256) or load(entry, folder) for entry in needed]
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
