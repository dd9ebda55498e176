"""Notes in and answers out, for the commands that read notes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import typer

if TYPE_CHECKING:
    from cmsearch.notes.answer import NoteLine

Answer = Callable[["NoteLine"], dict[str, Any]]


def read(note: str, output: Path | None) -> NoteLine:
    """Return the one note that was named, with its name as its id.

    Raises:
        NoteError: it cannot be read, holds many, or the answer would be written over it.
    """
    from cmsearch.errors import NoteError
    from cmsearch.notes.answer import NoteLine
    from cmsearch.notes.text import read_note

    if not note:
        raise NoteError("no note is named; give the path of one, or - for standard input")
    if note.endswith(".jsonl"):
        raise NoteError(
            f"{note}: lines of JSON are read from standard input, with - and --format jsonl; "
            "files of them by cmsearch batch"
        )
    if output is not None and output.exists() and output.resolve() == Path(note).resolve():
        raise NoteError(f"{output}: is the note itself; write to another file")
    source = sys.stdin.buffer.read() if note == "-" else Path(note)
    return NoteLine(note, read_note(source))


@contextmanager
def writer(output: Path | None) -> Iterator[TextIO]:
    """Give a stream into stdout, or into a file that appears when all is written."""
    if output is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    from cmsearch.errors import NoteError

    part = output.with_name(f".{output.name}.part")
    ended: typer.Exit | None = None
    try:
        with part.open("w", encoding="utf-8", errors="replace", newline="") as stream:
            try:
                yield stream
            except typer.Exit as error:  # all is answered, some lines with an error
                ended = error
        part.replace(output)
    except OSError as error:
        raise NoteError(
            f"{output}: cannot be written ({error.strerror or error}); check the path and free "
            "space"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    if ended is not None:
        raise ended


def stream_answers(answer: Answer, stream: TextIO) -> None:
    """Answer the notes on stdin in order, each as soon as it is there.

    A line that cannot be answered gets a line that says why, with nothing of its content;
    the command then ends with exit code 1.
    """
    from cmsearch.errors import CmsearchError
    from cmsearch.notes.answer import BadLine, dumped, error_json, read_note_line

    failed = False
    for number, raw in enumerate(iter(sys.stdin.buffer.readline, b""), start=1):
        if not raw.strip():
            continue
        note_id = None
        try:
            line = read_note_line(raw)
            note_id = line.id
            values = answer(line)
        except BadLine as error:
            values = error_json(error.note_id, number, str(error))
        except CmsearchError as error:
            values = error_json(note_id, number, str(error))
        except Exception as error:  # one note must not end the stream; its words stay unsaid
            values = error_json(note_id, number, f"a fault of ours ({type(error).__name__})")
        failed = failed or "error" in values
        stream.write(dumped(values) + "\n")
        stream.flush()
    if failed:
        raise typer.Exit(1)
