"""What a passage says of what was asked: that it is there, denied, another's, long ago."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from cmsearch.notes.assertion import contexts
from cmsearch.notes.layout import segments
from cmsearch.notes.rules import section_effects
from cmsearch.types import Assertion
from cmsearch.wording import terms, tokens

# Of the telling words of a phrase so many must stand in a sentence for it to speak of it.
_SHARE = 0.5
_WORD = re.compile(r"\w+(?:'\w+)?")

Phrase = frozenset[str]


def phrase_of(text: str) -> Phrase:
    """Return the stems of the telling words of a phrase."""
    return frozenset(terms(tokens(text)))


def said_of(phrases: Sequence[Phrase], text: str, section: str) -> Assertion | None:
    """Return what a passage says of the phrase that one of its sentences holds most of.

    None if no sentence holds half of a phrase: then the passage speaks of it in words of its
    own, and who reads it must judge.

    Args:
        phrases: stems of what was asked, one set for each wording.
        text: the passage.
        section: the section of the note that it stands in.
    """
    parts = segments(text)
    best = _SHARE
    spans: list[tuple[int, int]] = []
    for part in parts:
        placed = [
            (match.start(), match.end(), stem)
            for match in _WORD.finditer(text, part.begin, part.end)
            for stem in phrase_of(match[0])
        ]
        stems = {stem for _, _, stem in placed}
        for phrase in phrases:
            common = phrase & stems
            share = len(common) / max(1, len(phrase))
            if common and share >= best and (share > best or not spans):
                best = share
                spans = [(begin, end) for begin, end, stem in placed if stem in phrase]
    if not spans:
        return None
    said = Counter(context.assertion for context in contexts(text, parts, spans))
    assertion = said.most_common(1)[0][0]
    of_section = section_effects().get(section)
    if assertion is Assertion.PRESENT and of_section is not None:
        return Assertion(of_section)
    return assertion
