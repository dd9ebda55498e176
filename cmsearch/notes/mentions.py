"""The codable mentions of a note: its words, and the stretches that are forms of codes.

A stretch is found when its telling words, in whatever order, are exactly those of a form of
the index (title, inclusion term, vocabulary). Windows of up to eight words are looked up,
and across ``and``, ``or``, a comma or a slash also with one side left out, so that "type 1
and 2 diabetes" names both types and "fractures of the left radius and ulna" both bones.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType

from cmsearch.lexicon import Lexicon
from cmsearch.wording import LONGEST_PHRASE, STOPWORDS, phrase_key, stem, tokens

_TOKEN = re.compile(r"2/2\b|[A-Za-z]/[A-Za-z](?![^\W_])|[wW]/|[^\W_]+(?:['\u2019][A-Za-z]+)?")
_BREAK = re.compile(r"[;:!?\n]|\.\s|\s-\s")
_DENIAL = re.compile(r"\b(?:not|without|w/o|no)\b", re.IGNORECASE)
_JOINT = re.compile(r"[\s,/&]*(?:\b(?:and|or|as well as|and/or)\b|[,/&])[\s,/&]*", re.IGNORECASE)
_LONGEST_TOKEN = 60
# Words on each side of a joint that a coordinated mention may take.
_REACH = 4
_REMEMBERED = 200_000


@dataclass(frozen=True, slots=True)
class Word:
    """A telling word of a note: its stem, where it stands, and how it was written.

    Attributes:
        stem: its stem, shorthand spelled out (``htn`` is two words of one place).
        begin, end: where it stands, in Unicode code points of the text.
        run: number of the stretch without a break in which it stands.
        joined: whether ``and``, ``or``, a comma or a slash stands right before it.
        denied: whether ``not`` or ``without`` stands between it and the word before.
        capital: whether it is written in capitals alone.
    """

    stem: str
    begin: int
    end: int
    run: int
    joined: bool
    capital: bool
    denied: bool = False


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of a note whose words are those of forms.

    Attributes:
        begin, end: where it stands, in Unicode code points of the text.
        key: the phrase (``wording.phrase_key``).
        words: how many telling words it has.
        first, last: numbers of its first word and of the word after its last.
        whole: whether no word inside was left out.
        denying: whether ``not`` or ``without`` stands inside.
        short: one short word that is not in capitals, often no abbreviation at all.
        forms: concept and form of each code it may be.
    """

    begin: int
    end: int
    key: str
    words: int
    first: int
    last: int
    whole: bool
    short: bool
    denying: bool
    forms: tuple[tuple[int, int], ...]


class Finder:
    """Finds the stretches of notes that are forms of an index; remembers what it looked up.

    Args:
        lexicon: the lexical half of an index.
    """

    def __init__(self, lexicon: Lexicon) -> None:
        self._lexicon = lexicon
        self._known: dict[str, tuple[tuple[int, int], ...]] = {}

    def spans(self, found: Sequence[Word]) -> list[Span]:
        """Return the stretches among the words of a note, in their order, longest first."""
        windows = list(_windows(found))
        self._look_up({window.key for window in windows})
        spans: dict[tuple[int, int, str], Span] = {}
        for window in windows:
            forms = self._known[window.key]
            place = (window.first, window.last, window.key)
            if forms and place not in spans:
                spans[place] = _span(window, found, forms)
        return sorted(spans.values(), key=lambda span: (span.begin, -span.end, span.key))

    def _look_up(self, keys: set[str]) -> None:
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        fresh = sorted(keys - self._known.keys())
        known = self._lexicon.phrases(fresh)
        for key in fresh:
            self._known[key] = tuple(known.get(key, ()))


@dataclass(frozen=True, slots=True)
class _Window:
    first: int
    last: int
    key: str
    words: int
    whole: bool


def words(
    text: str,
    stretches: Iterable[tuple[int, int]],
    instead: Mapping[int, tuple[str, ...]] = MappingProxyType({}),
) -> list[Word]:
    """Return the telling words of a text, in order.

    Args:
        text: the text.
        stretches: what to read of it, as (begin, end).
        instead: by beginning of a written word, the stems that it stands for there.
    """
    found: list[Word] = []
    run = 0
    for begin, end in stretches:
        run += 1
        last = begin
        denied = False
        for match in _TOKEN.finditer(text, begin, end):
            between = text[last : match.start()]
            if last > begin and _BREAK.search(between):
                run += 1
            token = match[0]
            stems = instead.get(match.start(), ())
            if not stems and len(token) <= _LONGEST_TOKEN:
                stems = telling(token)
            denied = denied or denial(token) is not None
            if not stems:
                if token.casefold() not in ("and", "or"):
                    last = match.end()
                continue
            joined = _JOINT.fullmatch(between) is not None
            for number, word in enumerate(stems):
                found.append(
                    Word(word, match.start(), match.end(), run, joined and not number,
                         token.isupper(), denied and not number)
                )  # fmt: skip
            last = match.end()
            denied = False
    return found


@lru_cache(maxsize=100_000)
def telling(written: str) -> tuple[str, ...]:
    """Return the stems of the telling words of what is written, shorthand spelled out."""
    return tuple(stem(word) for word in tokens(written) if word not in STOPWORDS)


def denial(text: str) -> re.Match[str] | None:
    """Return the first word of a text that denies what follows it."""
    return _DENIAL.search(text)


def _windows(found: Sequence[Word]) -> Iterator[_Window]:
    """Yield the windows over the words, whole ones and ones with a gap at a joint.

    What a written word stands for is not cut: TTP is no purpura of another kind.
    """
    for first, word in enumerate(found):
        if first and found[first - 1].begin == word.begin:
            continue
        stems: list[str] = []
        for last in range(first, min(first + LONGEST_PHRASE, len(found))):
            if found[last].run != word.run:
                break
            stems.append(found[last].stem)
            if last + 1 < len(found) and found[last + 1].begin == found[last].begin:
                continue
            yield _Window(first, last + 1, phrase_key(stems), len(stems), True)
        if word.joined:
            yield from _across(found, first)


def _across(found: Sequence[Word], joint: int) -> Iterator[_Window]:
    """Yield the windows across the joint before a word, without one or two words at it."""
    run = found[joint].run
    for begin, end in ((joint - 1, joint), (joint, joint + 1), (joint - 2, joint)):
        for first in range(max(0, begin - _REACH), begin):
            if found[first].run != run:
                continue
            before = [word.stem for word in found[first:begin]]
            for last in range(end + 1, min(end + _REACH, len(found)) + 1):
                if found[last - 1].run != run:
                    break
                stems = before + [word.stem for word in found[end:last]]
                yield _Window(first, last, phrase_key(stems), len(stems), False)


def _span(window: _Window, found: Sequence[Word], forms: tuple[tuple[int, int], ...]) -> Span:
    first, last = found[window.first], found[window.last - 1]
    alone = first.begin == last.begin
    return Span(
        begin=first.begin,
        end=last.end,
        key=window.key,
        words=window.words,
        first=window.first,
        last=window.last,
        whole=window.whole,
        denying=any(word.denied for word in found[window.first + 1 : window.last]),
        short=alone and last.end - first.begin <= 4 and not first.capital,
        forms=forms,
    )
