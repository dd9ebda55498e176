"""From one query to candidate concepts, each with what speaks for it, as numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmsearch.formtable import (
    LISTED_FORM,
    TITLE_FORM,
    VOCABULARY_FORM,
    Floats,
    FormTable,
    Ids,
    Ints,
)
from cmsearch.fusion import FEATURES, Matrix
from cmsearch.lexicon import Lexicon
from cmsearch.query import Query
from cmsearch.rows import ConceptRow, FormRow
from cmsearch.types import Vectors, Why
from cmsearch.vectors import Rows, VectorIndex

_DENSE_FORMS = 128
_LEXICAL_FORMS = 96
_VOTERS = 24
_VOTE_SHARPNESS = 12.0

Flags = NDArray[np.bool_]
Allowed = Callable[[FormTable, Ids], Flags]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A concept that one or both halves found, and its best form."""

    concept: ConceptRow
    form: FormRow
    why: Why


@dataclass(frozen=True, slots=True)
class Candidates:
    """The concepts that one or both halves found, the nearest first.

    Attributes:
        concepts: their ids, (n,).
        forms: the id of the best form of each, (n,).
        why: what brought each.
        features: what speaks for each, (n, len(FEATURES)) float32.
        codes: their codes, in bytes.
    """

    concepts: Ids
    forms: Ids
    why: Sequence[Why]
    features: Matrix
    codes: NDArray[np.bytes_]

    def __len__(self) -> int:
        return len(self.concepts)

    def rows(self, places: Sequence[int], lexicon: Lexicon) -> list[Candidate]:
        """Return the candidates at these places with their concepts and forms."""
        chosen = list(places)
        owners, best = self.concepts[chosen].tolist(), self.forms[chosen].tolist()
        concepts = lexicon.concepts(owners)
        forms = {form.id: form for form in lexicon.forms(best)}
        return [
            Candidate(concepts[owner], forms[form], self.why[place])
            for place, owner, form in zip(chosen, owners, best, strict=True)
        ]


@dataclass(frozen=True, slots=True)
class _Evidence:
    """What each form has to do with a query; forms of one concept together, nearest first.

    Attributes:
        forms: their ids, (m,).
        first: where the forms of each concept begin, (n,).
        owner: of each form the place of its concept, (m,).
        cosine, covered_query, covered_form, overlap: how near, and the shares of weighted
            words that are in common, (m,) float64.
        shared, size: how many distinct terms are in common, and how many it has, (m,).
        dense, lexical: which half brought it, (m,).
    """

    forms: Ids
    first: Ids
    owner: Ids
    cosine: Floats
    covered_query: Floats
    covered_form: Floats
    overlap: Floats
    shared: Ids
    size: Ids
    dense: Flags
    lexical: Flags


def gather(
    query: Query,
    vectors: Vectors,
    *,
    lexicon: Lexicon,
    index: VectorIndex,
    allowed: Allowed,
    within: Rows | None = None,
    wider: int = 1,
) -> Candidates:
    """Return the candidates of a query with their features.

    Args:
        query: the query.
        vectors: unit vectors of its variants, (v, dim).
        lexicon: the lexical half.
        index: the dense half.
        allowed: tells of forms, given the table and ids, (n,), whether they may count.
        within: the only rows of vectors to look at; all if left out.
        wider: how many times the usual number of forms to look at.
    """
    table = lexicon.table
    rows, cosines = _nearest(vectors, index, within=within, count=_DENSE_FORMS * wider)
    dense = _marked(table, table.forms_of_vectors(rows))
    lexical = _marked(table, lexicon.find(query.terms, limit=_LEXICAL_FORMS * wider))
    found = dense | lexical
    forms = np.flatnonzero(found)
    forms = forms[allowed(table, forms)]
    titles = table.title[table.concept[forms]]
    wanted = _marked(table, titles[titles >= 0]) & ~found
    wanted[forms] = True
    forms = np.flatnonzero(wanted)
    if not len(forms):
        nothing = np.empty(0, dtype=np.int64)
        return Candidates(
            nothing, nothing, (), np.empty((0, len(FEATURES)), np.float32), table.code[:0]
        )
    cosine = _cosines(table.vector[forms].astype(np.int64), rows, cosines, vectors, index)
    return _candidates(query, table, _weigh(query, forms, cosine, dense, lexical, lexicon))


def _marked(table: FormTable, forms: Ids | Ints | Sequence[int]) -> Flags:
    """Return which forms of all are among these, (forms,) bool."""
    marks = np.zeros(len(table.concept), dtype=bool)
    marks[forms] = True
    return marks


def _nearest(
    vectors: Vectors, index: VectorIndex, *, within: Rows | None, count: int
) -> tuple[Rows, Vectors]:
    """Return the nearest rows, in order of their numbers, and the best cosine of each."""
    if within is not None:
        best: Vectors = (index.vectors(within) @ vectors.T).max(axis=1, initial=-1.0)
        order = np.sort(np.argsort(-best, kind="stable")[:count])
        return within[order], best[order]
    scores, rows = index.search(vectors, k=count)
    real = rows >= 0
    unique, places = np.unique(rows[real], return_inverse=True)
    cosines = np.full(len(unique), -1.0, dtype=np.float32)
    np.maximum.at(cosines, places, scores[real])
    return unique, cosines


def _cosines(
    wanted: Rows, rows: Rows, cosines: Vectors, vectors: Vectors, index: VectorIndex
) -> Floats:
    """Return the best cosine of each wanted row; those not among ``rows`` are computed."""
    places = np.searchsorted(rows, wanted)
    places[places == len(rows)] = 0
    known = rows[places] == wanted if len(rows) else np.zeros(len(wanted), dtype=bool)
    found = np.empty(len(wanted), dtype=np.float64)
    found[known] = cosines[places[known]]
    if not known.all():
        absent, back = np.unique(wanted[~known], return_inverse=True)
        found[~known] = (index.vectors(absent) @ vectors.T).max(axis=1)[back]
    return found


def _weigh(
    query: Query, forms: Ids, cosine: Floats, dense: Flags, lexical: Flags, lexicon: Lexicon
) -> _Evidence:
    table = lexicon.table
    order = np.lexsort((forms, -cosine, table.concept[forms]))
    forms, cosine = forms[order], cosine[order]
    owners = table.concept[forms]
    first = np.flatnonzero(np.r_[True, owners[1:] != owners[:-1]])
    places = lexicon.terms(query.terms)
    asked = np.zeros(len(table.counts), dtype=bool)
    asked[[place for place, _ in places.values()]] = True
    strange = len(query.terms) - len(places)
    asked_weight = table.weights[asked].sum() + strange * np.log1p(2.0 * len(table.concept))
    own, begins = table.term_spans(forms)
    weight, common = table.weights[own], asked[own]
    shared = np.add.reduceat(weight * common, begins)
    total = np.add.reduceat(weight, begins)
    covered_query = shared / (asked_weight or 1.0)
    covered_form = shared / np.where(total > 0, total, 1.0)
    both = covered_query + covered_form
    return _Evidence(
        forms=forms,
        first=first,
        owner=np.repeat(np.arange(len(first)), np.diff(np.r_[first, len(forms)])),
        cosine=cosine,
        covered_query=covered_query,
        covered_form=covered_form,
        overlap=2 * covered_query * covered_form / np.where(both > 0, both, 1.0),
        shared=np.add.reduceat(common.astype(np.int64), begins),
        size=(table.starts[forms + 1] - table.starts[forms]).astype(np.int64),
        dense=dense[forms],
        lexical=lexical[forms],
    )


def _candidates(query: Query, table: FormTable, evidence: _Evidence) -> Candidates:
    """Return one line of features for each concept, the nearest concept first."""
    forms, first, owner = evidence.forms, evidence.first, evidence.owner
    concepts = table.concept[forms[first]].astype(np.int64)
    count = np.diff(np.r_[first, len(forms)])
    nearest = evidence.cosine[first]
    second = np.where(
        count > 1, evidence.cosine[np.minimum(first + 1, len(forms) - 1)], nearest - 0.3
    )
    wordiest = _best(owner, first, evidence.overlap, evidence.cosine, forms)
    best = _best(owner, first, evidence.cosine + 0.5 * evidence.overlap, forms)
    kind = table.kind[forms[best]]
    title_overlap, title_cosine = np.zeros(len(first)), np.zeros(len(first))
    titles = np.flatnonzero(table.kind[forms] == TITLE_FORM)[::-1]  # the first one stays
    title_overlap[owner[titles]] = evidence.overlap[titles]
    title_cosine[owner[titles]] = evidence.cosine[titles]
    same = (evidence.shared == len(query.terms)) & (evidence.size == len(query.terms))
    rank = np.empty(len(first))
    order = np.lexsort((concepts, -nearest))
    rank[order] = np.arange(len(first))
    votes, category_votes = _votes(concepts, table, evidence)
    traits = table.traits[concepts]
    features = np.column_stack((
        nearest,
        second,
        nearest - nearest.max(),
        np.log1p(rank),
        evidence.covered_query[wordiest],
        evidence.covered_form[wordiest],
        evidence.overlap[wordiest],
        evidence.overlap[wordiest] - evidence.overlap.max(),
        np.logical_or.reduceat(same, first),
        title_overlap,
        title_cosine,
        kind == VOCABULARY_FORM,
        kind == LISTED_FORM,
        kind == TITLE_FORM,
        votes,
        category_votes,
        np.full(len(first), query.unknown),
        np.full(len(first), np.log1p(len(query.terms))),
        np.minimum(6, evidence.size[best] - evidence.shared[best]),
        traits,
    )).astype(np.float32)  # fmt: skip
    why = _why(evidence, best)
    return Candidates(
        concepts[order],
        forms[best][order],
        [why[place] for place in order],
        features[order],
        table.code[concepts[order]],
    )


def _best(owner: Ids, first: Ids, *keys: NDArray[np.generic]) -> Ids:
    """Return for each concept the place of its form with the largest keys, the first first.

    The last key is the form's id, of which the smallest wins.
    """
    *larger, forms = keys
    order = np.lexsort((forms, *[-key for key in reversed(larger)], owner))
    found: Ids = order[first]
    return found


def _votes(concepts: Ids, table: FormTable, evidence: _Evidence) -> tuple[Floats, Floats]:
    """Return each concept's and each category's share of the forms nearest to the query."""
    owner = evidence.owner
    nearest = np.lexsort((-concepts[owner], -evidence.cosine))[:_VOTERS]
    weight = np.exp(_VOTE_SHARPNESS * (evidence.cosine[nearest] - evidence.cosine[nearest[0]]))
    weight /= weight.sum()
    votes = np.bincount(owner[nearest], weights=weight, minlength=len(concepts))
    heads, head = np.unique(table.category[concepts], return_inverse=True)
    categories = np.bincount(head[owner[nearest]], weights=weight, minlength=len(heads))
    return votes.astype(np.float64), categories.astype(np.float64)[head]


def _why(evidence: _Evidence, best: Ids) -> list[Why]:
    some = np.logical_or.reduceat(evidence.lexical, evidence.first)
    lexical = evidence.lexical[best] | ((evidence.overlap[best] >= 0.5) & some)
    return [
        Why.BOTH if words and meaning else Why.LEXICAL if words else Why.DENSE
        for words, meaning in zip(lexical, evidence.dense[best], strict=True)
    ]
