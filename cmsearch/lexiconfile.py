"""Writing the SQLite file of an index: its schema, its words, its table of numbers."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from cmsearch.codes import System
from cmsearch.errors import IndexFolderError
from cmsearch.formtable import FormTable
from cmsearch.paths import index_command
from cmsearch.rows import ConceptRow, CrosswalkRow, FormRow
from cmsearch.wording import LONGEST_PHRASE, phrase_key, stem, terms, tokens

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
CREATE TABLE term (term TEXT PRIMARY KEY, id INTEGER NOT NULL, forms INTEGER NOT NULL)
    WITHOUT ROWID;
CREATE TABLE phrase (
    key TEXT NOT NULL, concept INTEGER NOT NULL, form INTEGER NOT NULL,
    PRIMARY KEY (key, concept)
) WITHOUT ROWID;
CREATE TABLE array (name TEXT PRIMARY KEY, data BLOB NOT NULL);
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


def write_lexicon(
    path: Path,
    concepts: Iterable[ConceptRow],
    forms: Iterable[FormRow],
    crosswalk: Iterable[CrosswalkRow],
) -> None:
    """Write a new lexicon file. The terms of the forms are filled in here.

    Args:
        path: the file, which must not exist.
        concepts, forms: rows whose ids are 0, 1, 2, ... in order.
        crosswalk: lines of the GEMs between the concepts.

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


def unreadable(path: Path, error: Exception) -> IndexFolderError:
    """Return the error for a file that is no lexicon, or a damaged one."""
    return IndexFolderError(
        f"{path}: not a readable lexicon ({error}); "
        f"rebuild with: {index_command(path.parent, '--rebuild')}"
    )


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
        kept = list(concepts)
        connection.executemany(
            "INSERT INTO concept VALUES (?,?,?,?,?,?,?,?,?,?)",
            ((c.id, c.system, c.code, c.title, c.level, c.parent, c.billable, c.chapter,
              c.grouping, c.details) for c in kept),
        )  # fmt: skip
        counted = _TermCounter()
        made = [
            FormRow(f.id, f.concept, f.system, f.code, f.template, f.text,
                    counted.terms(f.text, count=not _lent(f)), f.vector)
            for f in forms
        ]  # fmt: skip
        connection.executemany(
            "INSERT INTO form VALUES (?,?,?,?,?,?,?,?)",
            ((f.id, f.concept, f.system, f.code, f.template, f.text, f.terms, f.vector)
             for f in made),
        )  # fmt: skip
        connection.executemany(
            "INSERT INTO word VALUES (?,?,?)",
            ((word, stem(word), count) for word, count in counted.words.items()),
        )
        ids = {term: number for number, term in enumerate(counted.stems)}
        counts = list(counted.stems.values())
        connection.executemany(
            "INSERT INTO term VALUES (?,?,?)", zip(ids, ids.values(), counts, strict=True)
        )
        connection.executemany(
            "INSERT INTO array VALUES (?,?)", FormTable.make(kept, made, ids, counts).blobs()
        )
        connection.executemany(
            "INSERT INTO crosswalk VALUES (?,?,?,?,?,?,?)",
            ((x.source, x.target, x.approximate, x.no_map, x.combination, x.scenario,
              x.choice_list) for x in crosswalk),
        )  # fmt: skip
        connection.executemany("INSERT OR IGNORE INTO phrase VALUES (?,?,?)", _phrases(made))
        connection.executemany(
            "INSERT INTO form_words (rowid, terms) VALUES (?,?)",
            ((f.id, f.terms) for f in made if not _lent(f)),
        )
        connection.execute("INSERT INTO form_words (form_words) VALUES ('optimize')")
        connection.executescript(_INDEXES)
        connection.commit()
    finally:
        connection.close()


def _lent(form: FormRow) -> bool:
    """Whether a form is a wording of ICD-10-CM that an ICD-9-CM code has too.

    It is found by its vector. Among the words it would stand beside its double, and take the
    place of another code in the first hundred.
    """
    return form.system == System.ICD9CM.value and form.template == "vocabulary"


def _phrases(forms: Iterable[FormRow]) -> Iterator[tuple[str, int, int]]:
    """Yield key, concept and form of the forms that are short enough for a phrase."""
    for form in forms:
        stems = set(form.terms.split())
        if stems and len(stems) <= LONGEST_PHRASE:
            yield phrase_key(stems), form.concept, form.id


class _TermCounter:
    """Turns texts into their stored terms and counts words and stems on the way."""

    def __init__(self) -> None:
        self.words: Counter[str] = Counter()
        self.stems: Counter[str] = Counter()

    def terms(self, text: str, *, count: bool) -> str:
        words = tokens(text)
        stems = terms(words)
        if count:
            self.words.update(set(words))
        for known in dict.fromkeys(stems):
            self.stems[known] += count
        return " ".join(stems)
