"""Opening what a user names: a file, or the members of a ZIP archive, whatever they hold.

Nothing is unpacked to disk and no name inside an archive is ever used as a path.
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from cmsearch.errors import OntologyError

# The largest official file, an ICD-10-PCS order file, has 14 MB.
MAX_FILE_BYTES = 64 * 2**20
MAX_ARCHIVE_BYTES = 256 * 2**20
MAX_MEMBERS = 5_000
READABLE = (".xml", ".txt")

_WANTED = (
    "name a ZIP archive, XML or text file as CDC or CMS publish it: tabular list, index, table, "
    "order file, code list or ICD-9 long descriptions"
)
# What a file is that begins with these bytes.
_STRANGERS = (
    (b"%PDF", "a PDF document"),
    (b"\xd0\xcf\x11\xe0", "an old Word or Excel file"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x89PNG", "a picture"),
)


@dataclass(frozen=True, slots=True)
class Member:
    """One file as it was read.

    Attributes:
        name: what to call it in messages: its path, and its place in an archive.
        file: its own file name, without folders.
        archive: file name of the archive that holds it; empty if none does.
        data: its bytes.
    """

    name: str
    file: str
    archive: str
    data: bytes


def read_members(path: Path) -> list[Member]:
    """Return the file, or the XML and text files of the ZIP archive, that a path names.

    Raises:
        OntologyError: there is no such file, it is empty, too large, damaged, of a kind
            that holds no code set, or an archive with unsafe or no readable members.
    """
    data = _bytes(path)
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return list(_unzipped(path, data))
    if path.suffix.lower() == ".zip" and not _stranger(data):
        raise OntologyError(
            f"{path}: not a ZIP archive, although its name says so; download it again"
        )
    check_content(str(path), data)
    return [Member(str(path), path.name, "", data)]


def check_content(name: str, data: bytes) -> None:
    """Refuse bytes that are neither XML nor text of a release file.

    Raises:
        OntologyError: they are empty, binary, an HTML page or a document.
    """
    if not data.strip():
        raise OntologyError(f"{name}: the file is empty; download it again")
    kind = _stranger(data)
    if kind:
        raise OntologyError(f"{name}: this is {kind}, not a release file; {_WANTED}")
    if b"\0" in data[:4096] and not data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise OntologyError(f"{name}: a binary file, not a release file; {_WANTED}")


def _bytes(path: Path) -> bytes:
    try:
        if path.is_dir():
            raise OntologyError(f"{path}: this is a folder; name the files in it: {path}/*")
        if not path.exists():
            raise OntologyError(f"{path}: there is no such file; check the path")
        if not path.is_file():
            raise OntologyError(f"{path}: not a regular file; {_WANTED}")
        if path.stat().st_size > MAX_ARCHIVE_BYTES:
            raise OntologyError(
                f"{path}: larger than {MAX_ARCHIVE_BYTES >> 20} MB, so not a release file; "
                f"{_WANTED}"
            )
        data = path.read_bytes()
    except (OSError, ValueError) as error:
        raise OntologyError(f"{path}: cannot be read ({error}); check its permissions") from error
    if not data.startswith(b"PK") and len(data) > MAX_FILE_BYTES:
        raise OntologyError(
            f"{path}: larger than {MAX_FILE_BYTES >> 20} MB, so not a release file; {_WANTED}"
        )
    return data


def _stranger(data: bytes) -> str:
    """Return what a file is that cannot be a release file; empty if it may be one."""
    for start, kind in _STRANGERS:
        if data.startswith(start):
            return kind
    beginning = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if beginning.startswith((b"<!doctype html", b"<html")):
        return "an HTML page, probably the error page of a failed download"
    return ""


def _unzipped(path: Path, data: bytes) -> Iterator[Member]:
    try:
        archive = zipfile.ZipFile(BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError) as error:
        raise OntologyError(
            f"{path}: a damaged or incomplete ZIP archive ({error}); download it again"
        ) from error
    with archive:
        infos = [info for info in archive.infolist() if not info.is_dir()]
        if len(infos) > MAX_MEMBERS:
            raise OntologyError(
                f"{path}: {len(infos)} files in one archive, more than any release has; {_WANTED}"
            )
        for info in infos:
            _check_place(path, info.filename)
        readable = [info for info in infos if _is_readable(info.filename)]
        if not readable:
            raise OntologyError(f"{path}: {_inventory(infos)}; {_WANTED}")
        total = 0
        for info in readable:
            content = _member(path, archive, info)
            total += len(content)
            if total > MAX_ARCHIVE_BYTES:
                raise OntologyError(
                    f"{path}: unpacks to more than {MAX_ARCHIVE_BYTES >> 20} MB; "
                    "unpack it yourself and add the files that you need"
                )
            place = PurePosixPath(info.filename)
            yield Member(f"{path}, {place}", place.name, path.name, content)


def _check_place(path: Path, name: str) -> None:
    place = PurePosixPath(name.replace("\\", "/"))
    if place.is_absolute() or ".." in place.parts or ":" in place.parts[0]:
        raise OntologyError(
            f"{path}: holds a file {name!r}, whose path leads out of the archive; no official "
            "release does: download it again from CDC or CMS"
        )


def _is_readable(name: str) -> bool:
    place = PurePosixPath(name)
    hidden = place.name.startswith("._") or "__MACOSX" in place.parts
    return place.suffix.lower() in READABLE and not hidden


def _inventory(infos: list[zipfile.ZipInfo]) -> str:
    """Say what an archive without any readable file holds instead."""
    names = [PurePosixPath(info.filename).name for info in infos]
    if not names:
        return "an empty ZIP archive"
    shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    inner = "; unpack it and add the ZIP archives in it"
    is_nested = any(name.lower().endswith(".zip") for name in names)
    return f"no XML or text file in this archive, only {shown}{inner if is_nested else ''}"


def _member(path: Path, archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bytes:
    where = f"{path}, {info.filename}"
    if info.flag_bits & 1:
        raise OntologyError(f"{where}: encrypted; unpack it with its password and add the files")
    try:
        with archive.open(info) as handle:
            content = handle.read(MAX_FILE_BYTES + 1)
    except NotImplementedError as error:
        raise OntologyError(
            f"{where}: compressed in a way that Python cannot read ({error}); "
            "unpack the archive and add the file"
        ) from error
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise OntologyError(f"{where}: damaged ({error}); download the archive again") from error
    if len(content) > MAX_FILE_BYTES:
        raise OntologyError(
            f"{where}: unpacks to more than {MAX_FILE_BYTES >> 20} MB, so not a release file; "
            f"{_WANTED}"
        )
    return content
