"""What passes through a batch job: notes, faults, chunks of them, answered chunks."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

# A chunk is what a worker answers at a time. Its bounds depend on the input alone, so that
# the output does not depend on who answered what.
CHUNK_ROWS = 64
CHUNK_CHARACTERS = 500_000


@dataclass(frozen=True, slots=True)
class Note:
    """A row of the input: its number, its id, its text."""

    row: int
    id: str
    text: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A row that cannot be answered, and why; the reason never repeats what it holds."""

    row: int
    id: str
    reason: str

    def line(self) -> str:
        """Return the fault as a line of JSON."""
        return json.dumps(
            {"row": self.row, "id": self.id, "reason": self.reason}, ensure_ascii=False
        )


Item = Note | Fault


@dataclass(frozen=True, slots=True)
class Chunk:
    """Rows that are answered together.

    Attributes:
        number: 0 for the first of the input.
        items: the rows, good and bad.
        digest: SHA-256 over all rows of the input up to the end of this chunk.
        read: share of the input that had been read, 0 to 1; None where nobody knows.
    """

    number: int
    items: tuple[Item, ...]
    digest: str
    read: float | None = None


@dataclass(frozen=True, slots=True)
class Answered:
    """A chunk's answers.

    Attributes:
        number, digest, read: those of the chunk.
        lines: a line of JSON for each answered row, in the order of the input, UTF-8.
        errors: a line of JSON for each row that was set aside.
        answered, set_aside: how many lines there are.
    """

    number: int
    digest: str
    read: float | None
    lines: bytes
    errors: bytes
    answered: int
    set_aside: int


def chunks(items: Iterable[tuple[Item, float | None]]) -> Iterator[Chunk]:
    """Yield the rows in chunks; each row comes with the share of the input read so far."""
    kept: list[Item] = []
    characters, number, digest = 0, 0, ""
    read: float | None = None
    for item, read in items:
        kept.append(item)
        characters += len(item.text) if isinstance(item, Note) else 0
        if len(kept) == CHUNK_ROWS or characters >= CHUNK_CHARACTERS:
            digest = _chained(digest, kept)
            yield Chunk(number, tuple(kept), digest, read)
            kept, characters, number = [], 0, number + 1
    if kept:
        yield Chunk(number, tuple(kept), _chained(digest, kept), read)


def _chained(digest: str, items: Iterable[Item]) -> str:
    """Return the digest of the rows so far and of these."""
    chain = hashlib.sha256(digest.encode())
    for item in items:
        held = item.text if isinstance(item, Note) else item.reason
        kind = "note" if isinstance(item, Note) else "fault"
        row = json.dumps((item.row, kind, item.id, held))
        chain.update(row.encode())
    return chain.hexdigest()
