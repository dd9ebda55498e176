"""All text forms and concepts of an index as numbers: what ranking looks at for each query.

One row a form and one row a concept, in the order of their ids, as flat arrays that are read
in a few milliseconds and weighed without a loop in Python.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from cmsearch.codes import System
from cmsearch.rows import ConceptRow, FormRow

Ints = NDArray[np.int32]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]

SYSTEMS = tuple(system.value for system in System)
OTHER_FORM, TITLE_FORM, VOCABULARY_FORM, LISTED_FORM = range(4)
_KINDS = {
    "title": TITLE_FORM,
    "vocabulary": VOCABULARY_FORM,
    "inclusion": LISTED_FORM,
    "includes": LISTED_FORM,
    "index": LISTED_FORM,
}
TRAITS = ("unspecified", "other", "billable", "depth", "old")
_DTYPES: dict[str, str] = {
    "concept": "<i4",
    "vector": "<i4",
    "by_vector": "<i4",
    "vector_starts": "<i4",
    "kind": "u1",
    "terms": "<i4",
    "starts": "<i4",
    "counts": "<i4",
    "title": "<i4",
    "system": "u1",
    "category": "<i4",
    "traits": "u1",
    "code": "S12",
}


@dataclass(frozen=True)
class FormTable:
    """Forms, terms and concepts as arrays; ids are places in them.

    Attributes:
        concept, vector, kind: of each form its concept, its row of vectors and whether it
            is a title, vocabulary, listed (inclusion, index) or another form, (forms,).
        by_vector, vector_starts: the forms with vector i are
            ``by_vector[vector_starts[i]:vector_starts[i + 1]]``.
        terms, starts: the distinct terms of form i are ``terms[starts[i]:starts[i + 1]]``.
        counts: in how many forms each term stands, (terms,).
        title: of each concept the form that is its title, -1 for none, (concepts,).
        system: of each concept the place of its code system in ``SYSTEMS``.
        category: of each concept a number for the first three characters of its code.
        traits: of each concept ``TRAITS``, (concepts, 5).
        code: of each concept its code, in bytes.
    """

    concept: Ints
    vector: Ints
    kind: NDArray[np.uint8]
    by_vector: Ints
    vector_starts: Ints
    terms: Ints
    starts: Ints
    counts: Ints
    title: Ints
    system: NDArray[np.uint8]
    category: Ints
    traits: NDArray[np.uint8]
    code: NDArray[np.bytes_]

    @classmethod
    def make(
        cls,
        concepts: Sequence[ConceptRow],
        forms: Iterable[FormRow],
        term_ids: Mapping[str, int],
        counts: Sequence[int],
    ) -> FormTable:
        """Return the table of concepts and forms whose ids are 0, 1, 2, ...

        Args:
            concepts: the concepts, in order.
            forms: the forms, in order, with their terms.
            term_ids: the place of each term in ``counts``.
            counts: in how many forms each term stands.
        """
        owners, rows, kinds, terms, starts = [], [], [], [], [0]
        title = np.full(len(concepts), -1, dtype=np.int32)
        for form in forms:
            owners.append(form.concept)
            rows.append(form.vector)
            kinds.append(_KINDS.get(form.template, OTHER_FORM))
            terms += sorted({term_ids[term] for term in form.terms.split()})
            starts.append(len(terms))
            if kinds[-1] == TITLE_FORM:
                title[form.concept] = form.id
        vector = np.array(rows, dtype=np.int32)
        by_vector = np.argsort(vector, kind="stable")
        heads: dict[str, int] = {}
        return cls(
            concept=np.array(owners, dtype=np.int32),
            vector=vector,
            kind=np.array(kinds, dtype=np.uint8),
            by_vector=by_vector.astype(np.int32),
            vector_starts=np.searchsorted(
                vector[by_vector], np.arange(int(vector.max(initial=-1)) + 2)
            ).astype(np.int32),
            terms=np.array(terms, dtype=np.int32),
            starts=np.array(starts, dtype=np.int32),
            counts=np.array(counts, dtype=np.int32),
            title=title,
            system=np.array([SYSTEMS.index(row.system) for row in concepts], dtype=np.uint8),
            category=np.array(
                [heads.setdefault(row.code[:3], len(heads)) for row in concepts], dtype=np.int32
            ),
            traits=np.array([_traits(row) for row in concepts], dtype=np.uint8).reshape(-1, 5),
            code=np.array([row.code.encode() for row in concepts], dtype="S12"),
        )

    def blobs(self) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the bytes of every array."""
        for name, dtype in _DTYPES.items():
            yield name, np.ascontiguousarray(getattr(self, name), dtype=dtype).tobytes()

    @classmethod
    def of_blobs(cls, blobs: Mapping[str, bytes]) -> FormTable:
        """Return the table of named bytes.

        Raises:
            ValueError: an array is missing or cut.
        """
        if set(blobs) != {field.name for field in fields(cls)}:
            raise ValueError("the arrays of the text forms are not complete")
        arrays = {name: np.frombuffer(blobs[name], dtype=_DTYPES[name]) for name in _DTYPES}
        table = cls(**(arrays | {"traits": arrays["traits"].reshape(-1, len(TRAITS))}))
        forms, concepts = len(table.concept), len(table.code)
        same = len(table.vector) == len(table.kind) == len(table.starts) - 1 == forms
        if not same or not len(table.title) == len(table.traits) == len(table.system) == concepts:
            raise ValueError("the arrays of the text forms are of different lengths")
        for name, least, most in (
            ("concept", 0, concepts), ("by_vector", 0, forms), ("title", -1, forms),
            ("vector", 0, len(table.vector_starts) - 1), ("terms", 0, len(table.counts)),
            ("starts", 0, len(table.terms) + 1), ("vector_starts", 0, forms + 1),
            ("system", 0, len(SYSTEMS)), ("kind", 0, LISTED_FORM + 1),
        ):  # fmt: skip
            array = getattr(table, name)
            if len(array) and not (least <= array.min() and array.max() < most):
                raise ValueError(f"the array {name} of the text forms points beyond its end")
        return table

    @cached_property
    def weights(self) -> Floats:
        """How telling each term is: log(1 + forms / forms that have it), (terms,)."""
        found: Floats = np.log1p(len(self.concept) / np.maximum(self.counts, 0.5))
        return found

    def forms_of_vectors(self, rows: Ids) -> Ids:
        """Return the ids of the forms whose vector is one of these rows, in order of ids."""
        starts = self.vector_starts
        rows = rows[(rows >= 0) & (rows < len(starts) - 1)]
        places = spans(starts[rows], starts[rows + 1])
        return np.sort(self.by_vector[places].astype(np.int64))

    def term_spans(self, forms: Ids) -> tuple[Ints, Ids]:
        """Return the terms of the forms, one after the other, and where each form begins."""
        first, last = self.starts[forms], self.starts[forms + 1]
        begins = np.concatenate([[0], np.cumsum(last - first)[:-1]]).astype(np.int64)
        return self.terms[spans(first, last)], begins


def spans(first: NDArray[np.integer], last: NDArray[np.integer]) -> Ids:
    """Return first[0], ..., last[0] - 1, first[1], ... as one array."""
    sizes = (last - first).astype(np.int64)
    ends = np.cumsum(sizes)
    total = int(ends[-1]) if len(ends) else 0
    found: Ids = np.arange(total) + np.repeat(first - (ends - sizes), sizes)
    return found


def _traits(row: ConceptRow) -> tuple[int, ...]:
    opening = row.title.casefold()
    return (
        "unspecified" in opening or opening.endswith("nos"),
        opening.startswith("other ") or " other " in opening,
        row.billable,
        len(row.code),
        row.system == System.ICD9CM.value,
    )
