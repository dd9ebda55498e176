"""The index that also reads notes: what ``from cmsearch import Index`` gives."""

from __future__ import annotations

from collections.abc import Sequence

from cmsearch import search
from cmsearch.codes import System
from cmsearch.notes import listing, suggest
from cmsearch.types import Mention, Suggestion


class Index(search.Index):
    """An open index: ``search`` and ``nearest`` for phrases and codes, ``suggest`` for notes.

    ``mentions`` gives what in a note is codable.
    """

    def suggest(
        self,
        texts: Sequence[str],
        *,
        top: int | None = None,
        min_confidence: float | None = None,
        systems: Sequence[System] = (),
        code_negated: bool = False,
        everything: bool = False,
    ) -> list[list[Suggestion]]:
        """Return the suggested codes of each note, the likeliest first.

        See ``cmsearch.notes.suggest.suggest`` for the arguments.
        """
        return suggest.suggest(
            self,
            texts,
            top=top,
            min_confidence=min_confidence,
            systems=systems,
            code_negated=code_negated,
            everything=everything,
        )

    def mentions(
        self, texts: Sequence[str], *, k: int = 3, systems: Sequence[System] = ()
    ) -> list[list[Mention]]:
        """Return the codable mentions of each note with their best codes, in its order.

        See ``cmsearch.notes.listing.mentions`` for the arguments.
        """
        return listing.mentions(self, texts, k=k, systems=systems)
