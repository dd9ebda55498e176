"""What a query says: its telling words, with slips and shorthand looked through."""

from __future__ import annotations

from dataclasses import dataclass

from cmsearch.lexicon import Lexicon
from cmsearch.narrowing import said_in, without_episode
from cmsearch.wording import stem, terms, tokens

# Further on, nobody names a side or an episode of care.
_READ = 4_000


@dataclass(frozen=True, slots=True)
class Query:
    """A query as both halves see it.

    Attributes:
        text: what was typed, without an episode of care ("initial encounter").
        terms: stems of its telling words, slips corrected.
        unknown: share of the words that no form has, even corrected.
        rewritten: the text with slips corrected and shorthand spelled out, if it differs.
        said: stems of all words that were typed, those that tell nothing included.
        episode: whether an episode of care was typed.
    """

    text: str
    terms: tuple[str, ...]
    unknown: float
    rewritten: str | None
    said: frozenset[str] = frozenset()
    episode: bool = False

    @property
    def variants(self) -> list[str]:
        """The texts to encode: as typed, and as rewritten."""
        return [self.text] if self.rewritten is None else [self.text, self.rewritten]


def understand(text: str, lexicon: Lexicon) -> Query:
    """Return the query behind a text: shorthand, spelling and slips looked through."""
    condition = without_episode(text) if len(text) < _READ else text
    words = tokens(condition)[:400]
    known = lexicon.terms(map(stem, words))
    mended, unknown = [], 0
    for word in words:
        if stem(word) in known:
            mended.append(word)
            continue
        better = lexicon.correct(word)
        unknown += better is None
        mended.append(better or word)
    rewritten = " ".join(mended)
    typed = " ".join(condition.casefold().split())
    differs = bool(mended) and rewritten != typed and mended != tokens_as_typed(typed)
    return Query(
        text=condition,
        terms=tuple(dict.fromkeys(terms(mended))),
        unknown=unknown / max(1, len(words)),
        rewritten=rewritten if differs else None,
        said=said_in(text[:_READ]),
        episode=condition != text,
    )


def tokens_as_typed(text: str) -> list[str]:
    """Return the words of lower-case text with punctuation removed, nothing spelled out."""
    return "".join(letter if letter.isalnum() else " " for letter in text).split()
