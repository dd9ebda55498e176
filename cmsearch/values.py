"""Answers as the JSON interface has them: stable keys, plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmsearch.types import Hit


def hit_values(hit: Hit) -> dict[str, Any]:
    """Return a hit as the JSON interface has it."""
    return {
        "rank": hit.rank,
        "code": hit.code.value,
        "system": hit.code.system.value,
        "release": hit.release,
        "title": hit.title,
        "score": hit.score,
        "billable": hit.billable,
        "chapter": hit.chapter,
        "matched": hit.matched,
        "template": hit.template,
        "why": hit.why.value,
    }
