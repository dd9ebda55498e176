"""The lexical half of an index: SQLite with concepts, text forms, words and crosswalks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import OSA

from cmsearch.codes import Code, candidates
from cmsearch.formtable import FormTable
from cmsearch.lexiconfile import unreadable
from cmsearch.rows import ConceptRow, CrosswalkRow, FormRow

# A term in more forms than this finds nothing in particular; it still counts in scores.
_COMMON = 4_000


class Lexicon:
    """The SQLite file of an index, open for reading.

    Args:
        connection: a read-only connection.
        path: its file, for messages.

    Every method raises IndexFolderError when the file turns out to be damaged.
    """

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self._db = connection
        self._path = path

    @classmethod
    def open(cls, path: Path) -> Lexicon:
        """Return the lexicon of a file; many processes may read it at once.

        Raises:
            IndexFolderError: the file is missing or is no lexicon.
        """
        uri = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
        try:
            connection = sqlite3.connect(uri, uri=True, check_same_thread=False)
        except sqlite3.Error as error:
            raise unreadable(path, error) from error
        try:
            connection.execute("SELECT id FROM concept LIMIT 1").fetchone()
            connection.execute("PRAGMA mmap_size = 268435456")
        except sqlite3.Error as error:
            connection.close()
            raise unreadable(path, error) from error
        return cls(connection, path)

    @cached_property
    def table(self) -> FormTable:
        """All forms and concepts as numbers."""
        try:
            return FormTable.of_blobs(dict(self._rows("SELECT name, data FROM array")))
        except ValueError as error:
            raise unreadable(self._path, error) from error

    def find(self, query_terms: Sequence[str], *, limit: int) -> list[int]:
        """Return the ids of the forms that BM25 ranks first for the terms (stems).

        Terms that stand in thousands of forms search only where there is nothing rarer.
        """
        known = sorted((count, term) for term, (_, count) in self.terms(query_terms).items())
        rare = [term for count, term in known if count <= _COMMON][:24] or [
            term for _, term in known[:2]
        ]
        if not rare:
            return []
        expression = " OR ".join(f'"{term}"' for term in rare)
        rows = self._rows(
            "SELECT rowid FROM form_words WHERE form_words MATCH ? ORDER BY rank, rowid LIMIT ?",
            (expression, limit),
        )
        return [row[0] for row in rows]

    def terms(self, wanted: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return of each known term (stem) its place in the table and how many forms have it."""
        rows = self._in("SELECT term, id, forms FROM term WHERE term IN", sorted(set(wanted)))
        return {term: (place, count) for term, place, count in rows}

    def phrases(self, keys: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        """Return, by key, the concepts with a form of exactly these stems, and the form.

        Only forms of up to ``LONGEST_PHRASE`` stems have a key (``wording.phrase_key``).
        """
        found: dict[str, list[tuple[int, int]]] = {}
        for key, concept, form in self._in(
            "SELECT key, concept, form FROM phrase WHERE key IN", keys
        ):
            found.setdefault(key, []).append((concept, form))
        return {key: sorted(pairs) for key, pairs in found.items()}

    def correct(self, word: str) -> str | None:
        """Return the known word that an unknown one is most likely a slip for.

        Optimal string alignment distance 1 (2 from seven letters on), the first letter
        mostly kept; the commonest word wins among equals.
        """
        if len(word) < 4 or any(letter.isdigit() for letter in word):
            return None
        reach = 1 if len(word) < 7 else 2
        near = process.extract(
            word,
            self._words_of(len(word), reach),
            scorer=OSA.distance,
            score_cutoff=reach,
            limit=None,
        )
        if not near:
            return None
        return min(
            near,
            key=lambda found: (
                found[1] + (found[0][0] != word[0]),
                -self._word_counts[found[0]],
                found[0],
            ),
        )[0]

    def _words_of(self, length: int, reach: int) -> list[str]:
        by_length = self._words_by_length
        return [
            word
            for size in range(length - reach, length + reach + 1)
            for word in by_length.get(size, ())
        ]

    @cached_property
    def _word_counts(self) -> dict[str, int]:
        rows = self._rows("SELECT word, forms FROM word WHERE forms > 1 AND length(word) > 2")
        return dict(rows)

    @cached_property
    def _words_by_length(self) -> dict[int, list[str]]:
        grouped: dict[int, list[str]] = {}
        for word in self._word_counts:
            if not word.isdigit():
                grouped.setdefault(len(word), []).append(word)
        return grouped

    def forms(self, ids: Sequence[int]) -> list[FormRow]:
        """Return the forms with these ids, in the order of their ids."""
        rows = self._in("SELECT * FROM form WHERE id IN", ids)
        return sorted((FormRow(*row) for row in rows), key=lambda form: form.id)

    def peer_forms(self, system: str) -> Iterator[tuple[str, str]]:
        """Yield code and text of the titles and inclusion terms of a system's codes."""
        yield from self._rows(
            "SELECT form.code, form.text FROM form JOIN concept ON concept.id = form.concept "
            "WHERE form.system = ? AND level = 'code' AND template IN ('title', 'inclusion') "
            "ORDER BY form.id",
            (system,),
        )

    def vectors_under(self, system: str, first: str, last: str) -> list[int]:
        """Return the rows of vectors of the forms whose codes lie between two prefixes."""
        rows = self._db.execute(
            "SELECT DISTINCT vector FROM form WHERE system = ? "
            "AND substr(replace(code, '.', ''), 1, ?) >= ? "
            "AND substr(replace(code, '.', ''), 1, ?) <= ? ORDER BY vector",
            (system, len(first), first, len(last), last),
        )
        return [row[0] for row in rows]

    def forms_of_concept(self, concept: int) -> list[FormRow]:
        """Return all text forms of a concept, in the order in which they were made."""
        rows = self._rows(
            "SELECT * FROM form WHERE concept = ? ORDER BY id",
            (concept,),
        )
        return [FormRow(*row) for row in rows]

    def concepts(self, ids: Sequence[int]) -> dict[int, ConceptRow]:
        """Return the concepts with these ids, by id."""
        rows = self._in("SELECT * FROM concept WHERE id IN", ids)
        return {row[0]: _concept(row) for row in rows}

    def by_code(self, code: str) -> list[ConceptRow]:
        """Return the concepts of every system that are spelled so."""
        rows = self._rows("SELECT * FROM concept WHERE code = ? ORDER BY system", (code,))
        return [_concept(row) for row in rows]

    def named(self, code: Code | str) -> list[ConceptRow]:
        """Return the concepts of a code, or of what people type for one, in any system."""
        return [
            row
            for reading in ([code] if isinstance(code, Code) else candidates(code))
            for row in self.by_code(reading.value)
            if row.system == reading.system.value
        ]

    def concepts_of(self, system: str) -> list[ConceptRow]:
        """Return all codes of a system, in the order of the index."""
        rows = self._db.execute(
            "SELECT * FROM concept WHERE system = ? AND level = 'code' ORDER BY id", (system,)
        )
        return [_concept(row) for row in rows]

    def chapters(self, system: str) -> dict[int, str]:
        """Return the first letter of the code of each concept of a system that has forms."""
        rows = self._rows("SELECT DISTINCT concept, code FROM form WHERE system = ?", (system,))
        return {concept: code[0] for concept, code in rows}

    def children(self, concept: int) -> list[ConceptRow]:
        """Return the concepts right below a concept, in order of their codes."""
        rows = self._rows("SELECT * FROM concept WHERE parent = ? ORDER BY code", (concept,))
        return [_concept(row) for row in rows]

    def starting_with(self, prefix: str, *, limit: int) -> list[ConceptRow]:
        """Return concepts whose codes begin so, in order of their codes."""
        rows = self._rows(
            "SELECT * FROM concept WHERE code >= ? AND code < ? AND level = 'code' "
            "ORDER BY code, system LIMIT ?",
            (prefix, prefix + "\uffff", limit),
        )
        return [_concept(row) for row in rows]

    def crosswalk(self, concept: int) -> list[CrosswalkRow]:
        """Return the lines of the GEMs that start at a concept, in the GEM's order."""
        rows = self._rows("SELECT * FROM crosswalk WHERE source = ? ORDER BY rowid", (concept,))
        return [
            CrosswalkRow(row[0], row[1], bool(row[2]), bool(row[3]), bool(row[4]), row[5], row[6])
            for row in rows
        ]

    def texts(self) -> Iterator[tuple[str, int]]:
        """Yield every distinct text with the row of its vector."""
        yield from self._rows("SELECT DISTINCT text, vector FROM form")

    def details(self, row: ConceptRow) -> dict[str, object]:
        """Return a concept's notes, inclusion terms and seventh characters."""
        found: dict[str, object] = json.loads(row.details)
        return found

    def _rows(self, sql: str, values: Sequence[object] = ()) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._db.execute(sql, values).fetchall()
        except sqlite3.DatabaseError as error:
            raise unreadable(self._path, error) from error

    def _in(self, select: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        found = []
        for start in range(0, len(values), 900):
            part = values[start : start + 900]
            marks = ",".join("?" * len(part))
            found += self._rows(f"{select} ({marks})", part)
        return found


def _concept(row: Sequence[object]) -> ConceptRow:
    values = list(row)
    values[6] = bool(values[6])
    return ConceptRow(*values)  # type: ignore[arg-type]
