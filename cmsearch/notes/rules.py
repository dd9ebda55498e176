"""The packaged rules for reading notes: rows of tab-separated files, each with its source."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.resources import files

_CLASS = re.compile(r"\{(\w+)\}")


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
def classes() -> dict[str, frozenset[str]]:
    """Return the classes of words that phrases name (``relative``: mother, brother, ...)."""
    found: dict[str, list[str]] = {}
    for name, word, _ in rows("classes"):
        found.setdefault(name, []).append(word)
    return {name: frozenset(words) for name, words in found.items()}


def spelled_out(phrase: str) -> Iterator[str]:
    """Yield a phrase with each member of the classes in it that have longer members.

    ``{be} denied`` becomes ``was denied``, ``has been denied``, ...; a class of single words
    stays for ``Phrases`` to know.
    """
    for name in _CLASS.findall(phrase):
        members = classes()[name]
        if any(not member.isalpha() and "'" not in member for member in members):
            for member in members:
                yield from spelled_out(phrase.replace(f"{{{name}}}", member, 1))
            return
    yield phrase
