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
