"""What goes into an index: the concepts, text forms and crosswalks of its code sets."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from itertools import chain
from typing import Self

from cmsearch.codes import Code, System
from cmsearch.manifest import Manifest
from cmsearch.ontology.concept import Concept, Level, Notes
from cmsearch.ontology.crosswalk import read_gem, read_groups
from cmsearch.ontology.ontology import Ontology
from cmsearch.ontology.vocabulary import read_vocabulary
from cmsearch.rows import ConceptRow, CrosswalkRow
from cmsearch.serialise import DEFAULT_TEMPLATES, Form, Template, forms
from cmsearch.vectors import Kind

DEFAULT_SYSTEMS = (System.ICD10CM, System.ICD9CM)
_NAMES = frozenset(system.value for system in System)
_GROUPED = (System.ICD10CM, System.ICD9CM)
_GEM_SYSTEMS = ((System.ICD9CM, System.ICD10CM), (System.ICD10CM, System.ICD9CM))


@dataclass(frozen=True, slots=True)
class BuildOptions:
    """What an index is made of.

    Attributes:
        systems: the code systems, in order.
        templates: which text forms each concept gets.
        kind: how FAISS searches.
        vocabulary: whether the packaged everyday wording is part of it.
    """

    systems: tuple[System, ...] = DEFAULT_SYSTEMS
    templates: tuple[Template, ...] = DEFAULT_TEMPLATES
    kind: Kind = Kind.FLAT
    vocabulary: bool = True

    @classmethod
    def of(cls, manifest: Manifest) -> Self:
        """Return what an index was made of; what this version does not know is left out."""
        systems = [System(name) for name in manifest.releases if name in _NAMES]
        known = {template.value: template for template in Template}
        templates = [known[name] for name in manifest.templates if name in known]
        kinds = {kind.value: kind for kind in Kind}
        return cls(
            systems=tuple(systems) or DEFAULT_SYSTEMS,
            templates=tuple(templates) or DEFAULT_TEMPLATES,
            kind=kinds.get(manifest.kind, Kind.FLAT),
            vocabulary=bool(manifest.vocabulary),
        )


def serialised(ontology: Ontology, options: BuildOptions) -> tuple[list[Concept], list[Form]]:
    """Return all concepts, and the text forms of those that have some.

    Codes that arise by a 7th character get none: their words are those of their parent.
    """
    wordings: dict[Code, list[str]] = {}
    if options.vocabulary and Template.VOCABULARY in options.templates:
        for entry in read_vocabulary():
            wordings.setdefault(entry.code, []).append(entry.term)
        if {System.ICD9CM, System.ICD10CM} <= set(options.systems):
            wordings |= _old_wordings(wordings, ontology)
    concepts = [concept for system in options.systems for concept in ontology.concepts(system)]
    wants_ancestors = Template.ANCESTORS in options.templates
    made = []
    for concept in concepts:
        if not concept.expansion:
            made += forms(
                concept,
                templates=options.templates,
                ancestors=ontology.ancestors(concept.code) if wants_ancestors else (),
                index_terms=ontology.index_terms(concept.code),
                vocabulary=wordings.get(concept.code, ()),
            )
    return concepts, made


def _old_wordings(
    wordings: Mapping[Code, Sequence[str]], ontology: Ontology
) -> dict[Code, list[str]]:
    """Return what people say for codes of ICD-9-CM: what they say for the equivalents.

    By the GEMs of both directions; of several equivalents the shortest code, which says least
    (F32.9 is 311, not 296.20). A header has that of the code below it that is the least
    specified; a code that is younger than the GEMs that of its category's unspecified one.
    """
    targets: dict[Code, Code] = {}
    there = ((x.source, x.target) for x in read_gem(System.ICD10CM, System.ICD9CM)
             if not x.combination)  # fmt: skip
    back = ((x.target, x.source) for x in read_gem(System.ICD9CM, System.ICD10CM)
            if not x.combination)  # fmt: skip
    for new, old in chain(there, back):
        if new is not None and old is not None:
            known = targets.setdefault(new, old)
            if len(old.value) < len(known.value):
                targets[new] = old
    found: dict[Code, list[str]] = {}
    for code, terms in wordings.items():
        target = targets.get(code)
        if target is None:
            below = [concept for concept in ontology.descendants(code) if concept.code in targets]
            least = max(below, key=lambda concept: concept.title.count("nspecified"), default=None)
            unspecified = Code(f"{code.category}.9", System.ICD10CM)
            target = targets.get(least.code if least is not None else unspecified)
        if target is not None:
            found.setdefault(target, []).extend(terms)
    return {code: list(dict.fromkeys(terms)) for code, terms in found.items()}


def concept_rows(
    ontology: Ontology, concepts: Sequence[Concept], ids: dict[Code, int]
) -> Iterator[ConceptRow]:
    groups = {
        system: read_groups(system) if system in _GROUPED else {}
        for system in dict.fromkeys(concept.code.system for concept in concepts)
    }
    chapters: dict[Code, str] = {}
    for concept in concepts:
        if concept.parent is not None:
            chapters[concept.code] = chapters[concept.parent]
        else:
            chapters[concept.code] = concept.title if concept.level is Level.CHAPTER else ""
        yield ConceptRow(
            id=ids[concept.code],
            system=concept.code.system.value,
            code=concept.code.value,
            title=concept.title,
            level=concept.level.value,
            parent=ids[concept.parent] if concept.parent is not None else None,
            billable=concept.billable,
            chapter=chapters[concept.code],
            grouping=groups[concept.code.system].get(concept.code, ""),
            details=_details(
                concept.inclusion_terms, concept.notes, concept.seventh, concept.expansion
            ),
        )


@lru_cache(maxsize=64)
def _details(
    inclusion_terms: tuple[str, ...],
    notes: Notes,
    seventh: tuple[tuple[str, str], ...],
    expansion: bool,
) -> str:
    """Return as JSON what most codes have little of: half of them share one text."""
    named = {field.name: getattr(notes, field.name) for field in fields(Notes)}
    details = {
        "inclusion_terms": inclusion_terms,
        "notes": named,
        "seventh": seventh,
        "expansion": expansion,
    }
    return json.dumps(details, ensure_ascii=False)


def crosswalk_rows(systems: Sequence[System], ids: dict[Code, int]) -> Iterator[CrosswalkRow]:
    for source, target in _GEM_SYSTEMS:
        if source not in systems or target not in systems:
            continue
        for entry in read_gem(source, target):
            if entry.source in ids and (entry.target is None or entry.target in ids):
                yield CrosswalkRow(
                    ids[entry.source],
                    ids[entry.target] if entry.target is not None else None,
                    entry.approximate,
                    entry.no_map,
                    entry.combination,
                    entry.scenario,
                    entry.choice_list,
                )
