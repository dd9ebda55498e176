"""From release files to code sets: which files go together, and what they make."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from cmsearch.codes import Code, System, dot
from cmsearch.errors import CmsearchError, OntologyError
from cmsearch.ontology.alphabetic import IndexTerms, placed
from cmsearch.ontology.concept import CodeSet, Concept, Level
from cmsearch.ontology.icd9 import icd9_concepts
from cmsearch.ontology.orderfile import Row
from cmsearch.ontology.packaged import read_code_set
from cmsearch.ontology.pcs import pcs_concepts
from cmsearch.ontology.release import FoundFile, Kind, index_lines, listed_rows, tabular_nodes
from cmsearch.ontology.seventh import complete

# A list may lack this part of the codes that the tabular list of its release makes.
_TOLERATED = 0.01


@dataclass(frozen=True, slots=True)
class Assembly:
    """What release files make.

    Attributes:
        code_sets: one for each system that the files are of, whole, with its index terms.
        terms: of each index file, by its sha256, where its lines lead.
    """

    code_sets: tuple[CodeSet, ...]
    terms: Mapping[str, IndexTerms]


def assemble(files: Sequence[FoundFile]) -> Assembly:
    """Return the code sets that release files make together.

    ICD-10-CM comes from its tabular list; an order file or code list beside it says which
    codes with a 7th character exist and what they are called. Without tabular list it comes
    from the order file or code list alone, under the packaged chapters and blocks. Where
    there are only index files, their terms join the packaged codes.

    Args:
        files: the files in use, at most one of each kind and system.

    Raises:
        OntologyError: files contradict each other, or hold codes that have no place.
    """
    code_sets = []
    terms: dict[str, IndexTerms] = {}
    for system in dict.fromkeys(file.system for file in files):
        mine = [file for file in files if file.system is system]
        sources = [file for file in mine if not file.kind.is_index]
        base = _code_set(system, sources) if sources else read_code_set(system)
        indexes = [file for file in mine if file.kind.is_index]
        known = {concept.code for concept in base.concepts} if indexes else set()
        for file in indexes:
            terms[file.sha256] = placed(index_lines(file), known)
        code_sets.append(_with_terms(base, indexes, terms))
    return Assembly(tuple(code_sets), terms)


def _with_terms(
    base: CodeSet, indexes: Sequence[FoundFile], terms: Mapping[str, IndexTerms]
) -> CodeSet:
    if not indexes:
        return base
    lines = (line for file in indexes for line in terms[file.sha256].terms)
    return replace(
        base,
        origin=" + ".join([base.origin, *(file.name for file in indexes)]),
        sha256=_digest([base.sha256, *(file.sha256 for file in indexes)]),
        index_terms=tuple(dict.fromkeys(lines)),
    )


def _code_set(system: System, sources: Sequence[FoundFile]) -> CodeSet:
    ordered = sorted(sources, key=lambda file: file.kind is not Kind.TABULAR)
    try:
        concepts = _concepts(system, ordered)
    except CmsearchError as error:
        names = " with ".join(file.name for file in ordered)
        raise OntologyError(f"{names}: {error}") from error
    return CodeSet(
        system=system,
        release=ordered[0].release,
        origin=" + ".join(file.name for file in ordered),
        sha256=_digest([file.sha256 for file in ordered]),
        concepts=concepts,
    )


def _concepts(system: System, ordered: Sequence[FoundFile]) -> tuple[Concept, ...]:
    if ordered[0].kind is Kind.TABULAR:
        nodes = tabular_nodes(ordered[0])
        return _completed(nodes, listed_rows(ordered[1])) if ordered[1:] else complete(nodes)
    rows = listed_rows(ordered[0])
    if system is System.ICD10CM:
        return _under_packaged_blocks(rows)
    titles = {row.code: row.title for row in rows if row.billable}
    return pcs_concepts(titles) if system is System.ICD10PCS else icd9_concepts(system, titles)


def _completed(nodes: Sequence[Concept], rows: Sequence[Row]) -> tuple[Concept, ...]:
    """Return a tabular list with the listed 7th characters, under their listed titles."""
    titles = {row.code: row.title for row in rows}
    concepts = complete(nodes, titles)
    billable = [concept.code.undotted for concept in concepts if concept.billable]
    missing = [code for code in billable if code not in titles]
    if len(missing) > _TOLERATED * len(billable):
        raise OntologyError(
            f"the list lacks {len(missing):,} of the {len(billable):,} codes that the tabular "
            f"list makes, {missing[0]} among them; it is cut off or of another release: "
            "download it again"
        )
    return tuple(
        replace(concept, title=titles[concept.code.undotted]) if concept.expansion else concept
        for concept in concepts
    )


def _under_packaged_blocks(rows: Sequence[Row]) -> tuple[Concept, ...]:
    packaged = read_code_set(System.ICD10CM).concepts
    headers = [concept for concept in packaged if concept.level is not Level.CODE]
    places = {
        concept.code.category: concept.parent
        for concept in packaged
        if concept.level is Level.CODE and concept.parent and concept.parent.is_range
    }
    listed = {row.code for row in rows}
    stems = {row.code: _stem(row.code, listed) for row in rows}
    extended = set(stems.values())
    codes = []
    for row in sorted(rows, key=lambda row: row.code):
        code = _code(row.code)
        stem = stems[row.code]
        parent = _code(stem) if stem else places.get(code.category) or _place(code, headers)
        codes.append(
            Concept(
                code=code,
                title=row.title,
                parent=parent,
                billable=row.billable and row.code not in extended,
                expansion=len(row.code) == 7,
            )
        )
    return (*headers, *codes)


def _code(undotted: str) -> Code:
    return Code(dot(System.ICD10CM, undotted), System.ICD10CM)


def _stem(undotted: str, listed: set[str]) -> str:
    """Return the longest other listed code that this one begins with; empty if none."""
    shorter = (undotted[:end] for end in range(len(undotted) - 1, 2, -1))
    return next((stem for stem in shorter if stem in listed), "")


def _place(code: Code, headers: Sequence[Concept]) -> Code:
    """Return the narrowest block or chapter whose range holds a category."""
    for level in (Level.BLOCK, Level.CHAPTER):
        for header in headers:
            low, _, high = header.code.value.partition("-")
            if header.level is level and low <= code.category <= high:
                return header.code
    raise OntologyError(f"no chapter holds the code {code}; download the file again")


def _digest(digests: Sequence[str]) -> str:
    return digests[0] if len(digests) == 1 else sha256("".join(digests).encode()).hexdigest()
