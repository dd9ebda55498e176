"""Suggestions and mentions as the JSON interface has them, and the lines that ask for them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cmsearch.errors import NoteError
from cmsearch.types import Mention, Suggestion

NoteId = str | int | None


@dataclass(frozen=True, slots=True)
class NoteLine:
    """One line of a stream of notes: ``{"id", "text"}``."""

    id: NoteId
    text: str


class BadLine(NoteError):
    """A line of a stream that is no note; its id is kept where it has one."""

    def __init__(self, message: str, note_id: NoteId = None) -> None:
        super().__init__(message)
        self.note_id = note_id


def as_json(
    note_id: NoteId, release: str, suggestions: Sequence[Suggestion], *, everything: bool = False
) -> dict[str, Any]:
    """Return the answer for one note as the JSON interface has it; its keys are stable.

    Args:
        note_id: what the note is called.
        release: the releases that the codes come from, as ``Index.release`` gives them.
        suggestions: those of the note.
        everything: tell for each suggestion which rule holds it back (``suppressed``).
    """
    return {
        "id": note_id,
        "release": release,
        "suggestions": [_suggestion(item, everything) for item in suggestions],
    }


def _suggestion(item: Suggestion, everything: bool) -> dict[str, Any]:
    values: dict[str, Any] = {
        "rank": item.rank,
        "code": item.code.value,
        "system": item.code.system.value,
        "title": item.title,
        "probability": item.probability,
        "evidence": [_mention(mention) for mention in item.evidence],
        "why": item.why,
        "warnings": list(item.warnings),
    }
    if everything:
        values["suppressed"] = item.suppressed
    return values


def mentions_json(note_id: NoteId, release: str, mentions: Sequence[Mention]) -> dict[str, Any]:
    """Return the mentions of one note as the JSON interface has them; its keys are stable."""
    return {
        "id": note_id,
        "release": release,
        "mentions": [
            {
                **_mention(mention),
                "codes": [
                    {
                        "rank": hit.rank,
                        "code": hit.code.value,
                        "system": hit.code.system.value,
                        "title": hit.title,
                        "score": hit.score,
                        "billable": hit.billable,
                    }
                    for hit in mention.hits
                ],
            }
            for mention in mentions
        ],
    }


def _mention(mention: Mention) -> dict[str, Any]:
    return {
        "text": mention.text,
        "begin": mention.begin,
        "end": mention.end,
        "section": mention.section,
        "assertion": mention.assertion.value,
    }


def error_json(note_id: NoteId, line: int, message: str) -> dict[str, Any]:
    """Return what stands in a stream for a note that could not be answered."""
    return {"id": note_id, "line": line, "error": message}


def dumped(values: object, *, indent: int | None = None) -> str:
    """Return JSON text that any encoder can write: halves of surrogate pairs are escaped."""
    text = json.dumps(values, ensure_ascii=False, indent=indent)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_note_line(raw: bytes) -> NoteLine:
    """Return the note of a line of JSON.

    Raises:
        BadLine: it is no object with a text; the message holds nothing of the line.
    """
    try:
        row = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise BadLine("no UTF-8 text; write the notes as UTF-8") from error
    except (ValueError, RecursionError) as error:
        raise BadLine('not JSON; write {"id": ..., "text": ...} on each line') from error
    if not isinstance(row, dict):
        raise BadLine('not a JSON object; write {"id": ..., "text": ...} on each line')
    note_id = row.get("id")
    if isinstance(note_id, bool) or not isinstance(note_id, str | int | None):
        raise BadLine("the id is neither a text nor a whole number")
    if not isinstance(row.get("text"), str):
        raise BadLine('the field "text" is missing or no text', note_id)
    return NoteLine(note_id, row["text"])
