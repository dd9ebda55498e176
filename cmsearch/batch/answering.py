"""What a worker does: a chunk's rows answered, one line of JSON each; faults set aside."""

from __future__ import annotations

import json
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cmsearch.batch.rows import Answered, Chunk, Fault, Note
from cmsearch.batch.task import Answer, Row, Task
from cmsearch.errors import BatchError, CmsearchError


def opened(task: Task, settings: Mapping[str, Any]) -> Answer:
    """Return the function that answers, if this process has what the job began with.

    Args:
        task: what the job asks.
        settings: the settings of the task where the job runs.

    Raises:
        BatchError: the index here is another one.
    """
    if task.settings() != settings:
        raise BatchError(
            "the index of a worker is not the one that the job began with (it was rebuilt, or a "
            "node has another); give each the same index, or start anew with --overwrite"
        )
    return task.open(threads=1)


def answered(chunk: Chunk, answer: Answer) -> Answered:
    """Return a chunk's answers and faults, in the order of the input.

    Raises:
        CmsearchError: the index fails, not a row.
    """
    notes = [item for item in chunk.items if isinstance(item, Note)]
    rows = dict(zip((note.row for note in notes), _rows(notes, answer), strict=True))
    lines, errors = [], []
    for item in chunk.items:
        found = item if isinstance(item, Fault) else rows[item.row]
        if isinstance(found, Fault):
            errors.append(found.line())
        else:
            values = {"row": item.row, "id": item.id, **found}
            lines.append(json.dumps(values, ensure_ascii=False))
    return Answered(
        number=chunk.number,
        digest=chunk.digest,
        read=chunk.read,
        lines=_joined(lines),
        errors=_joined(errors),
        answered=len(lines),
        set_aside=len(errors),
    )


def _rows(notes: Sequence[Note], answer: Answer) -> Sequence[Row | Fault]:
    """Return a row or a fault for each note; where the chunk fails, note by note."""
    try:
        return answer([note.text for note in notes]) if notes else []
    except (CmsearchError, MemoryError):
        raise
    except Exception:  # whichever row it was is found out and reported below
        return [_row(note, answer) for note in notes]


def _row(note: Note, answer: Answer) -> Row | Fault:
    try:
        return answer([note.text])[0]
    except (CmsearchError, MemoryError):
        raise
    except Exception as error:  # its message might repeat the note: only where it was is told
        frame = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(frame.filename).name}, line {frame.lineno}"
        return Fault(note.row, note.id, f"failed: {type(error).__name__} in {place}")


def _joined(lines: Sequence[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
