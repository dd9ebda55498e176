"""What ambiguous short forms stand for in a note: "MS" beside a rumble, beside optic neuritis.

Each sense has cues, words that stand near it or anywhere in a text that has it, with weights
learned from texts that spell it out (``cmsearch train senses``). Where they speak clearly
for one sense, the note is read as if it stood there; that of a short form that is no
condition ("98 % on RA" is room air) keeps it from being coded.
"""

from __future__ import annotations

import json
import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

from cmsearch.notes.layout import Segment
from cmsearch.notes.mentions import Word, telling
from cmsearch.notes.rules import rows

SENSES_FILE = "senses.json"
_NEAR, _REACH = 8, 160
# A sense whose score is so far ahead was right in 95 % of held-out texts (docs/results.md).
CLEAR = 1.0
# In a line of capitals these are words.
_WORDS = frozenset(("AS", "HIT", "PAD", "SAD"))


@dataclass(frozen=True, slots=True)
class Cues:
    """The words that speak for a sense, as stems, with weights.

    Attributes:
        near: up to eight telling words before and after.
        far: anywhere in the text.
        usual: what speaks for it before any word does: how many notes have it.
    """

    near: Mapping[str, float]
    far: Mapping[str, float]
    usual: float = 0.0

    def score(self, near: Set[str], far: Set[str]) -> float:
        """Return how well a context fits; in long texts each far word counts less."""
        beside = math.fsum(weight for word, weight in self.near.items() if word in near)
        around = math.fsum(weight for word, weight in self.far.items() if word in far)
        return self.usual + beside + around / math.sqrt(max(1, len(far)))


@dataclass(frozen=True, slots=True)
class Sense:
    """A short form of a note and what it stands for there.

    Attributes:
        begin, end: where it stands, in Unicode code points of the text.
        words: what it stands for; empty where that is not clear.
        stems: the telling stems of these words.
    """

    begin: int
    end: int
    words: str
    stems: tuple[str, ...]


class Senses:
    """The senses of ambiguous short forms.

    Args:
        cues: by short form and sense.
    """

    def __init__(self, cues: Mapping[str, Mapping[str, Cues]]) -> None:
        self._cues = cues
        shorts = "|".join(sorted(cues.keys() | _idioms().keys(), key=lambda one: (-len(one), one)))
        self._short = re.compile(rf"(?<![^\W_])(?:{shorts})(?![^\W_])")

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls) -> Senses:
        """Return the senses that ship with cmsearch."""
        text = files("cmsearch.notes").joinpath(SENSES_FILE).read_text(encoding="utf-8")
        return cls.from_json(text)

    @classmethod
    def from_json(cls, text: str) -> Senses:
        """Return the senses of a file."""
        return cls(
            {
                short: {sense: Cues(*cues) for sense, cues in senses.items()}
                for short, senses in json.loads(text).items()
            }
        )

    def knows(self, short: str, sense: str) -> bool:
        """Return whether a short form has cues for a sense."""
        return sense in self._cues.get(short, ())

    def best(self, short: str, near: Set[str], far: Set[str]) -> tuple[str, float]:
        """Return the likeliest sense of a short form, and how far it is ahead of the next.

        Args:
            short: the short form.
            near: the stems beside it.
            far: the stems of the whole text.
        """
        ranked = sorted(
            ((cues.score(near, far), sense) for sense, cues in self._cues[short].items()),
            reverse=True,
        )
        return ranked[0][1], ranked[0][0] - ranked[1][0]

    def of(self, text: str, parts: Iterable[Segment], found: Sequence[Word]) -> list[Sense]:
        """Return the short forms of a note, in order; their words are empty if unclear.

        Args:
            text: the note.
            parts: its segments.
            found: its telling words.
        """
        senses = []
        far: frozenset[str] = frozenset()
        for part in parts:
            capitals = text[part.begin : part.end].isupper()
            for place in self._short.finditer(text, part.begin, part.end):
                short = place[0]
                if capitals and short in _WORDS:
                    continue
                far = far or frozenset(word.stem for word in found)
                sense = self._plain(text, place)
                if not sense and short not in self._cues:
                    continue
                if not sense:
                    own = frozenset(telling(short))  # shorthand would speak for itself
                    sense, ahead = self.best(short, near(found, *place.span()), far - own)
                    if ahead < CLEAR:
                        sense = ""
                senses.append(Sense(*place.span(), sense, telling(sense)))
        return senses

    def _plain(self, text: str, place: re.Match[str]) -> str:
        """Return the sense that the text defines, or that the words right beside it leave."""
        before = text[max(0, place.start() - _REACH) : place.start()]
        defined = before.casefold().rstrip(" (")
        for sense in self._cues.get(place[0], ()):
            if before.endswith("(") and defined.endswith(sense.casefold()):
                return sense
        for sense, left, right in _idioms().get(place[0], ()):
            if left and left.search(before) or right and right.match(text, place.end()):
                return sense
        return ""


def near(found: Sequence[Word], begin: int, end: int) -> frozenset[str]:
    """Return the stems of the telling words beside a place, eight on each side at most."""
    first = bisect_left(found, begin, key=lambda word: word.begin)
    last = bisect_left(found, end, key=lambda word: word.begin)
    beside = [word for word in found[max(0, first - _NEAR) : first] if begin - word.end <= _REACH]
    beside += [word for word in found[last : last + _NEAR] if word.begin - end <= _REACH]
    return frozenset(word.stem for word in beside)


@lru_cache(maxsize=1)
def _idioms() -> dict[str, list[tuple[str, re.Pattern[str] | None, re.Pattern[str] | None]]]:
    """Return the senses that stand in a fixed turn of phrase: "98% on RA", "CVA tenderness"."""
    found: dict[str, list[tuple[str, re.Pattern[str] | None, re.Pattern[str] | None]]] = {}
    for short, sense, _, before, after, _ in rows("senses"):
        if before or after:
            left = re.compile(rf"\b(?:{before})$", re.IGNORECASE) if before else None
            right = re.compile(after, re.IGNORECASE) if after else None
            found.setdefault(short, []).append((sense, left, right))
    return found
