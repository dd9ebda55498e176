"""The ontology: code sets in use, their trees, and the code that a text means."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from hashlib import sha256

from cmsearch.codes import Code, System, candidates
from cmsearch.errors import CodeError
from cmsearch.ontology import seventh
from cmsearch.ontology.concept import CodeSet, Concept, Level, Notes
from cmsearch.ontology.near import near
from cmsearch.ontology.packaged import read_code_set

DEFAULT_SYSTEMS = (System.ICD10CM, System.ICD9CM)


class Ontology:
    """Code sets, one for each system, and the tree that each of them is.

    Every method that takes a code raises CodeError, naming near codes, when there is no
    such code; ``get`` and ``in`` ask without raising.

    Args:
        code_sets: at most one for each system.

    Example:
        >>> ontology = Ontology.load()
        >>> ontology.concept(ontology.resolve("e119")).title
        'Type 2 diabetes mellitus without complications'
    """

    def __init__(self, code_sets: Sequence[CodeSet]) -> None:
        self.code_sets = tuple(code_sets)

    @classmethod
    def load(
        cls,
        systems: Sequence[System] = DEFAULT_SYSTEMS,
        *,
        extra: Sequence[CodeSet] = (),
    ) -> Ontology:
        """Return the ontology of the packaged code sets, and of those that are given.

        Takes one to two seconds for ICD-10-CM and ICD-9-CM.

        Args:
            systems: which systems to load.
            extra: code sets read from release files. The last one that has concepts
                replaces the packaged one of its system; the index terms of all are
                added. Those of other systems are passed over.
        """
        return cls([_chosen(system, extra) for system in dict.fromkeys(systems)])

    def __contains__(self, code: object) -> bool:
        return code in self._concepts

    def __len__(self) -> int:
        return len(self._concepts)

    @property
    def systems(self) -> tuple[System, ...]:
        """The systems in use, in the order in which they were given."""
        return tuple(code_set.system for code_set in self.code_sets)

    def code_set(self, system: System) -> CodeSet:
        """Return the code set of a system.

        Raises:
            CodeError: the system is not loaded.
        """
        for code_set in self.code_sets:
            if code_set.system is system:
                return code_set
        raise CodeError(
            f"{system.label} is not among the code systems in use ({self._names()}); "
            f"add it with --system {system.value}"
        )

    def concepts(self, system: System) -> tuple[Concept, ...]:
        """Return every chapter, block and code of a system, parents before children."""
        return self.code_set(system).concepts

    def get(self, code: Code) -> Concept | None:
        """Return the concept of a code, or None when there is none."""
        return self._concepts.get(code)

    def concept(self, code: Code) -> Concept:
        """Return the concept of a code.

        Raises:
            CodeError: there is none; the message names near codes.
        """
        concept = self._concepts.get(code)
        if concept is None:
            self.code_set(code.system)
            raise self._unknown(code.value, [code.system])
        return concept

    def children(self, code: Code) -> list[Concept]:
        """Return the concepts right below a code, in the order of the book."""
        self.concept(code)
        return list(self._children.get(code, ()))

    def ancestors(self, code: Code) -> list[Concept]:
        """Return the concepts above a code, nearest first, the chapter last."""
        above = []
        concept = self.concept(code)
        while concept.parent is not None:
            concept = self.concept(concept.parent)
            above.append(concept)
        return above

    def descendants(self, code: Code) -> list[Concept]:
        """Return all concepts below a code, in the order of the book."""
        self.concept(code)
        return list(self._below(code))

    def siblings(self, code: Code) -> list[Concept]:
        """Return the other concepts with the same parent; of a chapter, the other chapters."""
        concept = self.concept(code)
        if concept.parent is not None:
            beside = self._children[concept.parent]
        else:
            beside = [other for other in self.concepts(code.system) if other.parent is None]
        return [other for other in beside if other.code != code]

    def chapter(self, code: Code) -> Concept | None:
        """Return the chapter that a code belongs to; a chapter is its own."""
        path = [self.concept(code), *self.ancestors(code)]
        return path[-1] if path[-1].level is Level.CHAPTER else None

    def inherited_notes(self, code: Code) -> list[tuple[Concept, Notes]]:
        """Return the notes that hold for a code, its own first, then those from above.

        A note at a header holds for everything below it; nodes without notes are left
        out. Source: ICD-10-CM Official Guidelines, section I.A.
        """
        path = [self.concept(code), *self.ancestors(code)]
        return [(concept, concept.notes) for concept in path if concept.notes]

    def seventh_characters(self, code: Code) -> tuple[tuple[str, str], ...]:
        """Return the 7th characters that a code takes, with their meanings.

        They come from the nearest header that defines some. Where the full list has only
        a part of them (S06.1X7 takes A, not D or S), that part; for a code that carries
        its 7th character already, that one.
        """
        concept = self.concept(code)
        defined = seventh.meanings(code, self._concepts)
        if concept.expansion:
            return tuple(pair for pair in defined if pair[0] == code.value[-1])
        listed = {child.code.value[-1] for child in self.children(code) if child.expansion}
        return tuple(pair for pair in defined if pair[0] in listed) if listed else defined

    def index_terms(self, code: Code) -> tuple[str, ...]:
        """Return the lines of the alphabetic index that lead to a code, if one was added."""
        return tuple(self._index_terms.get(code, ()))

    def resolve(self, text: str, *, systems: Sequence[System] | None = None) -> Code:
        """Return the code that a text means: ``e119``, ``E11.9``, ``25000``, ``I20-I25``.

        Args:
            text: a code with or without its dot, in either case; or the range of a block.
            systems: which systems it may be of; all that are loaded by default.

        Raises:
            CodeError: no such code, naming near ones; or two of them, naming both.
        """
        allowed = self.systems if systems is None else tuple(systems)
        for system in allowed:
            self.code_set(system)
        read = candidates(text)
        found = [code for code in read if code.system in allowed and code in self]
        if len(found) == 1:
            return found[0]
        if found:
            raise self._ambiguous(text, found)
        elsewhere = [code.system for code in read if code.system not in self.systems]
        if read and len(elsewhere) == len(read):
            self.code_set(elsewhere[0])
        raise self._unknown(text, allowed)

    def near(
        self, text: str, *, systems: Sequence[System] | None = None, limit: int = 5
    ) -> list[Concept]:
        """Return the concepts whose codes are spelled most like a text, nearest first."""
        allowed = self.systems if systems is None else tuple(systems)
        spellings = {
            code: concept for code, concept in self._concepts.items() if code.system in allowed
        }
        return [spellings[code] for code in near(text, list(spellings), limit=limit)]

    @cached_property
    def _concepts(self) -> dict[Code, Concept]:
        return {
            concept.code: concept for code_set in self.code_sets for concept in code_set.concepts
        }

    @cached_property
    def _children(self) -> dict[Code, list[Concept]]:
        children = defaultdict(list)
        for concept in self._concepts.values():
            if concept.parent is not None:
                children[concept.parent].append(concept)
        return dict(children)

    @cached_property
    def _index_terms(self) -> dict[Code, list[str]]:
        terms = defaultdict(list)
        for code_set in self.code_sets:
            for code, term in code_set.index_terms:
                terms[code].append(term)
        return dict(terms)

    def _below(self, code: Code) -> Iterator[Concept]:
        for child in self._children.get(code, ()):
            yield child
            yield from self._below(child.code)

    def _names(self) -> str:
        return ", ".join(system.value for system in self.systems) or "none"

    def _unknown(self, text: str, systems: Sequence[System]) -> CodeError:
        releases = " or ".join(
            f"{system.label} {self.code_set(system).release}" for system in systems
        )
        message = f"no code {_quoted(text)} in {releases}"
        close = self.near(text, systems=systems)
        if not close:
            return CodeError(f"{message}; search for its words instead: cmsearch query")
        names = "; ".join(
            f"{concept.code} {concept.title}"
            + (f" ({concept.code.system.label})" if len(systems) > 1 else "")
            for concept in close
        )
        return CodeError(f"{message}; near ones: {names}")

    def _ambiguous(self, text: str, codes: Sequence[Code]) -> CodeError:
        readings = " and ".join(
            f"{code.system.label} {code} ({self.concept(code).title})" for code in codes
        )
        names = " or ".join(f"--system {code.system.value}" for code in codes)
        return CodeError(
            f"{_quoted(text)} is a code of more than one system: {readings}; say {names}"
        )


def _quoted(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 40 else text[:39] + "…")


def _chosen(system: System, extra: Sequence[CodeSet]) -> CodeSet:
    """Return the packaged code set of a system, or the one that replaces it, with all terms."""
    given = [code_set for code_set in extra if code_set.system is system]
    whole = [code_set for code_set in given if code_set.concepts]
    base = whole[-1] if whole else read_code_set(system)
    added = [code_set for code_set in given if code_set.index_terms and code_set is not base]
    if not added:
        return base
    digests = "".join(code_set.sha256 for code_set in (base, *added))
    terms = (term for code_set in (base, *added) for term in code_set.index_terms)
    return replace(
        base,
        origin=" + ".join(dict.fromkeys(code_set.origin for code_set in (base, *added))),
        sha256=sha256(digests.encode()).hexdigest(),
        index_terms=tuple(dict.fromkeys(terms)),
    )
