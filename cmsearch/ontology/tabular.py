"""Reader of the ICD-10-CM tabular list, the XML that CDC/NCHS publishes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import IO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from cmsearch.codes import Code, System
from cmsearch.errors import CodeError, OntologyError
from cmsearch.ontology.concept import NO_NOTES, Concept, Level, Notes

_NOTE_FIELDS = {
    "includes": "includes",
    "excludes1": "excludes1",
    "excludes2": "excludes2",
    "codeFirst": "code_first",
    "useAdditionalCode": "use_additional",
    "codeAlso": "code_also",
    "notes": "general",
    "sevenChrNote": "seventh",
}


def read_tabular(source: Path | IO[bytes], *, name: str) -> Iterator[Concept]:
    """Yield every chapter, block and code of a tabular list, parents before children.

    The 39 blocks that consist of one category (B20, Z66) are yielded once, as codes,
    with the notes of both. The codes made by a 7th character are not in the file, and
    ``billable`` is left False: only the full list can tell. See ``seventh.complete``.

    Args:
        source: the XML file.
        name: what to call the file in errors.

    Raises:
        OntologyError: the file is not well-formed, is not a tabular list, or names an
            entry by something that is no code.
    """
    try:
        root = ElementTree.parse(source).getroot()
    except ElementTree.ParseError as error:
        raise OntologyError(
            f"{name}: not a complete XML file ({error}); download it again"
        ) from error
    if root.tag != "ICD10CM.tabular":
        raise OntologyError(
            f"{name}: an ICD-10-CM tabular list starts with <ICD10CM.tabular>, "
            f"this file with <{root.tag}>"
        )
    try:
        for chapter in root.iter("chapter"):
            yield from _chapter(chapter)
    except CodeError as error:
        raise OntologyError(f"{name}: {error}; download the file again") from error


def tabular_version(source: Path | IO[bytes]) -> str:
    """Return the year that a tabular list, index or table file names in <version>.

    The text is empty when the file names none.

    Raises:
        OntologyError: the file is not well-formed.
    """
    try:
        for _, element in ElementTree.iterparse(source):
            if element.tag == "version":
                return _text(element)
    except ElementTree.ParseError as error:
        raise OntologyError(f"not a complete XML file ({error}); download it again") from error
    return ""


def expand(code: Code, character: str) -> Code:
    """Return the 7-character code: placeholders X fill the places in between."""
    return Code.of(code.system, code.undotted.ljust(6, "X") + character)


def _chapter(chapter: Element) -> Iterator[Concept]:
    title, span = _title_and_range(_text(chapter.find("desc")))
    code = Code.of(System.ICD10CM, span)
    yield _concept(chapter, code, title, Level.CHAPTER, None)
    for section in chapter.iter("section"):
        yield from _section(section, code)


def _section(section: Element, chapter: Code) -> Iterator[Concept]:
    span = section.get("id", "")
    nodes = section.findall("diag")
    if "-" not in span:
        above = _contents(section)[0]
        for node in nodes:
            own, *below = _diagnosis(node, chapter)
            yield replace(own, notes=_joined(own.notes, above))
            yield from below
        return
    parent = chapter
    block = Code.of(System.ICD10CM, span)
    if block != chapter:
        parent = block
        title, _ = _title_and_range(_text(section.find("desc")))
        yield _concept(section, block, title, Level.BLOCK, chapter)
    for node in nodes:
        yield from _diagnosis(node, parent)


def _diagnosis(node: Element, parent: Code) -> Iterator[Concept]:
    code = Code.of(System.ICD10CM, _text(node.find("name")))
    yield _concept(node, code, _text(node.find("desc")), Level.CODE, parent)
    for child in node.iterfind("diag"):
        yield from _diagnosis(child, code)


def _concept(node: Element, code: Code, title: str, level: Level, parent: Code | None) -> Concept:
    notes, inclusion_terms, seventh = _contents(node)
    return Concept(
        code=code,
        title=title,
        level=level,
        parent=parent,
        inclusion_terms=inclusion_terms,
        notes=notes,
        seventh=seventh,
    )


def _contents(node: Element) -> tuple[Notes, tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return what a node itself holds: notes, inclusion terms, 7th characters."""
    notes: dict[str, tuple[str, ...]] = {}
    inclusion_terms: tuple[str, ...] = ()
    seventh: tuple[tuple[str, str], ...] = ()
    for child in node:
        if child.tag in _NOTE_FIELDS:
            name = _NOTE_FIELDS[child.tag]
            notes[name] = notes.get(name, ()) + _notes(child)
        elif child.tag == "inclusionTerm":
            inclusion_terms += _notes(child)
        elif child.tag == "sevenChrDef":
            seventh = tuple((e.get("char", ""), _text(e)) for e in child.iterfind("extension"))
    return (Notes(**notes) if notes else NO_NOTES), inclusion_terms, seventh


def _joined(notes: Notes, more: Notes) -> Notes:
    """Return the notes of both, each once."""
    names = [field.name for field in fields(Notes)]
    both = {name: (*getattr(notes, name), *getattr(more, name)) for name in names}
    return Notes(**{name: tuple(dict.fromkeys(texts)) for name, texts in both.items()})


def _notes(element: Element) -> tuple[str, ...]:
    """Return the texts of the notes below an element; some in the file are empty."""
    texts = (_text(note) for note in element.iterfind("note"))
    return tuple(text for text in texts if text)


def _text(element: Element | None) -> str:
    if element is None:
        return ""
    text = "".join(element.itertext()) if len(element) else element.text or ""
    return " ".join(text.split())


def _title_and_range(description: str) -> tuple[str, str]:
    match = re.fullmatch(r"(.*)\(([^()]*)\)", description)
    return (match[1].strip(), match[2].strip()) if match else (description, "")
