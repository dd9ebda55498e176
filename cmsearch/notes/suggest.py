"""A note in, suggested codes out: each with its probability and the words that support it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from weakref import WeakKeyDictionary

from cmsearch.codes import System
from cmsearch.notes.assertion import contexts
from cmsearch.notes.choice import Choice
from cmsearch.notes.experience import Experience
from cmsearch.notes.linking import Candidate, Found, Match, strength
from cmsearch.notes.reading import Reader, Reading
from cmsearch.search import Index
from cmsearch.types import Assertion, Mention, Suggestion

LONGEST_NOTE = 4_000_000
NEGATED = "said not to be there; a negated finding is not coded"
FAMILY = "said of a relative; coded as family history (Z80-Z84) alone"
HYPOTHETICAL = "said of what may come; not coded"
_HELD_BACK = {
    Assertion.NEGATED: NEGATED,
    Assertion.FAMILY: FAMILY,
    Assertion.HYPOTHETICAL: HYPOTHETICAL,
}
_MOST_EVIDENCE = 8
_LEAST = 0.01


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
        texts: notes of any length.
        top: how many codes at most for a note; all if left out.
        min_confidence: the least probability; that of the best balance of wrong and
            missed codes on training notes if left out.
        systems: code systems to suggest from; ICD-10-CM if left out.
        code_negated: suggest what the note says is absent, as the coders of CodiEsp did.
        everything: also what is unlikely or held back, with the rule that holds it back.
    """
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
        _CODERS[index] = Coder(Reader(index.files.lexicon), Choice.load(), index.manifest.releases)
    return _CODERS[index]


class Coder:
    """Suggests codes for notes.

    Args:
        reader: reads notes with an index.
        choice: the model that chooses among the candidates.
        releases: release of each code system of the index.
    """

    def __init__(self, reader: Reader, choice: Choice, releases: Mapping[str, str]) -> None:
        self.reader = reader
        self.choice = choice
        self.releases = releases

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
        found = self.propose(text, systems=systems, code_negated=code_negated)
        if not everything:
            found = [item for item in found if item.probability >= least and not item.suppressed]
        return [replace(item, rank=rank) for rank, item in enumerate(found[:top], start=1)]

    def propose(
        self, text: str, *, systems: Collection[System], code_negated: bool
    ) -> list[Suggestion]:
        """Return every candidate of a note as a suggestion, the likeliest first."""
        reading = self.reader.read(text[:LONGEST_NOTE])
        experience = self.choice.experience
        pool = self.reader.candidates(reading, experience, systems)
        held_back: dict[int, str] = {}
        if not code_negated:
            pool = [_asserted(item, held_back) for item in pool]
        features = self.reader.features(reading, pool, experience)
        chances = self.choice.probabilities(features)
        order = sorted(
            range(len(pool)),
            key=lambda row: (-round(float(chances[row]), 4), pool[row].concept.code),
        )
        return [
            self._suggestion(reading, pool[row], float(chances[row]), rank, held_back)
            for rank, row in enumerate(order, start=1)
            if chances[row] >= _LEAST or rank <= _MOST_EVIDENCE
        ]

    def _suggestion(
        self,
        reading: Reading,
        item: Candidate,
        chance: float,
        rank: int,
        held_back: Mapping[int, str],
    ) -> Suggestion:
        return Suggestion(
            rank=rank,
            code=item.code,
            title=item.concept.title,
            release=self.releases.get(item.concept.system, ""),
            probability=round(chance, 4),
            evidence=_evidence(reading, item),
            why=_why(item, self.choice.experience),
            suppressed=held_back.get(item.concept.id, ""),
        )


def _asserted(item: Candidate, held_back: dict[int, str]) -> Candidate:
    """Return a candidate with the mentions that count alone; note it down if none does."""
    if not item.matches:
        return item
    kept = [match for match in item.matches if match.found.assertion not in _HELD_BACK]
    if kept:
        return Candidate(item.concept, kept, item.learned)
    said = max(item.matches, key=strength).found.assertion
    held_back[item.concept.id] = _HELD_BACK[said]
    return item


def _evidence(reading: Reading, item: Candidate) -> tuple[Mention, ...]:
    """Return the mentions that support a candidate, in the order of the note."""
    if item.matches:
        kept: list[Match] = []
        for match in sorted(item.matches, key=strength, reverse=True):
            span = match.found.span
            inside = any(
                other.found.span.begin <= span.begin and span.end <= other.found.span.end
                for other in kept
            )
            if not inside:
                kept.append(match)
        best = sorted(kept[:_MOST_EVIDENCE], key=lambda match: match.found.span.begin)
        return tuple(_mention(reading.text, match.found) for match in best)
    best_learned = sorted(item.learned, key=lambda one: (-one.surprise, one.begin))[:3]
    places = sorted({(one.begin, one.end) for one in best_learned})
    said = contexts(reading.text, reading.segments, places)
    return tuple(
        Mention(
            text=reading.text[begin:end],
            begin=begin,
            end=end,
            section=reading.section_at(begin),
            assertion=context.assertion,
        )
        for (begin, end), context in zip(places, said, strict=True)
    )


def _mention(text: str, found: Found) -> Mention:
    span = found.span
    return Mention(text[span.begin : span.end], span.begin, span.end, found.section,
                   found.assertion)  # fmt: skip


def _why(item: Candidate, experience: Experience) -> str:
    """Return one line on what brought a code."""
    code = item.concept.code
    parts = []
    if item.matches:
        best = max(item.matches, key=strength)
        parts.append(f"the note has the words of its {best.template}")
        count, given = experience.mentioned.get(code, (0, 0))
        if count:
            parts.append(f"coders gave it in {given} of {count} such notes")
    elif item.learned:
        best_learned = max(item.learned, key=lambda one: (one.surprise, one.phrase))
        count, _ = experience.phrases[best_learned.phrase]
        parts.append(f"coders gave it in {best_learned.notes} of {count} notes with these words")
    return "; ".join(parts)
