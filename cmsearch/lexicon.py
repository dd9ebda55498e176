"""The lexical half of an index: SQLite with concepts, text forms, words and crosswalks."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from rapidfuzz import process
from rapidfuzz.distance import OSA

from cmsearch.errors import IndexFolderError
from cmsearch.rows import ConceptRow, CrosswalkRow, FormRow
from cmsearch.wording import phrase_key, stem, terms, tokens

_SCHEMA = """
CREATE TABLE concept (
    id INTEGER PRIMARY KEY, system TEXT NOT NULL, code TEXT NOT NULL, title TEXT NOT NULL,
    level TEXT NOT NULL, parent INTEGER, billable INTEGER NOT NULL, chapter TEXT NOT NULL,
    grouping TEXT NOT NULL, details TEXT NOT NULL
);
CREATE TABLE form (
    id INTEGER PRIMARY KEY, concept INTEGER NOT NULL, system TEXT NOT NULL,
    code TEXT NOT NULL, template TEXT NOT NULL, text TEXT NOT NULL, terms TEXT NOT NULL,
    vector INTEGER NOT NULL
);
CREATE TABLE word (word TEXT PRIMARY KEY, term TEXT NOT NULL, forms INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE term (term TEXT PRIMARY KEY, forms INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE phrase (
    key TEXT NOT NULL, concept INTEGER NOT NULL, form INTEGER NOT NULL,
    PRIMARY KEY (key, concept)
) WITHOUT ROWID;
CREATE TABLE crosswalk (
    source INTEGER NOT NULL, target INTEGER, approximate INTEGER, no_map INTEGER,
    combination INTEGER, scenario INTEGER, choice_list INTEGER
);
CREATE VIRTUAL TABLE form_words USING fts5(
    terms, content='form', content_rowid='id', tokenize="unicode61"
);
"""
_INDEXES = """
CREATE UNIQUE INDEX concept_code ON concept (code, system);
CREATE INDEX concept_parent ON concept (parent);
CREATE INDEX form_concept ON form (concept);
CREATE INDEX form_vector ON form (vector);
CREATE INDEX crosswalk_source ON crosswalk (source);
"""
# A term in more forms than this finds nothing in particular; it still counts in scores.
_COMMON = 4_000
LONGEST_PHRASE = 8


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
            raise _unreadable(path, error) from error
        try:
            connection.execute("SELECT id FROM concept LIMIT 1").fetchone()
            connection.execute("PRAGMA mmap_size = 268435456")
        except sqlite3.Error as error:
            connection.close()
            raise _unreadable(path, error) from error
        return cls(connection, path)

    @staticmethod
    def build(
        path: Path,
        concepts: Iterable[ConceptRow],
        forms: Iterable[FormRow],
        crosswalk: Iterable[CrosswalkRow],
    ) -> None:
        """Write a new lexicon file. The terms of the forms are filled in here.

        Raises:
            IndexFolderError: the disk is full, or the folder cannot be written to.
        """
        try:
            _fill(path, concepts, forms, crosswalk)
        except sqlite3.OperationalError as error:
            raise IndexFolderError(
                f"{path}: cannot be written ({error}); free space or rights, "
                "or name another folder with --index"
            ) from error

    @cached_property
    def form_count(self) -> int:
        """How many text forms there are."""
        return int(self._rows("SELECT count(*) FROM form")[0][0])

    def find(self, query_terms: Sequence[str], *, limit: int) -> list[int]:
        """Return the ids of the forms that BM25 ranks first for the terms (stems).

        Terms that stand in thousands of forms search only where there is nothing rarer.
        """
        counts = {term: self.frequency(term) for term in dict.fromkeys(query_terms)}
        known = sorted((count, term) for term, count in counts.items() if count)
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

    def phrases(self, keys: Sequence[str]) -> dict[str, list[tuple[int, int]]]:
        """Return, by key, the concepts with a form of exactly these stems, and the form.

        Only forms of up to ``LONGEST_PHRASE`` stems have a key (``wording.phrase_key``).
        """
        found: dict[str, list[tuple[int, int]]] = {}
        if self._has_phrases:
            for key, concept, form in self._in(
                "SELECT key, concept, form FROM phrase WHERE key IN", keys
            ):
                found.setdefault(key, []).append((concept, form))
            return {key: sorted(pairs) for key, pairs in found.items()}
        kept = self._phrases_of_forms
        return {key: kept[key] for key in keys if key in kept}

    @cached_property
    def _has_phrases(self) -> bool:
        return bool(self._rows("SELECT 1 FROM sqlite_master WHERE name = 'phrase'"))

    @cached_property
    def _phrases_of_forms(self) -> dict[str, list[tuple[int, int]]]:
        """The same for an index built before there was a table of phrases."""
        found: dict[str, dict[int, int]] = {}
        for key, concept, form in _phrases(self._rows("SELECT id, concept, terms FROM form")):
            found.setdefault(key, {}).setdefault(concept, form)
        return {key: sorted(pairs.items()) for key, pairs in found.items()}

    def frequency(self, term: str) -> int:
        """Return in how many forms a term (a stem) stands."""
        rows = self._rows("SELECT forms FROM term WHERE term = ?", (term,))
        return int(rows[0][0]) if rows else 0

    def frequencies(self, wanted: Iterable[str]) -> dict[str, int]:
        """Return in how many forms each of the terms stands."""
        return dict(self._in("SELECT term, forms FROM term WHERE term IN", sorted(set(wanted))))

    def knows(self, word: str) -> bool:
        """Whether a plain word, or another word of its stem, stands in any form."""
        return self.frequency(stem(word)) > 0

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

    def forms_of_vectors(self, vectors: Sequence[int]) -> list[FormRow]:
        """Return the forms whose vector is one of these rows, in the order of their ids."""
        rows = self._in("SELECT * FROM form WHERE vector IN", vectors)
        return sorted((FormRow(*row) for row in rows), key=lambda form: form.id)

    def peer_forms(self, system: str) -> Iterator[tuple[str, str]]:
        """Yield code and text of the titles and inclusion terms of a system's codes."""
        yield from self._rows(
            "SELECT form.code, form.text FROM form JOIN concept ON concept.id = form.concept "
            "WHERE form.system = ? AND level = 'code' AND template IN ('title', 'inclusion') "
            "ORDER BY form.id",
            (system,),
        )

    def titles(self, concepts: Sequence[int]) -> list[FormRow]:
        """Return the title forms of the concepts, in the order of their ids."""
        rows = self._in(
            "SELECT * FROM form WHERE template = 'title' AND concept IN",
            concepts,
        )
        return sorted((FormRow(*row) for row in rows), key=lambda form: form.id)

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

    def concepts_of(self, system: str) -> list[ConceptRow]:
        """Return all codes of a system, in the order of the index."""
        rows = self._db.execute(
            "SELECT * FROM concept WHERE system = ? AND level = 'code' ORDER BY id", (system,)
        )
        return [_concept(row) for row in rows]

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
            raise _unreadable(self._path, error) from error

    def _in(self, select: str, values: Sequence[object]) -> list[tuple]:  # type: ignore[type-arg]
        found = []
        for start in range(0, len(values), 900):
            part = values[start : start + 900]
            marks = ",".join("?" * len(part))
            found += self._rows(f"{select} ({marks})", part)
        return found


def _fill(
    path: Path,
    concepts: Iterable[ConceptRow],
    forms: Iterable[FormRow],
    crosswalk: Iterable[CrosswalkRow],
) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.executescript("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;")
        connection.executescript(_SCHEMA)
        connection.executemany(
            "INSERT INTO concept VALUES (?,?,?,?,?,?,?,?,?,?)",
            ((c.id, c.system, c.code, c.title, c.level, c.parent, c.billable, c.chapter,
              c.grouping, c.details) for c in concepts),
        )  # fmt: skip
        counted = _TermCounter()
        connection.executemany(
            "INSERT INTO form VALUES (?,?,?,?,?,?,?,?)",
            ((f.id, f.concept, f.system, f.code, f.template, f.text, counted.terms(f.text),
              f.vector) for f in forms),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO word VALUES (?,?,?)",
            ((word, stem(word), count) for word, count in counted.words.items()),
        )
        connection.executemany("INSERT INTO term VALUES (?,?)", counted.stems.items())
        connection.executemany(
            "INSERT INTO crosswalk VALUES (?,?,?,?,?,?,?)",
            ((x.source, x.target, x.approximate, x.no_map, x.combination, x.scenario,
              x.choice_list) for x in crosswalk),
        )  # fmt: skip
        connection.executemany(
            "INSERT OR IGNORE INTO phrase VALUES (?,?,?)",
            _phrases(connection.execute("SELECT id, concept, terms FROM form ORDER BY id")),
        )
        connection.execute("INSERT INTO form_words (form_words) VALUES ('rebuild')")
        connection.execute("INSERT INTO form_words (form_words) VALUES ('optimize')")
        connection.executescript(_INDEXES)
        connection.commit()
    finally:
        connection.close()


def _phrases(forms: Iterable[tuple[int, int, str]]) -> Iterator[tuple[str, int, int]]:
    """Yield key, concept and form of the forms that are short enough for a phrase."""
    for form, concept, stored in forms:
        stems = set(stored.split())
        if stems and len(stems) <= LONGEST_PHRASE:
            yield phrase_key(stems), concept, form


def _unreadable(path: Path, error: sqlite3.Error) -> IndexFolderError:
    return IndexFolderError(
        f"{path}: not a readable lexicon ({error}); rebuild with: cmsearch index --rebuild"
    )


class _TermCounter:
    """Turns texts into their stored terms and counts words and stems on the way."""

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.stems: Counter[str] = Counter()

    def terms(self, text: str) -> str:
        words = tokens(text)
        self.words.update(set(words))
        stems = terms(words)
        self.stems.update(set(stems))
        return " ".join(stems)


def _concept(row: Sequence[object]) -> ConceptRow:
    values = list(row)
    values[6] = bool(values[6])
    return ConceptRow(*values)  # type: ignore[arg-type]
