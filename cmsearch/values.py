"""Answers as the JSON interface has them: stable keys, plain values."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cmsearch.types import Hit, Mention, Suggestion


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


def mention_values(mention: Mention) -> dict[str, Any]:
    """Return a mention as the JSON interface has it; its hits where it has been linked."""
    return {
        "text": mention.text,
        "begin": mention.begin,
        "end": mention.end,
        "section": mention.section,
        "assertion": mention.assertion.value,
        "hits": [hit_values(hit) for hit in mention.hits],
    }


def evidence_values(mention: Mention) -> dict[str, Any]:
    """Return a mention that supports a code: all but its hits."""
    values = mention_values(mention)
    del values["hits"]
    return values


def suggestion_values(suggestion: Suggestion) -> dict[str, Any]:
    """Return a suggestion as the JSON interface has it."""
    return {
        "rank": suggestion.rank,
        "code": suggestion.code.value,
        "system": suggestion.code.system.value,
        "release": suggestion.release,
        "title": suggestion.title,
        "probability": suggestion.probability,
        "evidence": [evidence_values(mention) for mention in suggestion.evidence],
        "why": suggestion.why,
        "warnings": list(suggestion.warnings),
        "suppressed": suggestion.suppressed,
    }
