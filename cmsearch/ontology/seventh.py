"""7th characters: which a code takes, what they mean, and the codes that arise by them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from cmsearch.codes import Code, System, dot
from cmsearch.errors import OntologyError
from cmsearch.ontology.concept import Concept, Level

Meanings = tuple[tuple[str, str], ...]


def meanings(code: Code, concepts: Mapping[Code, Concept]) -> Meanings:
    """Return the 7th characters that a code takes: those of the nearest that defines them.

    A definition holds for everything below it. Source: ICD-10-CM Official Guidelines,
    section I.A.5.

    Args:
        code: a code or header.
        concepts: the code set by code.
    """
    place: Code | None = code
    while place is not None:
        concept = concepts[place]
        if concept.seventh:
            return concept.seventh
        place = concept.parent
    return ()


def complete(nodes: Sequence[Concept], listed: Iterable[str] | None = None) -> tuple[Concept, ...]:
    """Return the nodes of a tabular list, then the codes that arise by a 7th character.

    All of them know whether they are billable: a code with no child in the full list.

    Args:
        nodes: every chapter, block and code of the tabular list, parents before children.
        listed: the full list of codes, undotted; ranges and chapter numbers among them
            are passed over. Without it every leaf takes every character defined for it,
            which allows some that the official list leaves out (S06.1X7D).

    Raises:
        OntologyError: a listed code has no place in the tabular list.
    """
    concepts = {node.code: node for node in nodes}
    if listed is None:
        expansions = list(_defined(nodes, concepts))
    else:
        expansions = list(_listed(listed, concepts))
    parents = {concept.parent for concept in (*nodes, *expansions)}
    return tuple(
        replace(node, billable=True)
        if node.level is Level.CODE and node.code not in parents
        else node
        for node in (*nodes, *expansions)
    )


def _defined(nodes: Sequence[Concept], concepts: Mapping[Code, Concept]) -> Iterator[Concept]:
    parents = {node.parent for node in nodes}
    for node in nodes:
        if node.level is not Level.CODE or node.code in parents or len(node.code.undotted) == 7:
            continue
        for character, meaning in meanings(node.code, concepts):
            yield _expansion(node, node.code.undotted.ljust(6, "X") + character, meaning)


def _listed(listed: Iterable[str], concepts: Mapping[Code, Concept]) -> Iterator[Concept]:
    known = {code.undotted for code in concepts}
    defined: dict[Code, dict[str, str]] = {}
    for undotted in dict.fromkeys(listed):
        if undotted in known or "-" in undotted or len(undotted) < 3:
            continue
        node = concepts.get(Code(dot(System.ICD10CM, _stem(undotted, known)), System.ICD10CM))
        if node is None:
            raise OntologyError(
                f"the code list names {undotted}, which the tabular list does not hold; "
                "the two files are not of the same release"
            )
        if node.code not in defined:
            defined[node.code] = dict(meanings(node.code, concepts))
        meaning = defined[node.code].get(undotted[-1])
        if meaning is None:
            raise OntologyError(
                f"the code list names {undotted}, but the tabular list defines no 7th character "
                f"{undotted[-1]} for {node.code}; the two files are not of the same release"
            )
        yield _expansion(node, undotted, meaning)


def _stem(undotted: str, known: set[str]) -> str:
    """Return the code that a 7-character code extends, its placeholders X taken off."""
    stem = undotted[:-1]
    while stem not in known and stem.endswith("X"):
        stem = stem[:-1]
    return stem


def _expansion(node: Concept, undotted: str, meaning: str) -> Concept:
    return Concept(
        code=Code(dot(node.code.system, undotted), node.code.system),
        title=f"{node.title}, {meaning}",
        parent=node.code,
        expansion=True,
    )
