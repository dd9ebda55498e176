"""The stated schema of a job's output: columns, their kinds, and lists of answers."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """What a column holds."""

    TEXT = "text"
    WHOLE = "whole number"
    NUMBER = "number"
    TRUTH = "true or false"
    LIST = "list"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the output.

    Attributes:
        name: its name.
        kind: what it holds.
        parts: the columns of each entry of a list; none for a list of texts.
    """

    name: str
    kind: Kind = Kind.TEXT
    parts: tuple[Column, ...] = ()


ROW = (Column("row", Kind.WHOLE), Column("id"))
HIT = (
    Column("rank", Kind.WHOLE),
    Column("code"),
    Column("system"),
    Column("release"),
    Column("title"),
    Column("score", Kind.NUMBER),
    Column("billable", Kind.TRUTH),
    Column("chapter"),
    Column("matched"),
    Column("template"),
    Column("why"),
)
EVIDENCE = (
    Column("text"),
    Column("begin", Kind.WHOLE),
    Column("end", Kind.WHOLE),
    Column("section"),
    Column("assertion"),
)
MENTION = (
    *EVIDENCE,
    Column(
        "codes",
        Kind.LIST,
        (
            Column("rank", Kind.WHOLE),
            Column("code"),
            Column("system"),
            Column("title"),
            Column("score", Kind.NUMBER),
            Column("billable", Kind.TRUTH),
        ),
    ),
)
SUGGESTION = (
    Column("rank", Kind.WHOLE),
    Column("code"),
    Column("system"),
    Column("title"),
    Column("probability", Kind.NUMBER),
    Column("evidence", Kind.LIST, EVIDENCE),
    Column("why"),
    Column("warnings", Kind.LIST),
)
