"""The folder of a collection: notes come in, passages, words and vectors lie in it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from cmsearch.collection.book import Book, NewPassage
from cmsearch.collection.passages import passages
from cmsearch.errors import IndexFolderError, IndexMismatch
from cmsearch.growing import Appender, Extent, clear
from cmsearch.types import Encoder, EncoderIdentity

FORMAT = 1
# What is lost at most when the process is killed, in passages.
_COMMIT = 20_000
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Entry:
    """A note that is to be searchable: its id, the file it came from, its text."""

    name: str
    source: str
    text: str


@dataclass(frozen=True, slots=True)
class Added:
    """What came of indexing: notes taken in, changed ones among them, those known already.

    ``doubled`` names the notes that were left out because another note of the same run has
    their id and another text.
    """

    added: int
    changed: int
    known: int
    passages: int
    doubled: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class State:
    """What a collection says of itself.

    Attributes:
        encoder: the encoder that made the vectors.
        encoder_source: path or name by which it was opened; empty for the shipped one.
        extent: how far the vectors reach.
    """

    encoder: EncoderIdentity
    encoder_source: str
    extent: Extent

    def to_json(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"format": FORMAT, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any], folder: Path) -> State:
        """Return the state from plain values.

        Raises:
            IndexFolderError: it is of another format.
        """
        if values.get("format") != FORMAT:
            raise IndexFolderError(
                f"{folder}: format {values.get('format')}, this cmsearch reads format {FORMAT}; "
                "index the notes again into another folder"
            )
        return cls(
            EncoderIdentity(**values["encoder"]),
            values["encoder_source"],
            Extent(**values["extent"]),
        )


def check_encoder(state: State, encoder: Encoder, folder: Path) -> None:
    """Raise IndexMismatch, naming both, unless the encoder made the collection."""
    if encoder.identity != state.encoder:
        built, given = state.encoder, encoder.identity
        raise IndexMismatch(
            f"{folder}: indexed with encoder {built.name} (sha256 {built.sha256[:12]}), this is "
            f"{given.name} (sha256 {given.sha256[:12]}); index the notes again into another folder"
        )


def add_notes(
    folder: Path,
    notes: Iterable[Entry],
    *,
    encoder: Encoder,
    encoder_source: str = "",
    progress: Progress | None = None,
) -> Added:
    """Take notes into a collection, a new one if the folder holds none.

    A note that is there already, by id, file and text, is passed over; one whose text has
    changed takes the place of the old one; of two different ones that come with one id in
    one go the first stays. A crash leaves what was there before the last
    20,000 passages; indexing the same files again goes on from there.

    Args:
        folder: the folder of the collection; created if need be.
        notes: the notes.
        encoder: the encoder of the collection.
        encoder_source: path or name of the encoder, recorded for searching.
        progress: called with the notes and passages taken in so far.

    Raises:
        IndexFolderError: the folder cannot be written, or another process writes it.
        IndexMismatch: another encoder made the collection.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            fresh = State(encoder.identity, encoder_source, Extent(encoder.identity.dim))
            book = Book.write(folder, fresh.to_json())
            try:
                state = State.from_json(book.state(), folder)
                check_encoder(state, encoder, folder)
                return _Writer(folder, book, state, encoder).take(notes, progress)
            finally:
                book.close()
    except Timeout as error:
        raise IndexFolderError(f"{folder}: another process adds notes to it; wait") from error
    except OSError as error:
        raise IndexFolderError(
            f"{folder}: cannot be written ({error.strerror or error}); free space or rights, "
            "then index the same files again: it goes on where it stopped"
        ) from error


class _Writer:
    """Writes notes into a collection and commits now and then."""

    def __init__(self, folder: Path, book: Book, state: State, encoder: Encoder) -> None:
        self._folder = folder
        self._book = book
        self._state = state
        self._encoder = encoder
        self._count = state.extent.count

    def take(self, notes: Iterable[Entry], progress: Progress | None) -> Added:
        """Take the notes in; return what came of it."""
        added = changed = known = begun = 0
        doubled = []
        before = self._book.last_note()
        vectors = Appender(self._folder, self._state.extent)
        first = self._count
        try:
            for entry in notes:
                digest = hashlib.sha256(entry.text.encode("utf-8", "replace")).hexdigest()
                number, old = self._book.note(entry.name, entry.source)
                if old == digest:
                    known += 1
                    continue
                if number > before:
                    doubled.append(entry.name)
                    continue
                self._write(entry, digest, vectors)
                added += 1
                changed += number > 0
                if self._count - begun - first >= _COMMIT:
                    self._commit(vectors)
                    begun = self._count - first
                if progress is not None:
                    progress(added + known, self._count - first)
            self._commit(vectors)
        finally:
            vectors.close()
        return Added(added, changed, known, self._count - first, tuple(doubled))

    def _write(self, entry: Entry, digest: str, vectors: Appender) -> None:
        parts = [
            NewPassage(part.begin, part.end, part.section, entry.text[part.begin : part.end])
            for part in passages(entry.text)
        ]
        self._book.add(entry.name, entry.source, digest, self._count, parts)
        if parts:
            vectors.append(self._encoder.encode([part.text for part in parts]))
        self._count += len(parts)

    def _commit(self, vectors: Appender) -> None:
        extent = vectors.finish()
        self._state = State(self._state.encoder, self._state.encoder_source, extent)
        self._book.commit(self._state.to_json())
        clear(self._folder, extent)
