"""Lines of text and JSON in files, plain or gzip, with faults named by file and line.

A path that ends in ``.gz`` is written compressed; compressed files are known by their
content.
"""

from __future__ import annotations

import gzip
import json
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, NoReturn, cast

from cmsearch.errors import CasesError

Where = tuple[str, int]


def read_lines(path: Path) -> Iterator[tuple[Where, str]]:
    """Yield file, number and text of every line that is not blank."""
    try:
        with _opened(path) as stream:
            for number, raw in enumerate(stream, start=1):
                try:
                    line = raw.decode("utf-8-sig" if number == 1 else "utf-8").strip()
                except UnicodeDecodeError:
                    refuse((str(path), number), "no UTF-8 text", "save the file as UTF-8")
                if line:
                    yield (str(path), number), line
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise CasesError(f"{path}: the gzip file is damaged ({error}); copy it again") from error
    except OSError as error:
        raise CasesError(
            f"{path}: cannot be read ({error.strerror or error}); check the path"
        ) from error


def starts_like_json(path: Path) -> bool:
    """Return whether the first line that is not blank begins like JSON."""
    return next((line.startswith(("{", "[")) for _, line in read_lines(path)), False)


def read_json_lines(path: Path) -> Iterator[tuple[Where, Mapping[str, Any]]]:
    """Yield file and line number, and the object, of every line that is not blank."""
    for where, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "too deep or large"
            refuse(where, f"not JSON ({reason})", "write one object on each line")
        if not isinstance(row, dict):
            refuse(where, "not a JSON object", 'write one on each line: {"query": ...}')
        yield where, row


def text_field(row: Mapping[str, Any], key: str, where: Where, *, blank: bool = False) -> str:
    """Return a field that must hold text, or for an id a whole number as text."""
    value = row.get(key)
    if isinstance(value, int) and not isinstance(value, bool) and key.endswith("id"):
        return str(value)
    if not isinstance(value, str) or not (blank or value.strip()):
        known = ", ".join(map(repr, row)) or "none"
        refuse(where, f"field {key!r} is missing or no text", f"give it; fields here: {known}")
    if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
        refuse(where, f"field {key!r} holds half a character", "remove the \\ud8xx escape")
    return value


def first_double(values: Iterable[str]) -> str | None:
    """Return the first value that has come before; None if all differ."""
    seen: set[str] = set()
    for value in values:
        if value in seen:
            return value
        seen.add(value)
    return None


def refuse(where: Where, fault: str, advice: str) -> NoReturn:
    """Raise CasesError with the place, what is wrong there and what to do."""
    raise CasesError(f"{where[0]}, line {where[1]}: {fault}; {advice}")


def one_word(value: str) -> str:
    """Return a value that must be one word, as TREC files need."""
    if not value or len(value.split()) != 1 or value != value.strip():
        raise CasesError(f"{value[:40]!r} cannot stand in a TREC file: it needs one word")
    return value


def dump(row: Mapping[str, Any]) -> str:
    """Return an object as a line of JSON."""
    return json.dumps(row, ensure_ascii=False)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write lines to a file that appears when complete; compressed for ``.gz``."""
    make_folder(path.parent)
    part: Path | None = None
    try:
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".part-", delete=False) as stream:
            part = Path(stream.name)
            content = "".join(f"{line}\n" for line in lines).encode()
            stream.write(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
        part.chmod(0o644)
        part.replace(path)
    except OSError as error:
        raise CasesError(
            f"{path}: cannot be written ({error.strerror or error}); check folder and space"
        ) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def make_folder(folder: Path) -> None:
    """Make a folder with its parents where it is missing."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CasesError(
            f"{folder}: cannot be made ({error.strerror or error}); name another"
        ) from error


def _opened(path: Path) -> IO[bytes]:
    with path.open("rb") as stream:
        packed = stream.read(2) == b"\x1f\x8b"
    return cast(IO[bytes], gzip.open(path)) if packed else path.open("rb")
