"""What a note says of a condition: negated, possible, hypothetical, historical, family.

The method is that of NegEx (Chapman 2001) and ConText (Harkema 2009): a cue ("denies",
"was ruled out") has a direction and a scope, which ends at a stop ("but", "presents with"),
at its reach or at the end of the segment. Words that only look like a cue ("gram negative")
are phrases of their own that say nothing. Cues and stops are data: data/cues.tsv, stops.tsv.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from cmsearch.notes.layout import Kind, Segment
from cmsearch.notes.rules import classes, rows, section_effects, spelled_out
from cmsearch.notes.words import Phrases, Words
from cmsearch.types import Assertion

EFFECTS = ("negated", "possible", "hypothetical", "historical", "family")
_FAR = 1_000_000
_ANSWERS = frozenset("no none negative neg denies denied absent n nil -".split())  # noqa: SIM905


@dataclass(frozen=True, slots=True)
class Context:
    """What a note says of one stretch of its words; more than one may hold.

    Attributes:
        negated: it is said not to be there.
        possible: it is not certain (suspected, to be ruled out).
        hypothetical: it may come (return if, risk of, to prevent).
        historical: it was before. A chronic condition in a history is still there: what
            that means for a code is for coding rules to say.
        family: it is somebody else's, mostly a relative's.
    """

    negated: bool = False
    possible: bool = False
    hypothetical: bool = False
    historical: bool = False
    family: bool = False

    @property
    def assertion(self) -> Assertion:
        """The one that counts most: whose it is, whether it is, whether it may be, when."""
        for effect in ("family", "negated", "hypothetical", "possible", "historical"):
            if getattr(self, effect):
                return Assertion(effect)
        return Assertion.PRESENT


@dataclass(frozen=True, slots=True)
class _Cue:
    """What one phrase does, forward and backward: (effect, reach in words)."""

    forward: tuple[tuple[str, int], ...] = ()
    backward: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class _Scopes:
    """The effects on each word of a segment.

    ``ahead`` has what cues before a word say of it, ``behind`` what cues after it say.
    ``opens`` are effects whose scope reaches the end.
    """

    words: Words
    ahead: dict[str, list[int]]
    behind: dict[str, list[int]]
    opens: frozenset[str]


def contexts(
    text: str, segments: Sequence[Segment], spans: Sequence[tuple[int, int]]
) -> list[Context]:
    """Return what the note says of each span (begin, end in code points of the text).

    A span is read in the segment in which it begins; one that begins in none, in the
    segment before it.
    """
    begins = [segment.begin for segment in segments]
    leads = _leads(segments)
    cache: dict[int, _Scopes] = {}

    def scopes(number: int) -> _Scopes:
        if number not in cache:
            segment = segments[number]
            cache[number] = _scopes(Words.of(text, segment.begin, segment.end))
        return cache[number]

    found = []
    for begin, end in spans:
        number = bisect_right(begins, begin) - 1
        if number < 0:
            found.append(Context())
            continue
        effects = _effects(scopes(number), begin, end)
        lead = leads[number]
        if lead is not None and text[segments[lead].end - 1] == ":":
            effects |= scopes(lead).opens
        if _answered_no(text, segments, number):
            effects.add("negated")
        default = section_effects().get(segments[number].section)
        if default is not None:
            effects.add(default)
        found.append(Context(**dict.fromkeys(effects, True)))
    return found


def _leads(segments: Sequence[Segment]) -> list[int | None]:
    """Return for each item the sentence before its list, which may end in a colon."""
    leads: list[int | None] = []
    last: int | None = None
    for number, segment in enumerate(segments):
        leads.append(last if segment.kind is Kind.ITEM else None)
        if segment.kind is not Kind.ITEM:
            last = number if segment.kind is Kind.SENTENCE else None
    return leads


def _answered_no(text: str, segments: Sequence[Segment], number: int) -> bool:
    """Return whether the next cell of the row, or what follows a heading, is a plain no."""
    here, after = segments[number], segments[min(number + 1, len(segments) - 1)]
    if here.kind not in (Kind.CELL, Kind.HEADING) or after.end - after.begin > 10:
        return False
    if here is after or (here.kind is Kind.CELL) is not (after.kind is Kind.CELL):
        return False
    between = text[here.end : after.begin]
    answer = text[after.begin : after.end].lower().strip(" .")
    return answer in _ANSWERS and "\n" not in between and "\r" not in between


def _effects(scopes: _Scopes, begin: int, end: int) -> set[str]:
    """Return the effects on a span: on its first word from before, on its last from after."""
    words = scopes.words
    first = bisect_right(words.ends, begin)
    last = bisect_left(words.begins, end) - 1
    if first >= len(words.forms) or last < 0:
        return set()
    found = {effect for effect, marks in scopes.ahead.items() if marks[first]}
    return found | {effect for effect, marks in scopes.behind.items() if marks[last]}


def _scopes(words: Words) -> _Scopes:
    """Return what the cues among some words say of each of them."""
    count = len(words.forms)
    ahead: dict[str, list[int]] = {}
    behind: dict[str, list[int]] = {}
    opens: set[str] = set()
    cues = list(_cues().find(words.forms))
    if not cues:
        return _Scopes(words, ahead, behind, frozenset())
    stops = _stop_places(words.forms)
    for begin, end, cue in cues:
        for effect, reach in cue.forward:
            places = stops[effect, "forward"]
            at = bisect_left(places, end)
            limit = places[at] if at < len(places) else count
            if limit >= count - (words.forms[-1] == ":") and reach == _FAR:
                opens.add(effect)
            _mark(ahead, effect, begin + 1, min(limit, end + reach), count)
        for effect, reach in cue.backward:
            places = stops[effect, "backward"]
            at = bisect_right(places, begin) - 1
            limit = places[at] if at >= 0 else 0
            _mark(behind, effect, max(limit, begin - reach), end - 1, count)
    return _Scopes(
        words,
        {effect: list(accumulate(marks)) for effect, marks in ahead.items()},
        {effect: list(accumulate(marks)) for effect, marks in behind.items()},
        frozenset(opens),
    )


def _mark(marks: dict[str, list[int]], effect: str, begin: int, end: int, count: int) -> None:
    """Open a scope at a word and close it at another; sums make marks of it."""
    if begin >= end:
        return
    if effect not in marks:
        marks[effect] = [0] * (count + 1)
    marks[effect][begin] += 1
    marks[effect][end] -= 1


def _stop_places(forms: list[str]) -> dict[tuple[str, str], list[int]]:
    """Return for each effect and direction where a scope ends: forward the first word of a
    stop, backward the word after it."""
    places: dict[tuple[str, str], list[int]] = {
        (effect, direction): [] for effect in EFFECTS for direction in ("forward", "backward")
    }
    for begin, end, ends in _stops().every(forms):
        for effect, direction in ends:
            places[effect, direction].append(begin if direction == "forward" else end)
    return places


@lru_cache(maxsize=1)
def _cues() -> Phrases[_Cue]:
    cues: dict[str, _Cue] = {}
    for phrase, effect, direction, reach, _ in rows("cues"):
        rule = (effect, int(reach) if reach else _FAR)
        for cue in spelled_out(phrase):
            old = cues.get(cue, _Cue())
            if direction == "forward":
                old = _Cue((*old.forward, rule), old.backward)
            elif direction == "backward":
                old = _Cue(old.forward, (*old.backward, rule))
            cues[cue] = old
    return Phrases(cues.items(), classes())


@lru_cache(maxsize=1)
def _stops() -> Phrases[tuple[tuple[str, str], ...]]:
    stops: dict[str, tuple[tuple[str, str], ...]] = {}
    for phrase, ends, direction, _ in rows("stops"):
        effects = EFFECTS if ends == "all" else tuple(ends.split(","))
        directions = ("forward", "backward") if direction == "both" else (direction,)
        rule = tuple((effect, way) for effect in effects for way in directions)
        for words in spelled_out(phrase):
            stops[words] = (*stops.get(words, ()), *rule)
    return Phrases(stops.items(), classes())
