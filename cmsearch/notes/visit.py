"""Codes for the problems of a visit note: each statement searched, weighed and made specific.

A note with diagnosis sections says itself what it is about. Its statements ("Right knee
posterior cruciate ligament strain.") are searched as a whole or in parts; what is uncertain
is not coded (ICD-10-CM Official Guidelines, section IV.H), the symptom beside it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass

from cmsearch.codes import Code, System
from cmsearch.notes.experience import Experience, association
from cmsearch.notes.layout import Segment
from cmsearch.notes.linking import Linker
from cmsearch.notes.mentions import denial
from cmsearch.notes.modifiers import Encounter, modifiers
from cmsearch.notes.problems import Problem
from cmsearch.notes.reading import Reading
from cmsearch.notes.specific import Specific
from cmsearch.rows import ConceptRow
from cmsearch.types import Hit
from cmsearch.wording import STOPWORDS, stem, terms, tokens

_UNCERTAIN = re.compile(
    r"[,;]?\s*\b(?:possibl[ey]|probabl[ey]|suspicious for|suspected|suspect|(?:most )?likely|"
    r"rule[ -]out|r/o|versus|vs\.?|concern(?:ing)? for|questionable|cannot exclude)\b.*",
    re.IGNORECASE | re.DOTALL,
)
_CUT = re.compile(
    r"\s*(?:[,;]\s+(?:and\s+)?|\s+and\s+|\s+with\s+|"
    r"\s+(?:due to|after an?|secondary to|consistent with|in the setting of)\s+|"
    r"(?<!acute)\s+(?:superimposed )?on\s+(?=chronic|ckd|esrd|underlying))",
    re.IGNORECASE,
)
# The same at the beginning of a statement: what follows is what is doubted.
_DOUBT = re.compile(
    r"(?:possible|probable|suspicious for|suspected|(?:most )?likely|rule[ -]out|r/o|"
    r"concern(?:ing)? for|questionable)\s+",
    re.IGNORECASE,
)
# What says how a problem goes, and none itself.
_COURSE = re.compile(
    r"(?:now\s+)?(?:resolv(?:ed|ing)|improv(?:ed|ing)|stable|unchanged|worsening|controlled|"
    r"well[ -]controlled|at baseline)",
    re.IGNORECASE,
)
# From this score on a statement has a code as a whole.
_WHOLE = 0.9
_FEW = 3
# Of these an uncertain diagnosis is coded as if it were certain (section II.H).
_INPATIENT = frozenset(("discharge diagnoses",))
_HITS = 24
_MOST_PROBLEMS = 60
_SURE = 0.97  # a search score beyond says no more
_PRIOR_WEIGHT = 0.6
_PRIOR_NOTES = 500
_OTHER = re.compile(r"other\b|secondary\b", re.IGNORECASE)
_OTHER_COSTS = 1.5
# Of a poisoning the whole note says how it came about.
_ON_PURPOSE = frozenset(("suicid", "intent"))
_SIDES = frozenset(("left", "right", "bilater"))
_SEXES = frozenset((stem("female"), stem("male")))


@dataclass(frozen=True, slots=True)
class Stated:
    """A code for a problem.

    Attributes:
        concept: the code.
        score: a logit; how surely the words mean the code.
        begin, end: where the words stand.
        section: their section.
        matched: the form that was found.
        missing: what the note would have to say to be more specific.
    """

    concept: ConceptRow
    score: float
    begin: int
    end: int
    section: str
    matched: str
    missing: str


_ENCOUNTERS = {Encounter.INITIAL: "A", Encounter.SUBSEQUENT: "D", Encounter.SEQUELA: "S"}
_Ranked = tuple[float, str, Specific]


class ProblemCoder:
    """Codes the problems of notes; remembers what it searched.

    Args:
        search: returns the hits for a phrase.
        linker: gives concepts by code.
        experience: what training notes taught.
    """

    def __init__(
        self,
        search: Callable[[str, int], Sequence[Hit]],
        linker: Linker,
        experience: Experience,
    ) -> None:
        self._search = search
        self._linker = linker
        self._experience = experience
        self._hits: dict[str, Sequence[Hit]] = {}

    def code(
        self,
        reading: Reading,
        found: Sequence[Problem],
        around: Set[str],
        *,
        whole: bool = False,
        among: Callable[[ConceptRow], bool] | None = None,
    ) -> list[Stated]:
        """Return the codes of the problems of a note, in its order.

        Args:
            reading: the note.
            found: its problems.
            around: the stems of all its words, and of the patient's sex.
            whole: code each as a whole, not in parts.
            among: whether a code is of the kind that the problems are known to be.
        """
        coded: dict[int, Stated] = {}
        for problem in found[:_MOST_PROBLEMS]:
            parts = [(problem.begin, problem.end)]
            if not whole:
                parts = self._parts(reading, problem, around)
            for begin, end in parts:
                for stated in self._one(reading, begin, end, problem.segment, around, among):
                    kept = coded.get(stated.concept.id)
                    if kept is None or kept.score < stated.score:
                        coded[stated.concept.id] = stated
        return sorted(coded.values(), key=lambda one: (one.begin, one.concept.code))

    def _parts(self, reading: Reading, problem: Problem, around: Set[str]) -> list[tuple[int, int]]:
        """Return the stretches to code: the statement, or its parts if they say more."""
        text, said = reading.text, reading.spelled_out
        begin, end = problem.begin, problem.end
        doubt = _UNCERTAIN.search(text, begin, end)
        if doubt is not None and doubt.start() - begin > _FEW:
            end = doubt.start()
        elif doubt is not None and problem.segment.section not in _INPATIENT:
            return []
        elif leading := _DOUBT.match(text, begin, end):
            begin = leading.end()
        parts, start = [], begin
        for cut in _CUT.finditer(text, begin, end):
            parts.append((start, cut.start()))
            start = cut.end()
        parts = [
            part
            for part in (*parts, (start, end))
            if (part[1] - part[0] > 2 or text[slice(*part)].isupper())
            and not _COURSE.fullmatch(text, *part)
        ]
        if len(parts) < 2:
            return parts or [(begin, end)]
        whole = self._ranked(said(begin, end), around)
        each = [self._ranked(said(first, last), around) for first, last in parts]
        if whole and min(one[0][0] if one else -9.0 for one in each) < whole[0][0]:
            return [(begin, end)]
        named = {hit.code for part in parts for hit in self._found(said(*part))[:1]}
        for surest in self._found(said(begin, end))[:1]:
            if surest.score >= _WHOLE and surest.code not in named:
                return [(begin, end)]
        return parts

    def _one(
        self,
        reading: Reading,
        begin: int,
        end: int,
        segment: Segment,
        around: Set[str],
        among: Callable[[ConceptRow], bool] | None,
    ) -> list[Stated]:
        said = modifiers(reading.text, segment, begin, end).encounter
        encounter = _ENCOUNTERS[said] if said is not None else "A"
        ranked = [
            one
            for one in self._ranked(reading.spelled_out(begin, end), around, encounter)
            if among is None or all(map(among, one[2].concepts))
        ]
        if not ranked:
            return []
        score, matched, specific = ranked[0]
        return [
            Stated(row, score, begin, end, segment.section, matched, specific.missing)
            for row in specific.concepts
        ]

    def _ranked(self, words: str, around: Set[str], encounter: str = "A") -> list[_Ranked]:
        """Return the codes for some words with their scores, the best first."""
        said_words = tokens(words)
        if STOPWORDS.issuperset(said_words):  # "due to", punctuation: nothing is named
            return []
        hits = self._found(words)
        denied = denial(words)
        if denied and hits and not denial(f"{hits[0].matched} {hits[0].title}"):
            before = words[: denied.start()].rstrip(" ,;(")
            return self._ranked(before, around, encounter) if before else []
        stems = terms(said_words)
        said = frozenset(stems)
        only = _SIDES & around
        if not said & _SIDES and len(only) == 1:
            said |= only
        sexes = _SEXES & around
        if len(sexes) == 1:
            said |= sexes
        codes = [hit.code.value for hit in hits]
        ranked = []
        options = [(hit.code, hit.matched, hit.score) for hit in hits]
        for code, matched, sure in options + self._taught(" ".join(stems)):
            concept = self._linker.by_code(code)
            if _ON_PURPOSE & around:
                concept = self._on_purpose(concept)
            if concept is None or concept.level != "code":
                continue
            specific = self._linker.specifier.specific(
                concept, said, around=around - _SIDES, encounter=encounter, preferred=codes
            )
            score = self._score(sure, specific)
            if _OTHER.match(concept.title) and "other" not in words.casefold():
                score -= _OTHER_COSTS
            ranked.append((score, matched, specific))
        return sorted(ranked, key=lambda one: (-round(one[0], 3), one[2].concepts[0].code))

    def _on_purpose(self, concept: ConceptRow | None) -> ConceptRow | None:
        """Return the code of the same poisoning as self-harm in place of one by accident."""
        if concept is None or "accidental (unintentional)" not in concept.title:
            return concept
        harm = self._linker.by_code(Code(f"{concept.code[:-1]}2", System.ICD10CM))
        return harm if harm is not None and "self-harm" in harm.title else concept

    def _score(self, sure: float, specific: Specific) -> float:
        prior = max(self._experience.prior(row.code) for row in specific.concepts)
        sure = min(_SURE, max(0.003, sure))
        weight = _PRIOR_WEIGHT * math.log1p(_PRIOR_NOTES * prior)
        return math.log(sure / (1.0 - sure)) + weight

    def _taught(self, phrase: str) -> list[tuple[Code, str, float]]:
        """Return the codes that coders gave to notes with just these words."""
        count, pairs = self._experience.phrases.get(phrase, (0, ()))
        return [
            (Code(code, System.ICD10CM), f"coded so in {both} of {count} notes",
             association(count, both, self._experience.prior(code))[0])
            for code, both in pairs
        ]  # fmt: skip

    def _found(self, words: str) -> Sequence[Hit]:
        if len(self._hits) > 20_000:
            self._hits.clear()
        if words not in self._hits:
            self._hits[words] = self._search(words, _HITS)
        return self._hits[words]
