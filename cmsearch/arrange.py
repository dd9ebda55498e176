"""What becomes of ranked candidates: exact ones first, billable ones alone, then hits."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

from cmsearch.candidates import Candidate
from cmsearch.codes import Code, System
from cmsearch.filters import Filters, Gate
from cmsearch.lexicon import Lexicon
from cmsearch.narrowing import SIDES, extends, narrowed, said_in, seventh_of
from cmsearch.quantities import Span, number_of, span_of
from cmsearch.query import Query
from cmsearch.rows import ConceptRow
from cmsearch.types import Hit, Why
from cmsearch.wording import phrase_key, plain

Ranked = list[tuple[Candidate, float]]
# Wordings that differ by more characters than this are not one and the same.
_NEAR = 20
# Of the first candidate: nothing else is meant. And of a wording with a side beside it.
_CERTAIN, _SIDED = 0.998, 0.99
# What a title says of a condition that is named and no more.
_UNSPECIFIED = re.compile(r"^unspecified |,? (?:unspecified|nos)$")


def exact_first(
    query: Query,
    ranked: Sequence[tuple[Candidate, float]],
    named: Sequence[ConceptRow],
    lexicon: Lexicon,
) -> Ranked:
    """Return the candidates with those in front whose code, title or other form the query is.

    Shorthand and slips are looked through for other forms. Behind them come those whose
    title or form is the query and "unspecified": chest pain is R07.9.

    Args:
        query: the query.
        ranked: the candidates, best first.
        named: the concepts of the code that the query is; none if it is none.
        lexicon: the lexical half of an index.
    """
    front = []
    for row in named:
        forms = lexicon.forms_of_concept(row.id)
        if not forms and row.parent is not None:
            forms = lexicon.forms_of_concept(row.parent)
        if forms:
            front.append((Candidate(row, forms[0], Why.EXACT), 1.0))
    wanted = plain(query.text)
    for candidate, score in ranked:
        title = candidate.concept.title
        near = abs(len(title) - len(wanted)) < 4
        if near and plain(title) == wanted and candidate.concept not in named:
            front.append((replace(candidate, why=Why.EXACT), max(score, 0.999)))
    taken = {candidate.concept.id for candidate, _ in front}
    rest = [pair for pair in ranked if pair[0].concept.id not in taken]
    longest = _NEAR + max(map(len, query.variants), default=0)
    asked = {plain(variant) for variant in query.variants}
    worded, unspecified, others = [], [], []
    for candidate, score in rest:
        texts = (candidate.form.text, candidate.concept.title)
        wordings = {plain(text) for text in texts if len(text) < longest}
        if asked & wordings:
            worded.append((candidate, max(score, 0.998)))
        elif asked & {_UNSPECIFIED.sub("", wording) for wording in wordings}:
            unspecified.append((candidate, max(score, 0.997)))
        else:
            others.append((candidate, score))
    # A block of the chapter answers less than a code that has the same name.
    worded.sort(key=lambda pair: "-" in pair[0].concept.code)
    return front + worded + unspecified + others


def by_quantity(query: Query, ranked: Ranked) -> Ranked:
    """Return the candidates with those in front of their category whose numbers hold the asked one.

    "BMI 16.2" means the code for 19.9 or less, not the one for 26.0 to 26.9: neither half
    of the search reads numbers. The places of a category's candidates and the scores at
    these places stay; only who stands there changes.
    """
    number = number_of(query.text)
    if number is None:
        return ranked
    groups: dict[str, list[tuple[int, Span]]] = {}
    for place, (candidate, _) in enumerate(ranked):
        span = span_of(candidate.concept.title)
        if span is not None:
            groups.setdefault(candidate.concept.code[:3], []).append((place, span))
    found = list(ranked)
    for group in groups.values():
        fitting = [pair for pair in group if number in pair[1]]
        fitting.sort(key=lambda pair: pair[1].end - pair[1].least)
        rest = [pair for pair in group if number not in pair[1]]
        if fitting:
            for (place, _), (source, _) in zip(group, fitting + rest, strict=True):
                found[place] = (ranked[source][0], ranked[place][1])
    return found


def sided(query: Query, ranked: Ranked, gate: Gate, lexicon: Lexicon) -> Ranked:
    """Return the candidates with those in front that are the query's condition on its side.

    "Broken right hip" is a wording of a header, broken hip, and a side: the code below the
    header with this side comes before codes that have more words in common.
    """
    sides = query.said & SIDES
    key = phrase_key(term for term in query.terms if term not in SIDES)
    if not sides or not key or (ranked and ranked[0][1] >= _CERTAIN):
        return ranked
    places = {candidate.concept.id: place for place, (candidate, _) in enumerate(ranked)}
    worded = dict(lexicon.phrases([key]).get(key, ()))
    concepts = lexicon.concepts(list(worded))
    front: Ranked = []
    for owner in sorted(worded, key=lambda owner: (places.get(owner, len(places)), owner)):
        row = narrowed(concepts[owner], sides, lexicon, seventh=False)
        if row is None or not gate(row) or not sides <= said_in(row.title):
            continue
        if any(row.id == candidate.concept.id for candidate, _ in front):
            continue
        (form,) = lexicon.forms([worded[owner]])
        front.append((Candidate(row, form, Why.LEXICAL), _SIDED))
    taken = {candidate.concept.id for candidate, _ in front}
    return front + [pair for pair in ranked if pair[0].concept.id not in taken]


def with_episode(query: Query, ranked: Ranked, lexicon: Lexicon) -> Ranked:
    """Return the candidates with headers of a 7th character as the code of the episode."""
    if not query.episode:
        return ranked
    found: dict[int, tuple[Candidate, float]] = {}
    for candidate, score in ranked:
        concept = candidate.concept
        below = [] if concept.billable else lexicon.children(concept.id)
        if below and all(extends(row, concept) for row in below):
            concept = seventh_of(concept, below, query.said)
        found.setdefault(concept.id, (replace(candidate, concept=concept), score))
    return list(found.values())


def only_billable(
    query: Query, ranked: Ranked, named: Sequence[ConceptRow], filters: Filters, lexicon: Lexicon
) -> Ranked:
    """Return the candidates after ``billable`` and ``expand``.

    A header stands for the code below it that the words of the query lead to, one that is the
    query itself for all below it; other headers go. With ``expand`` the billable codes below a
    header follow it, those first that were found themselves (below a code: in order).
    """
    if not (filters.billable or filters.expand):
        return ranked
    scores = {candidate.concept.id: score for candidate, score in ranked}
    found: Ranked = []
    taken: set[int] = set()
    for candidate, score in ranked:
        for row in _instead(query, candidate, bool(named), filters, lexicon, scores):
            if row.id in taken:
                continue
            taken.add(row.id)
            itself = row.id == candidate.concept.id
            why = candidate.why if itself or candidate.why is not Why.EXACT else Why.LEXICAL
            found.append((replace(candidate, concept=row, why=why), score))
    return found


def _instead(
    query: Query,
    candidate: Candidate,
    named: bool,
    filters: Filters,
    lexicon: Lexicon,
    scores: Mapping[int, float],
) -> list[ConceptRow]:
    """Return the concepts that stand where a candidate stood."""
    concept = candidate.concept
    if concept.billable:
        return [concept]
    if filters.expand or candidate.why is Why.EXACT:
        below = _below(concept, lexicon)
        if below and all(extends(row, concept) for row in below):
            chosen = seventh_of(concept, below, query.said)
            below.sort(key=lambda row: row is not chosen)
        if not named:
            below.sort(key=lambda row: -scores.get(row.id, 0.0))
        return ([] if filters.billable else [concept]) + below
    more = query.said - said_in(candidate.form.text)
    row = narrowed(concept, more, lexicon, seventh=True)
    return [row] if row is not None else []


def _below(concept: ConceptRow, lexicon: Lexicon) -> list[ConceptRow]:
    """Return the billable descendants of a concept, in order of their codes."""
    found = []
    for child in lexicon.children(concept.id):
        found += [child] if child.billable else _below(child, lexicon)
    return found


def hit(rank: int, candidate: Candidate, score: float, releases: Mapping[str, str]) -> Hit:
    """Return a candidate as the hit of that rank."""
    concept = candidate.concept
    return Hit(
        rank=rank,
        code=Code(concept.code, System(concept.system)),
        title=concept.title,
        score=round(score, 4),
        billable=concept.billable,
        chapter=concept.chapter,
        release=releases[concept.system],
        matched=candidate.form.text,
        template=candidate.form.template,
        why=candidate.why,
    )
