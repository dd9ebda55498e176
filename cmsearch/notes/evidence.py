"""What supports a suggestion: mentions in the note, and one line for the reader."""

from __future__ import annotations

from collections.abc import Iterable

from cmsearch.notes.assertion import contexts
from cmsearch.notes.experience import Experience
from cmsearch.notes.linking import Match, strength
from cmsearch.notes.problems import DIAGNOSES
from cmsearch.notes.proposals import Proposal
from cmsearch.notes.reading import Reading
from cmsearch.types import Mention

_MOST = 8
_MOST_LEARNED = 3
_KINDS = {
    "title": "its title",
    "inclusion": "an inclusion term",
    "includes": "an includes note",
    "index": "an index entry",
    "vocabulary": "a known wording of it",
}


def evidence(reading: Reading, item: Proposal) -> tuple[Mention, ...]:
    """Return the mentions that support a proposal, in the order of the note."""
    places = {(one.begin, one.end) for one in item.stated}
    places |= {
        place
        for place in _outermost(item.matches, room=_MOST - len(places))
        if not any(one.begin < place[1] and place[0] < one.end for one in item.stated)
    }
    if not places:
        best = sorted(item.learned, key=lambda one: (-one.surprise, one.begin))
        places = {(one.begin, one.end) for one in best[:_MOST_LEARNED]}
    if not places:
        places = _outermost(item.related, room=_MOST_LEARNED)
    ordered = sorted(places)
    said = contexts(reading.text, reading.segments, ordered)
    return tuple(
        Mention(
            text=reading.text[begin:end],
            begin=begin,
            end=end,
            section=reading.section_at(begin),
            assertion=context.assertion,
        )
        for (begin, end), context in zip(ordered, said, strict=True)
    )


def _outermost(matches: Iterable[Match], *, room: int) -> set[tuple[int, int]]:
    """Return the places of the best matches, without those inside others."""
    places: list[tuple[int, int]] = []
    for match in sorted(matches, key=strength, reverse=True):
        if len(places) >= room:
            break
        span = match.found.span
        if not any(begin <= span.begin and span.end <= end for begin, end in places):
            places.append((span.begin, span.end))
    return set(places)


def why(reading: Reading, item: Proposal, experience: Experience) -> str:
    """Return one line on what brought a code."""
    if item.because:
        return item.because
    if item.stated:
        stated = item.stated[0]
        says = (
            "a problem that the note lists" if stated.section in DIAGNOSES else "the note says so"
        )
        return f"{says}; nearest form: {stated.matched}"
    if item.matches:
        best = max(item.matches, key=strength)
        kind = _KINDS.get(best.template, "a form of it")
        span = best.found.span
        line = f"the note has the words of {kind}"
        spelled = reading.spelled_out(span.begin, span.end)
        if spelled != reading.text[span.begin : span.end]:
            line = f"read as “{spelled}”, the words of {kind}"
        if best.narrowed:
            line = "the note names its header, and words beside it lead on to it"
        count, given = experience.mentioned.get(item.concept.code, (0, 0))
        return f"{line}; coders gave it in {given} of {count} such notes" if count else line
    if not item.learned:
        count, given = experience.given_beside(item.concept.code)
        return f"coders gave it in {given} of {count} notes that mention its category"
    best_learned = max(item.learned, key=lambda one: (one.surprise, one.phrase))
    count, _ = experience.phrases[best_learned.phrase]
    return f"coders gave it in {best_learned.notes} of {count} notes with these words"
