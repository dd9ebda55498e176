"""Silver notes: real texts, each with a sentence put in that names a code new to the coders.

Coders of training notes gave a few thousand of the codes. How a mention of any other looks
when it is right, no coded note shows; a wording of such a code in the middle of a real text
does. The other codes of the text are those that a first model suggests. Only candidates
that the coders never gave count: what they gave, their own notes teach better.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence, Set

import numpy as np

from cmsearch.codes import System
from cmsearch.lexicon import Lexicon
from cmsearch.train.boosting import Judged
from cmsearch.train.documents import Document

_SHORTEST, _LONGEST = 1_500, 6_000  # characters of a text, as those of case reports
_PART = "notes"
# Chapters of diseases and symptoms; what stands in a note by its words alone.
_CHAPTERS = frozenset("ABCDEFGHIJKLMNOPQR")
_SHORTEST_NAME, _LONGEST_NAME = 5, 50
_SENTENCES = (
    "The patient also had {}",
    "{} was diagnosed",
    "Past history of {}",
    "She was found to have {}",
    "He presented with {}",
    "The final diagnosis was {}",
)

Named = tuple[str, str]


def drawn(found: Iterable[Document], count: int, seed: int) -> list[str]:
    """Return so many of the notes of middle length among documents, drawn by the seed."""
    texts = [
        one.text for one in found if one.part == _PART and _SHORTEST < len(one.text) < _LONGEST
    ]
    random.Random(seed).shuffle(texts)
    return texts[:count]


def wordings(lexicon: Lexicon, given: Set[str]) -> dict[str, list[str]]:
    """Return how codes of ICD-10-CM that no coder gave are worded, by code."""
    system = System.ICD10CM.value
    ids = {
        row.id: row.code
        for row in lexicon.concepts_of(system)
        if row.level == "code" and row.code[0] in _CHAPTERS and row.code not in given
    }
    found: dict[str, list[str]] = {}
    for concept, code in sorted(ids.items(), key=lambda pair: pair[1]):
        texts = [
            form.text
            for form in lexicon.forms_of_concept(concept)
            if form.template in ("title", "inclusion", "index", "vocabulary")
            and _SHORTEST_NAME <= len(form.text) <= _LONGEST_NAME
            and not set("(),") & set(form.text)
        ]
        if texts:
            found[code] = texts
    return found


def assembled(texts: Sequence[str], named: dict[str, list[str]], seed: int) -> list[Named]:
    """Return the texts, each with a sentence put in, and the code that it names."""
    draw = random.Random(seed)
    codes = sorted(named)
    notes = []
    for text in texts:
        code = draw.choice(codes)
        sentence = draw.choice(_SENTENCES).format(draw.choice(named[code]))
        sentences = text.split(". ")
        sentences.insert(draw.randrange(1, len(sentences) + 1), sentence)
        notes.append((". ".join(sentences), code))
    return notes


def new_to_coders(judged: Judged, given: Set[str], right: Set[str]) -> Judged:
    """Return the candidates that no coder gave, with what is right among them."""
    rows = [row for row, code in enumerate(judged.codes) if code not in given]
    codes = tuple(judged.codes[row] for row in rows)
    return Judged(
        codes,
        judged.features[rows],
        np.array([code in right for code in codes], dtype=np.float32),
    )
