"""The plain data that pass between the floors, and the seams between them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from cmsearch.codes import Code

Vectors = NDArray[np.float32]
# Vectors in whole steps, -127 to 127.
Steps = NDArray[np.int8]


class Why(Enum):
    """What brought a hit: the words, the meaning, both, or the code itself."""

    EXACT = "exact"
    LEXICAL = "lexical"
    DENSE = "dense"
    BOTH = "lexical+dense"


@dataclass(frozen=True, slots=True)
class Hit:
    """One concept found for a query.

    Attributes:
        rank: 1 for the best.
        code: its identity.
        title: the official title.
        score: larger is better; comparable within one query, between 0 and 1.
        billable: whether a claim may carry the code.
        chapter: title of its chapter.
        release: release of its code set.
        matched: the text form that matched best.
        template: where that form comes from (title, inclusion, vocabulary, ...).
        why: what brought the hit.
    """

    rank: int
    code: Code
    title: str
    score: float
    billable: bool
    chapter: str
    release: str
    matched: str
    template: str
    why: Why


class Assertion(Enum):
    """What a note says of a condition it mentions."""

    PRESENT = "present"
    NEGATED = "negated"
    POSSIBLE = "possible"
    HYPOTHETICAL = "hypothetical"
    HISTORICAL = "historical"
    FAMILY = "family"


@dataclass(frozen=True, slots=True)
class Mention:
    """A stretch of a note that names something codable.

    Attributes:
        text: its words as the note has them.
        begin, end: where it stands, in Unicode code points of the original text.
        section: the section it stands in (``family history``), empty for none.
        assertion: what the note says of it.
        hits: its best codes, best first.
    """

    text: str
    begin: int
    end: int
    section: str
    assertion: Assertion
    hits: tuple[Hit, ...] = ()


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A code proposed for a note, with the words that support it.

    Attributes:
        rank: 1 for the best.
        code: its identity.
        title: the official title.
        release: release of its code set.
        probability: how likely a coder gives this code, calibrated, between 0 and 1.
        evidence: the mentions that support it, in the order of the note.
        why: one line for the reader.
        warnings: what a coder has to check (not billable, excludes, code first, ...).
        suppressed: the rule that holds it back; empty for a code that is suggested.
    """

    rank: int
    code: Code
    title: str
    release: str
    probability: float
    evidence: tuple[Mention, ...]
    why: str
    warnings: tuple[str, ...] = ()
    suppressed: str = ""


class Encoder(Protocol):
    """Whatever turns texts into vectors of one space."""

    @property
    def identity(self) -> EncoderIdentity:
        """What an index must remember of the encoder that made its vectors."""
        ...

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return a vector for each text, float32, (n, dim), rows of length 1."""
        ...


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """What makes two encoders the same: name, weights, pooling, prefix, width, length."""

    name: str
    sha256: str
    pooling: str
    dim: int
    max_tokens: int
    prefix: str = ""
