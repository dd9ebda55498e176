"""Rows of CSV, TSV and JSONL files and of folders of text; bad rows become faults."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cmsearch.batch.rows import Fault, Item, Note
from cmsearch.batch.streams import Stream, opened
from cmsearch.errors import BatchError

Read = Iterator[tuple[Item, float | None]]
_LONGEST_ID = 200
_PIECE = 1 << 16
_SLACK = 1 << 16
# Only such names are repeated in messages: the first line of a file without a header is data.
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,39}")
_TEXT_ENDINGS = (".txt", ".txt.gz", ".txt.zst")


@dataclass(frozen=True, slots=True)
class Columns:
    """Where a row has its note and its id, and how long a note may be.

    Attributes:
        text: the column of the note.
        id: the column of the id; empty for ``id``, or the row's number where there is none.
        longest: how many characters a note may have.
    """

    text: str
    id: str
    longest: int

    def places(self, names: list[str], where: str) -> tuple[int, int | None]:
        """Return where text and id stand among the names of the columns.

        Raises:
            BatchError: a column is missing.
        """
        for name, option in ((self.text, "--text-column"), (self.id, "--id-column")):
            if name and name not in names:
                known = ", ".join(filter(_NAME.fullmatch, names[:30])) or "no header"
                raise BatchError(
                    f"{where}: has no column {name!r}; it has {known}; say which with {option}"
                )
        wanted = self.id or "id"
        return names.index(self.text), names.index(wanted) if wanted in names else None

    def item(self, row: int, identity: object, text: object) -> Item:
        """Return a row as a note, or as a fault that says why it is none."""
        name, fault = _named(row, identity)
        if fault:
            return Fault(row, name, fault)
        if not isinstance(text, str):
            missing = text is None
            return Fault(row, name, "empty" if missing else f"{self.text!r} holds no text")
        if not text or text.isspace():
            return Fault(row, name, "empty")
        if len(text) > self.longest:
            return Fault(row, name, self.too_long)
        if not text.isascii() and (half := _HALF.search(text)):
            escaped = "\udc80" <= half[0] <= "\udcff"
            return Fault(row, name, "not UTF-8" if escaped else "holds half a character")
        return Note(row, name, text)

    @property
    def too_long(self) -> str:
        """What is said of a row that is too long."""
        return f"longer than {self.longest:,} characters"


_HALF = re.compile("[\ud800-\udfff]")


def _named(row: int, identity: object) -> tuple[str, str]:
    """Return the id of a row, and what is wrong with it if something is."""
    if identity is None or identity == "":
        return str(row), ""
    if isinstance(identity, bool) or not isinstance(identity, str | int):
        return str(row), "its id is neither text nor a whole number"
    name = str(identity)
    if len(name) > _LONGEST_ID:
        return str(row), f"its id is longer than {_LONGEST_ID} characters"
    return name.encode("utf-8", "replace").decode("utf-8"), ""


def read_table(path: str, columns: Columns, *, delimiter: str) -> Read:
    """Yield the rows of a CSV or TSV file with a header; rows count from 1 below it.

    Raises:
        BatchError: the file cannot be read, or its header lacks a column.
    """
    with opened(path) as stream:
        lines = _TableLines(stream, delimiter, 4 * columns.longest + _SLACK)
        csv.field_size_limit(max(csv.field_size_limit(), lines.bound + _SLACK))
        table = csv.reader(lines, delimiter=delimiter)
        names = [name.strip() for name in next(table, [])]
        text_at, id_at = columns.places(names, path)
        row = 0
        while True:
            lines.begin()
            try:
                fields = next(table)
            except StopIteration:
                return
            except csv.Error:
                row += 1
                yield Fault(row, str(row), "not CSV: a line break outside quotes"), stream.read
                continue
            if not fields:
                continue
            row += 1
            if lines.overlong:
                reason = f"{columns.too_long}, or a quote that is never closed"
                yield Fault(row, str(row), reason), stream.read
            elif len(fields) != len(names):
                known = id_at is not None and id_at < text_at and id_at < len(fields)
                name, _ = _named(row, fields[id_at] if known and id_at is not None else None)
                reason = f"has {len(fields)} fields, the header has {len(names)}"
                yield Fault(row, name, reason), stream.read
            else:
                identity = None if id_at is None else fields[id_at]
                yield columns.item(row, identity, fields[text_at]), stream.read


class _TableLines:
    """Lines for csv.reader. Of a row beyond the bound only what structures it is kept."""

    def __init__(self, stream: Stream, delimiter: str, bound: int) -> None:
        self.bound = bound
        self.overlong = False
        self._content = stream.content
        self._size = 0
        self._first = True
        self._words = re.compile(rb'[^"\r\n' + delimiter.encode() + rb"]+")

    def __iter__(self) -> _TableLines:
        return self

    def begin(self) -> None:
        """Begin a row."""
        self._size, self.overlong = 0, False

    def __next__(self) -> str:
        pieces = []
        while piece := self._content.readline(_PIECE):
            self._size += len(piece)
            self.overlong |= self._size > self.bound
            pieces.append(self._words.sub(b"x", piece) if self.overlong else piece)
            if piece.endswith(b"\n"):
                break
        if not pieces:
            raise StopIteration
        line = b"".join(pieces)
        if self._first:
            line, self._first = line.removeprefix(b"\xef\xbb\xbf"), False
        return line.decode("utf-8", "surrogateescape")


def read_json(path: str, columns: Columns) -> Read:
    """Yield the rows of a JSON Lines file; a row's number is that of its line.

    Raises:
        BatchError: the file cannot be read.
    """
    with opened(path) as stream:
        for row, line in enumerate(stream.lines(6 * columns.longest + _SLACK), start=1):
            if line is None:
                yield Fault(row, str(row), columns.too_long), stream.read
            elif line.strip():
                yield _json_item(row, line, columns), stream.read


def _json_item(row: int, line: bytes, columns: Columns) -> Item:
    try:
        values: Any = json.loads(line.decode("utf-8-sig" if row == 1 else "utf-8"))
    except UnicodeDecodeError:
        return Fault(row, str(row), "not UTF-8")
    except (ValueError, RecursionError):
        return Fault(row, str(row), "not JSON")
    if not isinstance(values, dict):
        return Fault(row, str(row), "not a JSON object")
    if columns.id and columns.id not in values:
        return Fault(row, str(row), f"has no {columns.id!r}")
    identity = values.get(columns.id or "id")
    if columns.text not in values:
        return Fault(row, _named(row, identity)[0], f"has no {columns.text!r}")
    return columns.item(row, identity, values[columns.text])


def read_folder(path: str, columns: Columns) -> Read:
    """Yield the .txt files of a folder and of those in it, in order of their names; or one.

    The id of a note is its path within the folder, without the ending.

    Raises:
        BatchError: the folder cannot be read, or holds no text file.
    """
    root = Path(path)
    if root.is_file():
        yield _file_item(1, root.name.split(".txt")[0], root, columns), 1.0
        return
    total = sum(1 for _ in _files(root))
    if not total:
        raise BatchError(f"{path}: no .txt file in this folder; name a file, or a folder of .txt")
    for row, file in enumerate(_files(root), start=1):
        name = file.relative_to(root).as_posix()
        for ending in (".gz", ".zst", ".txt"):
            name = name.removesuffix(ending)
        yield _file_item(row, name, file, columns), row / total


def _file_item(row: int, name: str, file: Path, columns: Columns) -> Item:
    bound = 4 * columns.longest
    try:
        with opened(str(file)) as stream:
            content = stream.content.read(bound + 1)
    except BatchError as error:
        cause = error.__cause__
        reason = cause.strerror if isinstance(cause, OSError) else None
        return Fault(row, _named(row, name)[0], f"cannot be read ({reason or 'damaged'})")
    if len(content) > bound:
        return Fault(row, _named(row, name)[0], columns.too_long)
    text = content.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "surrogateescape")
    return columns.item(row, name, text)


def _files(folder: Path) -> Iterator[Path]:
    """Yield the text files below a folder, in order; links to folders are not followed."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise BatchError(f"{folder}: cannot be read ({error.strerror}); check rights") from error
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(Path(entry.path))
        elif entry.name.lower().endswith(_TEXT_ENDINGS):
            yield Path(entry.path)


Reader = Callable[[str, Columns], Read]
