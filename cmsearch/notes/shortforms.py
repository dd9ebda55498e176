"""Short forms that a text itself explains: "atrial fibrillation (AF)" makes AF a name.

After Schwartz and Hearst 2003, in small: a short form in brackets right behind its long form,
whose words have its letters as their first ones.
"""

from __future__ import annotations

from collections.abc import Sequence

from cmsearch.notes.tagger import Token

_LONGEST = 8
_REMEMBERED_SENTENCES = 25


class ShortForms:
    """What the short forms of a text stand for, as its sentences come."""

    def __init__(self) -> None:
        self._names: dict[str, tuple[bool, int]] = {}
        self._sentence = 0

    def applied(self, tokens: Sequence[Token], labels: Sequence[str]) -> list[str]:
        """Return the labels of the next sentence, with those of its short forms put right."""
        self._sentence += 1
        self._learn(tokens, labels)
        mended = list(labels)
        for row, token in enumerate(tokens):
            is_name, sentence = self._names.get(_singular(token.text), (False, -1))
            if sentence < 0 or self._sentence - sentence > _REMEMBERED_SENTENCES:
                continue
            alone = row + 1 == len(tokens) or mended[row + 1] != "I"
            if is_name and mended[row] == "O" and alone:
                mended[row] = "B"
            elif not is_name and mended[row] == "B" and alone:
                mended[row] = "O"
        return mended

    def _learn(self, tokens: Sequence[Token], labels: Sequence[str]) -> None:
        """Take in the short forms that a sentence explains."""
        for row in range(1, len(tokens) - 2):
            short = tokens[row + 1].text
            bracketed = tokens[row].text in "([" and tokens[row + 2].text in ")],;"
            if not bracketed or not _is_short(short):
                continue
            if labels[row - 1] != "O":
                self._names[_singular(short)] = (True, self._sentence)
            elif _spelled(_singular(short), [token.text for token in tokens[:row]]):
                self._names[_singular(short)] = (False, self._sentence)


def _is_short(word: str) -> bool:
    capitals = sum(letter.isupper() for letter in word)
    return 2 <= len(word) <= _LONGEST and capitals >= 2 and word.isalnum()


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 2 and word.endswith("s") and word[:-1].isupper() else word


def _spelled(short: str, before: Sequence[str]) -> bool:
    """Whether the words before a short form begin with its letters, in order."""
    words = [word.casefold() for word in before if word[0].isalnum()][-len(short) - 2 :]
    letters = [letter for letter in short.casefold() if letter.isalpha()]
    if not words or not letters:
        return False
    place = 0
    for word in words:
        if place < len(letters) and word[0] == letters[place]:
            place += 1
    return place >= max(2, len(letters) - 1) or words[-1][0] == letters[0]
