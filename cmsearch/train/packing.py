"""From token shards to full rows: which documents, in which order, packed how.

A run's whole plan is drawn from its seed before the first step, so that step 1,234 is the
same batch whether the run came there in one go or after three kills.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cmsearch.errors import TrainingError
from cmsearch.train.corpus import TRAIN, Shards

SHORTEST = 8  # tokens of a document that are worth a place at the end of a row


@dataclass(frozen=True, slots=True)
class Specials:
    """The ids that a packed row is made with."""

    begin: int
    end: int
    pad: int
    mask: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Packed rows.

    Attributes:
        ids: token ids, (rows, length) int64.
        positions: the place of each token in its document's stretch, from 0.
        segments: numbers the stretches within a row; only tokens of one number may see
            each other. Padding has a number of its own.
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]


class Plan:
    """The rows of one phase of a run.

    Args:
        shards: where the tokens lie.
        split: ``train`` or ``valid``.
        specials: the special tokens.
        length: tokens of a row.
        rows: how many rows; None for every document once.
        weights: how often a part is drawn, relative to its size; 1 where nothing is said.
        seed: of the order of documents and rows.
    """

    def __init__(
        self,
        shards: Shards,
        split: str,
        specials: Specials,
        *,
        length: int,
        rows: int | None,
        weights: dict[str, float],
        seed: int,
    ) -> None:
        self._tokens = shards.tokens[split]
        self._parts = sorted(self._tokens)
        self._specials = specials
        self.length = length
        chance = np.random.default_rng(seed)
        wanted = None if rows is None else rows * length
        part, document = _draw(shards, split, self._parts, wanted, weights, chance)
        begin = np.concatenate([shards.starts[split][name][:-1] for name in self._parts])
        end = np.concatenate([shards.starts[split][name][1:] for name in self._parts])
        first = np.cumsum([0, *(len(shards.starts[split][n]) - 1 for n in self._parts)])
        chosen = first[part] + document
        self._pieces, self._row_starts = _pack(
            part, begin[chosen], end[chosen], length=length, rows=rows
        )
        found = len(self._row_starts) - 1
        if rows is not None and found < rows:
            raise TrainingError(f"{shards.folder}: only {found} rows of {length} tokens")
        self._order = chance.permutation(found)

    def __len__(self) -> int:
        return len(self._order)

    def batch(self, start: int, stop: int) -> Batch:
        """Return the rows from ``start`` up to ``stop`` of the shuffled order."""
        order = self._order[start:stop]
        shape = (len(order), self.length)
        ids = np.full(shape, self._specials.pad, np.int64)
        positions = np.zeros(shape, np.int64)
        segments = np.full(shape, -1, np.int64)
        for line, row in enumerate(order):
            at = 0
            pieces = self._pieces[self._row_starts[row] : self._row_starts[row + 1]]
            for number, (part, begin, end) in enumerate(pieces):
                stop_at = at + end - begin + 2
                ids[line, at] = self._specials.begin
                ids[line, at + 1 : stop_at - 1] = self._tokens[self._parts[part]][begin:end]
                ids[line, stop_at - 1] = self._specials.end
                positions[line, at:stop_at] = np.arange(stop_at - at)
                segments[line, at:stop_at] = number
                at = stop_at
            positions[line, at:] = np.arange(self.length - at)
        return Batch(ids, positions, segments)


def shares(shards: Shards, weights: dict[str, float], *, split: str = TRAIN) -> dict[str, float]:
    """Return the share of the tokens that each part gets, size x weight.

    Raises:
        TrainingError: a weight names no part, or nothing is left to draw.
    """
    unknown = sorted(set(weights) - set(shards.tokens[TRAIN]))
    if unknown:
        raise TrainingError(
            f"[weights] names {', '.join(unknown)}; the parts are {', '.join(shards.parts)}"
        )
    mass = {part: len(t) * weights.get(part, 1.0) for part, t in shards.tokens[split].items()}
    total = sum(mass.values())
    if total <= 0:
        raise TrainingError(f"{shards.folder}: every part is empty or has a weight of 0")
    return {part: value / total for part, value in mass.items()}


def _draw(
    shards: Shards,
    split: str,
    parts: list[str],
    wanted: int | None,
    weights: dict[str, float],
    chance: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return part and document numbers, shuffled; no document twice before all once."""
    found = []
    share = shares(shards, weights, split=split)
    for number, name in enumerate(parts):
        lengths = np.diff(shards.starts[split][name])
        if not len(lengths):
            continue
        if wanted is None:
            order = np.arange(len(lengths))
        else:
            # A little more than asked for: the ends of rows cost some tokens.
            target = share[name] * wanted * 1.02 + 2 * lengths.max()
            passes = int(np.ceil(target / max(1, lengths.sum()))) if share[name] else 0
            order = np.concatenate(
                [np.zeros(0, np.int64), *(chance.permutation(len(lengths)) for _ in range(passes))]
            )
            drawn = np.cumsum(lengths[order] + 2)
            order = order[: int(np.searchsorted(drawn, share[name] * wanted * 1.02)) + 1]
        found.append(np.stack([np.full(len(order), number), order]))
    both = np.concatenate(found, axis=1)
    both = both[:, chance.permutation(both.shape[1])]
    return both[0], both[1]


def _pack(
    part: NDArray[np.int64],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    *,
    length: int,
    rows: int | None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return pieces (part, begin, end), and the first piece of each row and their end.

    Documents follow each other; one that does not fit is continued in the next row.
    """
    pieces: list[tuple[int, int, int]] = []
    starts = [0]
    left = length
    for which, first, last in zip(part.tolist(), begin.tolist(), end.tolist(), strict=True):
        while first < last:
            if left < min(SHORTEST, length):
                starts.append(len(pieces))
                left = length
                if rows is not None and len(starts) > rows:
                    return np.array(pieces, np.int64), np.array(starts, np.int64)
            taken = min(last - first, left - 2)
            pieces.append((which, first, first + taken))
            first += taken
            left -= taken + 2
    if left < length // 2 or len(starts) == 1:
        starts.append(len(pieces))
    return np.array(pieces, np.int64).reshape(-1, 3), np.array(starts, np.int64)
