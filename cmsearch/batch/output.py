"""The output of a job, in its place at once: JSON lines, CSV or Parquet, packed or not."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from cmsearch.batch.parquet import write_parquet
from cmsearch.batch.schema import Column, Kind
from cmsearch.batch.spool import Spool, unwritable
from cmsearch.batch.streams import EXTRA, packed
from cmsearch.errors import BatchError, need

_STAGED = "output"


class Layout(Enum):
    """How the answers are written."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


@dataclass(frozen=True, slots=True)
class Output:
    """Where the answers go.

    Attributes:
        path: the file that appears when the job is done.
        layout: how it is written, by its ending.
        packing: ``.gz``, ``.zst`` or nothing.
    """

    path: Path
    layout: Layout
    packing: str

    @classmethod
    def of(cls, path: Path) -> Output:
        """Return the output of a path.

        Raises:
            BatchError: its ending says nothing, or its folder is missing.
            MissingDependency: it needs pyarrow.
        """
        name = path.name.lower()
        packing = next((end for end in (".gz", ".zst") if name.endswith(end)), "")
        ending = Path(name.removesuffix(packing)).suffix
        layout = {".jsonl": Layout.JSONL, ".ndjson": Layout.JSONL, ".csv": Layout.CSV,
                  ".parquet": Layout.PARQUET}.get(ending)  # fmt: skip
        if layout is None or (layout is Layout.PARQUET and packing):
            raise BatchError(
                f"{path}: the output must end in .jsonl, .csv (either with .gz or .zst) or "
                ".parquet; - writes JSON lines to stdout"
            )
        if not path.parent.is_dir():
            raise BatchError(f"{path.parent}: there is no such folder; make it first")
        if layout is Layout.PARQUET or packing == ".zst":
            need("pyarrow", extra=EXTRA)
        return cls(path, layout, packing)

    @property
    def errors(self) -> Path:
        """The file of rows that were set aside; there is none where all were answered."""
        return self.path.with_name(f"{self.path.name}.errors.jsonl")

    @property
    def record(self) -> Path:
        """The file that tells what the job was."""
        return self.path.with_name(f"{self.path.name}.job.json")

    @property
    def parts(self) -> Path:
        """The folder of what is answered so far."""
        return self.path.with_name(f"{self.path.name}.parts")

    def place(self, spool: Spool, columns: Sequence[Column]) -> None:
        """Put answers and errors of a spool in their places; may be called again.

        Raises:
            BatchError: the disk is full, or the folder is gone.
        """
        try:
            if self.layout is Layout.JSONL and not self.packing:
                staged = spool.answers
            else:
                staged = spool.folder / _STAGED
                self._write(staged, columns, spool.answers)
            if staged.exists():
                _flushed(staged)
                staged.replace(self.path)
            elif not self.path.exists():
                raise BatchError(f"{self.path}: is gone; start anew with --overwrite")
            if not spool.done.set_aside:
                self.errors.unlink(missing_ok=True)
            elif spool.errors.exists():
                spool.errors.replace(self.errors)
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _write(self, path: Path, columns: Sequence[Column], answers: Path) -> None:
        if self.layout is Layout.PARQUET:
            write_parquet(path, columns, _rows(answers))
            return
        with packed(path, self.packing) as stream:
            if self.layout is Layout.JSONL:
                with answers.open("rb") as lines:
                    stream.writelines(lines)
                return
            with io.TextIOWrapper(stream, "utf-8", newline="", write_through=True) as text:
                table = csv.writer(text, lineterminator="\n")
                table.writerow(header(columns))
                for row in _rows(answers):
                    table.writerows(flat(row, columns))


def header(columns: Sequence[Column]) -> list[str]:
    """Return the header of a CSV output: plain columns, then those of each answer."""
    plain = [column.name for column in columns if not column.parts]
    return plain + [part.name for column in columns for part in column.parts]


def flat(row: Mapping[str, Any], columns: Sequence[Column]) -> Iterator[list[Any]]:
    """Yield a line of CSV for each answer of a row; one with empty cells if it has none."""
    plain = [_cell(row[column.name]) for column in columns if not column.parts]
    for column in columns:
        if column.parts:
            empty: dict[str, Any] = dict.fromkeys(part.name for part in column.parts)
            for found in row[column.name] or [empty]:
                yield plain + [_cell(found[part.name]) for part in column.parts]
            return
    yield plain


def _cell(value: Any) -> Any:
    return json.dumps(value, ensure_ascii=False) if isinstance(value, list | dict) else value


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8", newline="\n") as lines:
        for line in lines:
            yield json.loads(line)


def _flushed(path: Path) -> None:
    """Have a file on the disk before it is named."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def schema_table(columns: Sequence[Column], *, prefix: str = "") -> list[tuple[str, str]]:
    """Return names and kinds of all columns, those of lists behind a dot."""
    found = []
    for column in columns:
        many = "list of texts" if column.kind is Kind.LIST and not column.parts else ""
        found.append((prefix + column.name, many or column.kind.value))
        found += schema_table(column.parts, prefix=f"{prefix}{column.name}.")
    return found
