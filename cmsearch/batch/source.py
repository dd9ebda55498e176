"""The input of a job: what it is, where its notes stand, and its rows in chunks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from cmsearch.batch.parquet import read_parquet
from cmsearch.batch.readers import Columns, Read, read_folder, read_json, read_table
from cmsearch.batch.rows import Chunk, chunks
from cmsearch.batch.streams import STDIN
from cmsearch.errors import BatchError

# The longest known clinical notes have some 200,000 characters; a row beyond this is a
# fault of the file.
LONGEST = 1_000_000
_PACKED = (".gz", ".zst", ".zstd")


class Format(Enum):
    """How the rows of an input are written."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    FOLDER = "folder"

    @classmethod
    def of(cls, path: str) -> Format:
        """Return the format of a path, by its ending.

        Raises:
            BatchError: nothing is there, or the ending says nothing.
        """
        if path == STDIN:
            raise BatchError("what stdin holds cannot be known; say --from csv, tsv or jsonl")
        place = Path(path)
        if place.is_dir():
            return cls.FOLDER
        if not place.exists():
            raise BatchError(f"{path}: there is no such file or folder; check the path")
        name = place.name.lower()
        for ending in _PACKED:
            name = name.removesuffix(ending)
        found = _ENDINGS.get(Path(name).suffix)
        if found is None:
            raise BatchError(
                f"{path}: its ending does not say what it is; say --from csv, tsv, jsonl or parquet"
            )
        return found


_ENDINGS = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".tab": Format.TSV,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".txt": Format.FOLDER,
}


@dataclass(frozen=True, slots=True)
class Source:
    """Where the notes of a job come from.

    Attributes:
        path: a file, a folder of .txt files, or ``-`` for stdin.
        format: how its rows are written; a .txt file is a folder of one.
        columns: where a row has its note and its id.
    """

    path: str
    format: Format
    columns: Columns

    @classmethod
    def of(
        cls,
        path: str,
        *,
        format: Format | None = None,
        text_column: str = "text",
        id_column: str = "",
        longest: int = LONGEST,
    ) -> Source:
        """Return the source of a path.

        Args:
            path: a file, a folder of .txt files, or ``-`` for stdin.
            format: how its rows are written; by the ending if left out.
            text_column: the column of the note.
            id_column: the column of its id; ``id``, or the row's number, if left out.
            longest: a note of more characters is set aside.

        Raises:
            BatchError: nothing is there, it cannot be read, or a column is missing.
        """
        source = cls(path, format or Format.of(path), Columns(text_column, id_column, longest))
        if path != STDIN:
            next(source.rows(), None)  # what is wrong with the file is said before all else
        return source

    @property
    def bytes(self) -> int | None:
        """The size of the file; None for stdin and for folders."""
        place = Path(self.path)
        return place.stat().st_size if self.path != STDIN and place.is_file() else None

    def rows(self) -> Read:
        """Yield every row, each with the share of the input that has been read."""
        if self.format is Format.PARQUET:
            return read_parquet(self.path, self.columns)
        if self.format is Format.FOLDER:
            return read_folder(self.path, self.columns)
        if self.format is Format.JSONL:
            return read_json(self.path, self.columns)
        delimiter = "," if self.format is Format.CSV else "\t"
        return read_table(self.path, self.columns, delimiter=delimiter)

    def chunks(self, *, skip: int = 0, digest: str = "") -> Iterator[Chunk]:
        """Yield the rows in chunks, from chunk number ``skip`` on.

        Args:
            skip: how many chunks were answered before.
            digest: the digest of the last of them.

        Raises:
            BatchError: the input cannot be read, or is not the one that was answered.
        """
        passed, count = "", 0
        for chunk in chunks(self.rows()):
            if chunk.number == skip:
                self._expect(passed, digest)
            if chunk.number >= skip:
                yield chunk
            passed, count = chunk.digest, chunk.number + 1
        if count <= skip:
            self._expect(passed, digest)

    def _expect(self, passed: str, digest: str) -> None:
        if passed != digest:
            raise BatchError(
                f"{self.path}: differs from the input that this job began with; "
                "start anew with --overwrite, or name another output"
            )
