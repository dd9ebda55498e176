"""What to say of a text that is no code of an index: near ones, or a code system to add."""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from cmsearch.codes import Code, System, candidates
from cmsearch.lexicon import Lexicon
from cmsearch.paths import index_command


def no_code(text: str, lexicon: Lexicon, *, held: Set[str], folder: Path) -> str:
    """Return a sentence that says what to do about a text that is no code of an index.

    Args:
        text: what was typed for a code.
        lexicon: the lexical half of the index.
        held: the code systems of the index.
        folder: its folder.
    """
    readings = candidates(text)
    if readings and not any(code.system.value in held for code in readings):
        missing = readings[0].system
        command = index_command(folder, "--add", missing.value)
        return f"this index holds no {missing.label}; add it with: {command}"
    return f"{text[:40]!r} is no code of this index{_near(text, lexicon)}"


def _near(text: str, lexicon: Lexicon) -> str:
    """Return a phrase that names codes which begin like the text."""
    for reading in candidates(text) or [Code(text.strip().upper(), System.ICD10CM)]:
        for length in range(len(reading.value), 2, -1):
            rows = lexicon.starting_with(reading.value[:length].rstrip("."), limit=3)
            if rows:
                names = ", ".join(f"{row.code} ({row.title})" for row in rows)
                return f"; near it are {names}"
    return "; search for its words with: cmsearch query"
