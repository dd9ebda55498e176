"""The vocabulary that ships with cmsearch: what people say, and the code that it means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files

from cmsearch.codes import Code, System

VOCABULARY_VERSION = "4"


@dataclass(frozen=True, slots=True)
class Entry:
    """One wording, the code it means, and what kind of wording it is.

    ``kind`` is lay, shorthand, abbreviation, eponym, synonym or brand.
    """

    code: Code
    term: str
    kind: str


def read_vocabulary() -> Iterator[Entry]:
    """Yield every entry of the packaged vocabulary, file by file, in file order."""
    folder = files("cmsearch.ontology").joinpath("vocabulary")
    for file in sorted(folder.iterdir(), key=lambda item: item.name):
        if not file.name.endswith(".tsv"):
            continue
        for line in file.read_text(encoding="utf-8").splitlines()[1:]:
            code, term, kind = line.split("\t")
            yield Entry(Code.of(System.ICD10CM, code), term, kind)
