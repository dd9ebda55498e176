"""The rows of a collection: SQLite with notes, passages and their words."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from cmsearch.errors import IndexFolderError

BOOK_FILE = "notes.sqlite"
_SCHEMA = """
CREATE TABLE state (state TEXT NOT NULL);
CREATE TABLE note (
    id INTEGER PRIMARY KEY, name TEXT NOT NULL, source TEXT NOT NULL, digest TEXT NOT NULL,
    current INTEGER NOT NULL
);
CREATE TABLE passage (
    id INTEGER PRIMARY KEY, note INTEGER NOT NULL, begins INTEGER NOT NULL,
    ends INTEGER NOT NULL, section TEXT NOT NULL, text TEXT NOT NULL
);
CREATE VIRTUAL TABLE passage_words USING fts5(
    text, content='passage', content_rowid='id',
    tokenize="porter unicode61 remove_diacritics 2"
);
CREATE INDEX note_name ON note (name, source);
CREATE INDEX passage_note ON passage (note);
"""


@dataclass(frozen=True, slots=True)
class PassageRow:
    """A passage of a note of the collection.

    Attributes:
        id: its number, also the row of its vector.
        note: the number of its note.
        name: the id of its note.
        source: the file that the note came from.
        begin, end: where it stands in the note, in code points.
        section: the section it stands in, empty for none.
        text: its words.
    """

    id: int
    note: int
    name: str
    source: str
    begin: int
    end: int
    section: str
    text: str


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage that is to be written: where it stands, and its words."""

    begin: int
    end: int
    section: str
    text: str


class Book:
    """The SQLite file of a collection.

    Args:
        connection: an open connection.
        path: its file, for messages.

    Every method raises IndexFolderError when the file is damaged or cannot be written.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    @classmethod
    def open(cls, folder: Path) -> Book:
        """Return the book of a folder, for reading.

        Raises:
            IndexFolderError: there is none, or it is damaged.
        """
        path = folder / BOOK_FILE
        if not path.is_file():
            raise IndexFolderError(
                f"{folder}: no notes are indexed here; index some with: cmsearch notes index FILES"
            )
        with _reported(path):
            connection = sqlite3.connect(
                f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=60, check_same_thread=False
            )
        book = cls(connection, path)
        book.state()
        return book

    @classmethod
    def write(cls, folder: Path, state: dict[str, Any]) -> Book:
        """Return the book of a folder for writing; a new one, in that state, if there is none."""
        path = folder / BOOK_FILE
        with _reported(path):
            connection = sqlite3.connect(path, timeout=60)
            book = cls(connection, path)
            if not book._rows("SELECT 1 FROM sqlite_master WHERE name = 'state'"):
                connection.executescript(f"BEGIN; {_SCHEMA}")
                connection.execute("INSERT INTO state VALUES (?)", (json.dumps(state),))
                connection.commit()
        return book

    def close(self) -> None:
        """Close the file; what was not committed is as if it had never been."""
        self._db.close()

    def state(self) -> dict[str, Any]:
        """Return what the collection says of itself."""
        found: dict[str, Any] = json.loads(self._rows("SELECT state FROM state")[0][0])
        return found

    def commit(self, state: dict[str, Any]) -> None:
        """Make everything written since the last commit count, all at once."""
        with _reported(self._path):
            self._db.execute("UPDATE state SET state = ?", (json.dumps(state),))
            self._db.commit()

    def note(self, name: str, source: str) -> tuple[int, str]:
        """Return number and digest of the current note of a name; (0, "") if there is none."""
        rows = self._rows(
            "SELECT id, digest FROM note WHERE name = ? AND source = ? AND current", (name, source)
        )
        return (int(rows[0][0]), str(rows[0][1])) if rows else (0, "")

    def last_note(self) -> int:
        """Return the highest number of a note, 0 if there is none."""
        return int(self._rows("SELECT coalesce(max(id), 0) FROM note")[0][0])

    def add(
        self, name: str, source: str, digest: str, first: int, parts: Sequence[NewPassage]
    ) -> None:
        """Write a note whose passages have the numbers from ``first`` on.

        An older note of the same name and source is no longer found.
        """
        with _reported(self._path):
            self._db.execute(
                "UPDATE note SET current = 0 WHERE name = ? AND source = ?", (name, source)
            )
            note = self._db.execute(
                "INSERT INTO note (name, source, digest, current) VALUES (?,?,?,1)",
                (name, source, digest),
            ).lastrowid
            rows = [(first + number, note, *asdict(part).values())
                    for number, part in enumerate(parts)]  # fmt: skip
            self._db.executemany("INSERT INTO passage VALUES (?,?,?,?,?,?)", rows)
            self._db.executemany(
                "INSERT INTO passage_words (rowid, text) VALUES (?,?)",
                [(row[0], row[-1]) for row in rows],
            )

    def counts(self) -> tuple[int, int]:
        """Return how many notes and passages can be found."""
        rows = self._rows(
            "SELECT count(DISTINCT note.id), count(passage.id) FROM note "
            "LEFT JOIN passage ON passage.note = note.id WHERE current"
        )
        return int(rows[0][0]), int(rows[0][1])

    def passages(self, ids: Sequence[int]) -> dict[int, PassageRow]:
        """Return the passages with these numbers, by number; those of older notes left out."""
        found: dict[int, PassageRow] = {}
        for start in range(0, len(ids), 900):
            part = ids[start : start + 900]
            marks = ",".join("?" * len(part))
            for row in self._rows(
                "SELECT passage.id, note.id, name, source, begins, ends, section, text "
                f"FROM passage JOIN note ON note.id = passage.note WHERE passage.id IN ({marks}) "
                "AND current",
                part,
            ):
                found[row[0]] = PassageRow(*row)
        return found

    def find(self, clauses: Sequence[Sequence[str]], *, limit: int) -> list[int]:
        """Return the passages that BM25 ranks first: with all words of a clause or of another.

        Args:
            clauses: words; a passage must hold all words of one clause at least.
            limit: how many at most.
        """
        terms = [
            " AND ".join(f'"{word}"' for word in clause if word.isalnum()) for clause in clauses
        ]
        expression = " OR ".join(f"({term})" for term in terms if term)
        if not expression:
            return []
        rows = self._rows(
            "SELECT rowid FROM passage_words WHERE passage_words MATCH ? "
            "ORDER BY rank, rowid LIMIT ?",
            (expression, limit),
        )
        return [int(row[0]) for row in rows]

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
        with _reported(self._path):
            return self._db.execute(sql, values).fetchall()


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    """Turn what SQLite says into an error of ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise IndexFolderError(
            f"{path}: cannot be used ({error}); free space or rights, or name another folder"
        ) from error
    except sqlite3.DatabaseError as error:
        raise IndexFolderError(
            f"{path}: damaged ({error}); index the notes again into another folder"
        ) from error
