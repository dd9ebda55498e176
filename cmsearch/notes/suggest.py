"""A note in, suggested codes out: each with its probability and the words that support it.

There are two ways to code a note. A note with diagnosis sections is about the problems that
it lists there: those are coded, other findings hardly ever. Any other note (a case report,
a letter) is coded from whatever it mentions, as a learned model of coders chooses; injuries
that it tells of, and all that a brief note states, are coded as if they were listed. With
``code_negated`` every note is coded as the model chooses, findings that are absent included.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from cmsearch.codes import Code, System
from cmsearch.errors import CodeError
from cmsearch.filters import Filters
from cmsearch.notes.assertion import contexts
from cmsearch.notes.brief import apart, is_brief, statements
from cmsearch.notes.choice import Choice
from cmsearch.notes.codebook import Codebook
from cmsearch.notes.coderules import CHOOSING, apply_rules
from cmsearch.notes.evidence import evidence, why
from cmsearch.notes.injuries import injuries, is_injury
from cmsearch.notes.linking import Candidate, beside, strength
from cmsearch.notes.listed import beside_findings, beside_problems
from cmsearch.notes.patient import patient
from cmsearch.notes.pregnancy import with_pregnancy
from cmsearch.notes.problems import Problem, itself, problems
from cmsearch.notes.proposals import (
    Proposal,
    combined,
    in_full,
    merged,
    ordered,
    outermost,
    settled,
    translated,
)
from cmsearch.notes.reading import Reader, Reading
from cmsearch.notes.visit import ProblemCoder
from cmsearch.paths import index_command
from cmsearch.search import Index
from cmsearch.types import Assertion, Hit, Suggestion
from cmsearch.wording import stem

LONGEST_NOTE = 4_000_000
SYSTEMS = (System.ICD10CM, System.ICD9CM)
HELD_BACK = {
    Assertion.NEGATED: "said not to be there; a negated finding is not coded",
    Assertion.FAMILY: "said of a relative; coded as family history (Z80-Z84) alone",
    Assertion.HYPOTHETICAL: "said of what may come; not coded",
}
_LEAST = 0.01
_FEWEST = 8


def suggest(
    index: Index,
    texts: Sequence[str],
    *,
    top: int | None = None,
    min_confidence: float | None = None,
    systems: Sequence[System] = (),
    code_negated: bool = False,
    everything: bool = False,
) -> list[list[Suggestion]]:
    """Return the suggested codes of each note, the likeliest first.

    The same note gives the same suggestions on every run. A blank note has none.

    Args:
        index: an open index.
        texts: notes of any length; beyond four million characters they are not read.
        top: how many codes at most for a note; all if left out.
        min_confidence: the least probability; that of the best balance of wrong and
            missed codes on training notes if left out.
        systems: ICD-10-CM if left out; codes of ICD-9-CM are the equivalents of those.
        code_negated: code as the coders of CodiEsp did: whatever is mentioned, also what
            the note says is absent, with the codes of 2018.
        everything: also what is unlikely or held back, with the rule that holds it back.

    Raises:
        TypeError: one text was given instead of a list.
        CodeError: notes are not coded in a system, or the index does not hold it.
    """
    if isinstance(texts, str):
        raise TypeError("texts is one note; suggest takes a list of them: [text]")
    coder = coder_of(index)
    return [
        coder.suggest(
            text,
            top=top,
            min_confidence=min_confidence,
            systems=systems or (System.ICD10CM,),
            code_negated=code_negated,
            everything=everything,
        )
        for text in texts
    ]


_CODERS: WeakKeyDictionary[Index, Coder] = WeakKeyDictionary()


def coder_of(index: Index) -> Coder:
    """Return the coder of an open index; it remembers what it looked up."""
    if index not in _CODERS:
        own = Index(index.files, index.encoder, index.fusion)  # the key must stay collectable
        _CODERS[index] = Coder(own, Choice.load())
    return _CODERS[index]


class Coder:
    """Suggests codes for notes.

    Args:
        index: an open index.
        choice: the model that chooses among the candidates.
    """

    def __init__(self, index: Index, choice: Choice) -> None:
        self.index = index
        self.choice = choice
        self.reader = Reader(index.files.lexicon)
        self._codebook = Codebook(index.files.lexicon)
        self._problems = ProblemCoder(self._search, self.reader.linker, choice.experience)

    def suggest(
        self,
        text: str,
        *,
        top: int | None = None,
        min_confidence: float | None = None,
        systems: Collection[System],
        code_negated: bool,
        everything: bool,
    ) -> list[Suggestion]:
        """Return the suggestions of one note, as ``suggest`` does."""
        least = self.choice.threshold if min_confidence is None else min_confidence
        reading = self.reader.read(text[:LONGEST_NOTE])
        found = self.propose(reading, systems=systems, code_negated=code_negated)
        likely = [item for item in found if item.chance >= least]
        ruled = apply_rules(
            [self._suggestion(reading, item, code_negated=code_negated) for item in likely],
            codebook=self._codebook,
            patient=patient(reading.text, reading.segments),
            without=CHOOSING if code_negated else (),
        )
        suggestions = [item for item in ruled if not item.suppressed]
        if everything:
            rest = [
                self._suggestion(reading, item, code_negated=code_negated)
                for number, item in enumerate(found)
                if item.chance < least and (item.chance >= _LEAST or number < _FEWEST)
            ]
            rest += [item for item in ruled if item.suppressed]
            suggestions += sorted(rest, key=lambda item: (-item.probability, item.code))
        return [replace(item, rank=rank) for rank, item in enumerate(suggestions[:top], start=1)]

    def propose(
        self, reading: Reading, *, systems: Collection[System], code_negated: bool
    ) -> list[Proposal]:
        """Return every candidate of a note as a proposal, the likeliest first.

        Raises:
            CodeError: notes are not coded in a system, or the index does not hold it.
        """
        self._check(systems)
        found = self._proposed(reading, code_negated=code_negated)
        if System.ICD9CM in systems:
            old = translated(found, self.index.files.lexicon, System.ICD9CM)
            found = ordered(found + old) if System.ICD10CM in systems else ordered(old)
        return found

    def _check(self, systems: Collection[System]) -> None:
        for system in systems:
            if system not in SYSTEMS:
                names = " and ".join(known.value for known in SYSTEMS)
                raise CodeError(f"notes are coded in {names}, not in {system.value}")
            if system.value not in self.index.manifest.releases:
                raise CodeError(
                    f"this index does not hold {system.value}; add it with: "
                    f"{index_command(self.index.files.folder, '--add', system.value)}"
                )

    def _proposed(self, reading: Reading, *, code_negated: bool) -> list[Proposal]:
        """Return the candidates of ICD-10-CM."""
        pool = self.reader.candidates(reading, self.choice.experience, (System.ICD10CM,))
        held_back: dict[int, str] = {}
        if not code_negated:
            pool = [_asserted(item, held_back) for item in pool]
        features = self.reader.features(reading, pool, self.choice.experience)
        chances = self.choice.probabilities(features)
        found = [
            Proposal(
                item.concept,
                float(chance),
                tuple(item.matches),
                tuple(item.learned),
                related=tuple(item.related),
                held_back=held_back.get(item.concept.id, ""),
            )
            for item, chance in zip(pool, chances, strict=True)
        ]
        if code_negated:
            return ordered(found)
        found = self._of_problems(reading, in_full(found))
        likely = [item for item in found if item.chance >= _LEAST]
        rest = [item for item in found if item.chance < _LEAST]
        said = {
            item.concept.id: beside((*item.matches, *item.related), reading.words)
            for item in likely
        }
        likely = settled(likely, self.reader.linker, said)
        likely = combined(likely, self.reader.linker, self.choice.threshold)
        likely = with_pregnancy(likely, reading, self.reader.linker, self.choice.threshold)
        return ordered(merged(likely + rest))

    def _of_problems(self, reading: Reading, found: Sequence[Proposal]) -> list[Proposal]:
        """Return the proposals with the problems that a note lists, or else with what it states."""
        text, longest = reading.text, outermost(found, reading.text)
        listed = problems(text, reading.segments)
        if listed:
            there = _there(reading, listed, without=HELD_BACK)
            return beside_problems(longest, self._problems.code(reading, there, _around(reading)))
        not_now = {*HELD_BACK, Assertion.HISTORICAL}
        injured = _there(reading, injuries(text, reading.segments), without=not_now)
        named = statements(reading, found) if is_brief(reading) else []
        named = [one for one in named if not any(one.overlaps(other) for other in injured)]
        if not injured and not named:
            return longest
        around = _around(reading)
        stated = self._problems.code(reading, injured, around, whole=True, among=is_injury)
        stated += self._problems.code(reading, named, around, whole=True)
        return beside_findings(longest, apart(stated))

    def _search(self, words: str, count: int) -> Sequence[Hit]:
        return self.index.search([words], k=count, filters=Filters(systems=(System.ICD10CM,)))[0]

    def _suggestion(self, reading: Reading, item: Proposal, *, code_negated: bool) -> Suggestion:
        mentions = evidence(reading, item)
        held_back = item.held_back
        if not held_back and not code_negated and not item.matches and not item.stated:
            said = {mention.assertion for mention in mentions}
            if said and said <= HELD_BACK.keys():
                held_back = HELD_BACK[mentions[0].assertion]
        return Suggestion(
            rank=0,
            code=Code(item.concept.code, System(item.concept.system)),
            title=item.concept.title,
            release=self.index.manifest.releases.get(item.concept.system, ""),
            probability=round(item.chance, 4),
            evidence=mentions,
            why=why(reading, item, self.choice.experience),
            warnings=(item.missing,) if item.missing else (),
            suppressed=held_back,
        )


def _there(
    reading: Reading, named: Sequence[Problem], *, without: Collection[Assertion]
) -> list[Problem]:
    """Return the problems of which the note says nothing of what is left out."""
    places = [itself(reading.text, problem) for problem in named]
    said = contexts(reading.text, reading.segments, places)
    return [
        problem
        for problem, context in zip(named, said, strict=True)
        if context.assertion not in without
    ]


def _around(reading: Reading) -> frozenset[str]:
    """Return the stems of all words of a note, and of the patient's sex."""
    sex = patient(reading.text).sex
    stated = frozenset() if sex is None else frozenset((stem(sex.value),))
    return stated | {word.stem for word in reading.words}


def _asserted(item: Candidate, held_back: dict[int, str]) -> Candidate:
    """Return a candidate with the mentions that count alone; note it down if none does."""
    if not item.matches:
        kept = [match for match in item.related if match.found.assertion not in HELD_BACK]
        if item.related and not kept and not item.learned:
            held_back[item.concept.id] = HELD_BACK[item.related[0].found.assertion]
        return Candidate(item.concept, [], item.learned, kept or item.related)
    kept = [match for match in item.matches if match.found.assertion not in HELD_BACK]
    if kept:
        return Candidate(item.concept, kept, item.learned)
    said = max(item.matches, key=strength).found.assertion
    held_back[item.concept.id] = HELD_BACK[said]
    return item
