"""From a header to the code below it that a phrase names: its side, its 7th character.

Codes of injuries, eyes or joints are a condition, a side and an episode of care. People write
these beside the condition, in any words; the code set spells them out in titles alone.
"""

from __future__ import annotations

import re
from collections.abc import Sequence, Set

from cmsearch.lexicon import Lexicon
from cmsearch.rows import ConceptRow
from cmsearch.wording import stem, tokens

SIDES = frozenset(map(stem, ("left", "right", "bilateral")))
_SAME = {"both": "bilateral", "first": "initial", "visit": "encounter", "followup": "subsequent"}
# The episode of care as claims have it: "subsequent encounter for closed fracture with
# nonunion", "initial", "sequela".
_EPISODE = re.compile(
    r"[,;]?\s*\b(?:"
    r"(?:initial|first|subsequent|follow-? ?up) (?:encounter|visit)"
    r"(?: for (?:closed|open) fracture(?: type [a-z]+(?:(?:, or |, | or )[a-z]+)*)?)?"
    r"(?:,? (?:with )?(?:routine healing|delayed healing|nonunion|malunion))?"
    r"|(?<=[,;] )(?:initial|subsequent|sequela)$"
    r"|(?<=closed )initial$|(?<=open )initial$)",
    re.IGNORECASE,
)
_SILENT = frozenset(map(stem, ("unspecified", "nos")))
_WITHOUT = "without"


def without_episode(text: str) -> str:
    """Return a phrase without its episode of care; as it is where nothing would be left."""
    rest, episodes = _EPISODE.subn(" ", text)
    return " ".join(rest.strip(" ,;").split()) or text if episodes else text


def said_in(text: str) -> frozenset[str]:
    """Return the stems of all words of a phrase, those that tell nothing included."""
    return frozenset(stem(_SAME.get(word, word)) for word in tokens(text.replace("-up", "up")))


def narrowed(
    concept: ConceptRow, said: Set[str], lexicon: Lexicon, *, seventh: bool
) -> ConceptRow | None:
    """Return the code below a concept that the words lead to, or None.

    Where the words do not choose, the way goes on through the code that says
    "unspecified".

    Args:
        concept: where to begin.
        said: stems of the phrase's words, without those that led to the concept.
        lexicon: the lexical half of an index.
        seventh: go on to the 7th character and to what is billable; otherwise stop above
            it, as soon as every side that was said is in the title.
    """
    while not concept.billable:
        below = lexicon.children(concept.id)
        own = _stems(concept.title)
        if below and all(extends(row, concept) for row in below):
            return seventh_of(concept, below, said) if seventh else concept
        if not seventh and (said & SIDES) <= own:
            return concept
        best = max(below, key=lambda row: _fit(row, own, said), default=None)
        if best is None or _fit(best, own, said) <= (0, 0):
            return None
        concept = best
    return concept


def _fit(row: ConceptRow, own: Set[str], said: Set[str]) -> tuple[int, int]:
    """Return how many of the words that a title adds are said, and whether it leaves it open."""
    stems = _stems(row.title)
    if (stems & SIDES) - own - said:
        return (0, 0)
    return (len((stems - own) & said), len(stems & _SILENT))


def seventh_of(header: ConceptRow, below: Sequence[ConceptRow], said: Set[str]) -> ConceptRow:
    """Return the code whose 7th character has most of the words; the first one of equals."""
    return max(below, key=lambda row: len(_of_seventh(header, row, said) & said))


def _of_seventh(header: ConceptRow, row: ConceptRow, said: Set[str]) -> frozenset[str]:
    """Return what a 7th character says; nothing where it denies what was not denied."""
    added = said_in(row.title[len(header.title) :])
    return frozenset() if _WITHOUT in added and _WITHOUT not in said else added


def extends(row: ConceptRow, header: ConceptRow) -> bool:
    """Whether a code arises from a header by a 7th character alone."""
    return row.title.startswith(header.title) and len(row.code.replace(".", "")) == 7


def _stems(title: str) -> frozenset[str]:
    return frozenset(map(stem, tokens(title)))
