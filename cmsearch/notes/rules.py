"""The packaged rules for reading notes: rows of tab-separated files, each with its source."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files


def rows(name: str) -> Iterator[tuple[str, ...]]:
    """Yield the fields of every row of a packaged table, without its heading."""
    table = files("cmsearch.notes").joinpath("data", f"{name}.tsv")
    for line in table.read_text(encoding="utf-8").splitlines()[1:]:
        yield tuple(line.split("\t"))


@lru_cache(maxsize=1)
def abbreviations() -> dict[str, bool]:
    """Return shorthand that is written with a full stop, without its last one.

    True where a sentence never ends; False where one ends if a capital follows.
    """
    return {short: follows == "always" for short, follows, _ in rows("abbreviations")}


@lru_cache(maxsize=2)
def closed_by(label: str) -> frozenset[str]:
    """Return the sections that end at a label: an unknown heading, or that of a body system."""
    kinds = ("body systems",) if label == "body systems" else ("body systems", "unknown")
    return frozenset(section for section, _, closes, _ in rows("sections") if closes in kinds)


@lru_cache(maxsize=1)
def section_effects() -> dict[str, str]:
    """Return what a section says of everything in it (``family history``: family)."""
    return {section: effect for section, effect, _, _ in rows("sections") if effect}


@lru_cache(maxsize=1)
def _classes() -> dict[str, list[str]]:
    classes: dict[str, list[str]] = {}
    for name, word, _ in rows("classes"):
        classes.setdefault(name, []).append(word)
    return classes


def spelled_out(phrase: str) -> Iterator[str]:
    """Yield a phrase with each member of the classes it names (``in {whose} {relative}``)."""
    before, brace, rest = phrase.partition("{")
    if not brace:
        yield phrase
        return
    name, _, after = rest.partition("}")
    endings = list(spelled_out(after))
    for word in _classes()[name]:
        for ending in endings:
            yield before + word + ending


@lru_cache(maxsize=8)
def members(name: str) -> frozenset[str]:
    """Return the words of a class (``relative``: mother, brother, ...)."""
    return frozenset(_classes()[name])
