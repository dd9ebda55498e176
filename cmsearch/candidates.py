"""From one query to candidate concepts, each with what speaks for it, as numbers."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cmsearch.fusion import FEATURES, Matrix
from cmsearch.lexicon import Lexicon
from cmsearch.rows import ConceptRow, FormRow
from cmsearch.types import Vectors, Why
from cmsearch.vectors import Rows, VectorIndex
from cmsearch.wording import terms, tokens

_DENSE_FORMS = 128
_LEXICAL_FORMS = 96
_VOTERS = 24
_VOTE_SHARPNESS = 12.0


@dataclass(frozen=True, slots=True)
class Query:
    """A query as both halves see it.

    Attributes:
        text: what was typed.
        terms: stems of its telling words, slips corrected.
        unknown: share of the words that no form has, even corrected.
        rewritten: the text with slips corrected and shorthand spelled out, if it differs.
    """

    text: str
    terms: tuple[str, ...]
    unknown: float
    rewritten: str | None

    @property
    def variants(self) -> list[str]:
        """The texts to encode: as typed, and as rewritten."""
        return [self.text] if self.rewritten is None else [self.text, self.rewritten]


def understand(text: str, lexicon: Lexicon) -> Query:
    """Return the query behind a text: shorthand, spelling and slips looked through."""
    words = tokens(text)[:400]
    mended, unknown = [], 0
    for word in words:
        if lexicon.knows(word):
            mended.append(word)
            continue
        better = lexicon.correct(word)
        unknown += better is None
        mended.append(better or word)
    rewritten = " ".join(mended)
    typed = " ".join(text.casefold().split())
    differs = bool(mended) and rewritten != typed and mended != tokens_as_typed(typed)
    return Query(
        text=text,
        terms=tuple(dict.fromkeys(terms(mended))),
        unknown=unknown / max(1, len(words)),
        rewritten=rewritten if differs else None,
    )


def tokens_as_typed(text: str) -> list[str]:
    """Return the words of lower-case text with punctuation removed, nothing spelled out."""
    return "".join(letter if letter.isalnum() else " " for letter in text).split()


@dataclass(frozen=True, slots=True)
class Candidate:
    """A concept that one or both halves found, and its best form."""

    concept: ConceptRow
    form: FormRow
    why: Why


@dataclass(slots=True)
class _Evidence:
    """What a form has to do with a query."""

    form: FormRow
    cosine: float
    covered_query: float
    covered_form: float
    stems: frozenset[str]
    dense: bool
    lexical: bool

    @property
    def overlap(self) -> float:
        both = self.covered_query + self.covered_form
        return 2 * self.covered_query * self.covered_form / both if both else 0.0


def gather(
    query: Query,
    vectors: Vectors,
    *,
    lexicon: Lexicon,
    index: VectorIndex,
    allowed: Callable[[FormRow], bool],
    within: Rows | None = None,
    wider: int = 1,
) -> tuple[list[Candidate], Matrix]:
    """Return the candidates of a query and their features, (n, len(FEATURES)) float32.

    Args:
        query: the query.
        vectors: unit vectors of its variants, (v, dim).
        lexicon: the lexical half.
        index: the dense half.
        allowed: whether the concept of a form passes the filters.
        within: the only rows of vectors to look at; all if left out.
        wider: how many times the usual number of forms to look at.
    """
    cosines = _nearest(vectors, index, within=within, count=_DENSE_FORMS * wider)
    found = {form.id: form for form in lexicon.forms_of_vectors(list(cosines))}
    dense_ids = set(found)
    lexical_ids = set(lexicon.find(query.terms, limit=_LEXICAL_FORMS * wider))
    missing = sorted(lexical_ids - dense_ids)
    found.update((form.id, form) for form in lexicon.forms(missing))
    forms = [form for form in found.values() if allowed(form)]
    if not forms:
        return [], np.empty((0, len(FEATURES)), dtype=np.float32)
    concepts = lexicon.concepts(sorted({form.concept for form in forms}))
    titles = lexicon.titles(list(concepts))
    forms += [form for form in titles if form.id not in found]
    _add_cosines(cosines, forms, vectors, index)
    evidence = _weigh(query, forms, cosines, dense_ids, lexical_ids, lexicon)
    return _features(query, concepts, evidence)


def _nearest(
    vectors: Vectors, index: VectorIndex, *, within: Rows | None, count: int
) -> dict[int, float]:
    """Return the best cosine of each of the nearest rows, by row."""
    if within is not None:
        if not len(within):
            return {}
        best = (index.vectors(within) @ vectors.T).max(axis=1)
        order = np.argsort(-best, kind="stable")[:count]
        return dict(zip(within[order].tolist(), best[order].tolist(), strict=True))
    scores, rows = index.search(vectors, k=count)
    cosines: dict[int, float] = {}
    for row, score in zip(rows.ravel().tolist(), scores.ravel().tolist(), strict=True):
        if row >= 0:
            cosines[row] = max(score, cosines.get(row, -1.0))
    return cosines


def _add_cosines(
    cosines: dict[int, float], forms: Sequence[FormRow], vectors: Vectors, index: VectorIndex
) -> None:
    absent = sorted({form.vector for form in forms} - set(cosines))
    if absent:
        stored = index.vectors(np.array(absent, dtype=np.int64))
        best = (stored @ vectors.T).max(axis=1)
        cosines.update(zip(absent, best.tolist(), strict=True))


def _weigh(
    query: Query,
    forms: Sequence[FormRow],
    cosines: Mapping[int, float],
    dense: set[int],
    lexical: set[int],
    lexicon: Lexicon,
) -> dict[int, list[_Evidence]]:
    """Return the evidence of each concept's forms, by concept id, the best cosine first."""
    stems = [frozenset(form.terms.split()) for form in forms]
    asked = frozenset(query.terms)
    counts = lexicon.frequencies(asked.union(*stems))
    total = lexicon.form_count
    weight = {
        term: math.log1p(total / max(count, 0.5))
        for term, count in ((term, counts.get(term, 0)) for term in asked.union(*stems))
    }
    asked_weight = sum(weight[term] for term in sorted(asked)) or 1.0
    evidence: dict[int, list[_Evidence]] = defaultdict(list)
    for form, words in zip(forms, stems, strict=True):
        shared = sum(weight[term] for term in sorted(words & asked))
        own = sum(weight[term] for term in sorted(words)) or 1.0
        evidence[form.concept].append(
            _Evidence(
                form, cosines[form.vector], shared / asked_weight, shared / own, words,
                form.id in dense, form.id in lexical,
            )
        )  # fmt: skip
    for found in evidence.values():
        found.sort(key=lambda item: (-item.cosine, item.form.id))
    return evidence


def _features(
    query: Query, concepts: Mapping[int, ConceptRow], evidence: Mapping[int, list[_Evidence]]
) -> tuple[list[Candidate], Matrix]:
    asked = frozenset(query.terms)
    ranked = sorted(evidence, key=lambda concept: (-evidence[concept][0].cosine, concept))
    rank = {concept: place for place, concept in enumerate(ranked)}
    best_cosine = evidence[ranked[0]][0].cosine
    best_overlap = max(item.overlap for items in evidence.values() for item in items)
    votes, category_votes = _votes(concepts, evidence)
    candidates, table = [], []
    for concept_id in ranked:
        concept, items = concepts[concept_id], evidence[concept_id]
        wordiest = max(items, key=lambda item: (item.overlap, item.cosine, -item.form.id))
        title = next((item for item in items if item.form.template == "title"), None)
        best = max(items, key=lambda item: (item.cosine + 0.5 * item.overlap, -item.form.id))
        same = any(item.stems == asked for item in items)
        opening = concept.title.casefold()
        table.append((
            items[0].cosine,
            items[1].cosine if len(items) > 1 else items[0].cosine - 0.3,
            items[0].cosine - best_cosine,
            math.log1p(rank[concept_id]),
            wordiest.covered_query,
            wordiest.covered_form,
            wordiest.overlap,
            wordiest.overlap - best_overlap,
            float(same),
            title.overlap if title else 0.0,
            title.cosine if title else 0.0,
            float(best.form.template == "vocabulary"),
            float(best.form.template in ("inclusion", "includes", "index")),
            float(best.form.template == "title"),
            votes.get(concept_id, 0.0),
            category_votes.get(concept.code[:3], 0.0),
            query.unknown,
            math.log1p(len(asked)),
            min(6, len(best.stems - asked)),
            float("unspecified" in opening or opening.endswith("nos")),
            float(opening.startswith("other ") or " other " in opening),
            float(concept.billable),
            len(concept.code),
            float(concept.system == "icd9cm"),
        ))  # fmt: skip
        candidates.append(Candidate(concept, best.form, _why(best, items)))
    return candidates, np.array(table, dtype=np.float32)


def _votes(
    concepts: Mapping[int, ConceptRow], evidence: Mapping[int, list[_Evidence]]
) -> tuple[dict[int, float], dict[str, float]]:
    """Return each concept's and each category's share of the forms nearest to the query."""
    nearest = sorted(
        ((item.cosine, concept) for concept, items in evidence.items() for item in items),
        reverse=True,
    )[:_VOTERS]
    top = nearest[0][0]
    weights = [(math.exp(_VOTE_SHARPNESS * (cosine - top)), concept) for cosine, concept in nearest]
    total = sum(weight for weight, _ in weights)
    votes: dict[int, float] = defaultdict(float)
    categories: dict[str, float] = defaultdict(float)
    for weight, concept in weights:
        votes[concept] += weight / total
        categories[concepts[concept].code[:3]] += weight / total
    return votes, categories


def _why(best: _Evidence, items: Sequence[_Evidence]) -> Why:
    lexical = best.lexical or (best.overlap >= 0.5 and any(item.lexical for item in items))
    dense = best.dense
    if lexical and dense:
        return Why.BOTH
    return Why.LEXICAL if lexical else Why.DENSE
