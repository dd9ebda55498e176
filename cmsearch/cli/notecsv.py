"""Suggestions and mentions as CSV, made from their JSON form."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any


def suggestions(answer: dict[str, Any]) -> str:
    """Return suggestions as CSV; what a suggestion has several of is joined by bars."""
    rows = []
    for item in answer["suggestions"]:
        evidence = item.pop("evidence")
        row = {"id": answer["id"], "release": answer["release"], **item}
        row["warnings"] = " | ".join(item["warnings"])
        row["evidence"] = " | ".join(" ".join(one["text"].split()) for one in evidence)
        row["places"] = " | ".join(f"{one['begin']}-{one['end']}" for one in evidence)
        row["sections"] = " | ".join(one["section"] for one in evidence)
        row["assertions"] = " | ".join(one["assertion"] for one in evidence)
        rows.append(row)
    heading = (
        "id", "release", "rank", "code", "system", "title", "probability", "why", "warnings",
        "evidence", "places", "sections", "assertions",
    )  # fmt: skip
    extra = ("suppressed",) if any("suppressed" in row for row in rows) else ()
    return _csv((*heading, *extra), rows)


def mentions(answer: dict[str, Any]) -> str:
    """Return mentions as CSV, a row for each code of each mention."""
    rows = []
    for mention in answer["mentions"]:
        codes = mention.pop("codes") or [{}]
        about = {"id": answer["id"], "release": answer["release"], **mention}
        rows += [{**about, **code} for code in codes]
    heading = (
        "id", "release", "text", "begin", "end", "section", "assertion", "rank", "code", "system",
        "title", "score", "billable",
    )  # fmt: skip
    return _csv(heading, rows)


def _csv(heading: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    stream = io.StringIO()
    writer = csv.DictWriter(stream, heading, restval="")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode("utf-8", "replace").decode("utf-8")
