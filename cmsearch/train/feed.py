"""What each step of a pretraining run trains on, by seed and step alone, made ready ahead."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerFast

from cmsearch.errors import TrainingError
from cmsearch.train.attention import bounds_of
from cmsearch.train.corpus import TRAIN, VALID, Shards
from cmsearch.train.masking import Masker, TermFinder, continuing
from cmsearch.train.packing import Plan, Specials
from cmsearch.train.pretrain_config import PretrainConfig
from cmsearch.train.schedule import Phase, place

VALID_MASK = 0.15  # in every phase, so that validations can be compared
_MASKING, _VALIDATING = 1, 2  # streams of chance beside the plans


@dataclass(frozen=True, slots=True)
class Rows:
    """Masked rows as the model takes them.

    Attributes:
        ids: token ids with some hidden, (rows, length).
        positions: place in the document's stretch, (rows, length).
        segments: number of the stretch in its row, (rows, length).
        hidden: which tokens are to be told, numbered over all rows, (hidden,).
        gold: what stood there, (hidden,).
    """

    ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    segments: NDArray[np.int64]
    hidden: NDArray[np.int64]
    gold: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Step:
    """A step: its number in the run, its phase and number, and its rows in micro-batches."""

    number: int
    phase_number: int
    phase: Phase
    micro: tuple[Rows, ...]

    @property
    def hidden(self) -> int:
        """Hidden tokens of the whole step."""
        return sum(len(rows.hidden) for rows in self.micro)

    @property
    def tokens(self) -> int:
        """Tokens of the whole step, padding among them."""
        return self.phase.rows * self.phase.length


class Feed:
    """Makes the steps of a run from its token shards."""

    def __init__(
        self, config: PretrainConfig, shards: Shards, tokenizer: PreTrainedTokenizerFast
    ) -> None:
        self._config = config
        self._shards = shards
        self._specials = specials_of(tokenizer)
        self._masker = Masker(
            continuing(tokenizer.get_vocab()),
            self._specials,
            unit=config.hide,
            terms=TermFinder(shards.read_terms()) if config.hide == "term" else None,
        )
        self._plans: dict[int, Plan] = {}

    def steps(self, start: int) -> Iterator[Step]:
        """Yield the steps from ``start`` on, each made ready while the last one trains."""
        with ThreadPoolExecutor(max_workers=1) as ahead:
            following = None
            for number in range(start, self._config.steps + 1):
                ready = following
                if number < self._config.steps:
                    following = ahead.submit(self.step, number)
                if ready is not None:
                    yield ready.result()

    def step(self, number: int) -> Step:
        """Return one step."""
        config = self._config
        here = place(config.phases, number)
        phase = here.phase
        if here.number not in self._plans:
            self._plans = {
                here.number: Plan(
                    self._shards, TRAIN, self._specials, length=phase.length,
                    rows=phase.steps * phase.rows, weights=config.weights,
                    seed=config.seed * 1000 + here.number,
                )
            }  # fmt: skip
        plan = self._plans[here.number]
        rows = self._masked(
            plan, here.step * phase.rows, phase.rows, micro=phase.micro, rate=phase.mask,
            stream=(_MASKING, number),
        )  # fmt: skip
        return Step(number, here.number, phase, rows)

    def validation(self, phase: Phase) -> tuple[Rows, ...]:
        """Return the rows of a validation, for one length always the same."""
        config = self._config
        plan = Plan(
            self._shards, VALID, self._specials, length=phase.length, rows=None, weights={},
            seed=config.seed,
        )  # fmt: skip
        return self._masked(
            plan, 0, min(len(plan), config.valid_rows), micro=phase.micro, rate=VALID_MASK,
            stream=(_VALIDATING,),
        )  # fmt: skip

    def _masked(
        self, plan: Plan, start: int, rows: int, *, micro: int, rate: float, stream: tuple[int, ...]
    ) -> tuple[Rows, ...]:
        """Return rows in micro-batches; the masks do not depend on the cut."""
        batch = plan.batch(start, start + rows)
        chance = np.random.default_rng([self._config.seed, *stream])
        masked = self._masker(batch, rate=rate, chance=chance)
        cuts = [slice(first, first + micro) for first in range(0, rows, micro)]
        return tuple(
            Rows(
                masked.ids[cut],
                batch.positions[cut],
                batch.segments[cut],
                np.flatnonzero(masked.chosen[cut]),
                masked.labels[cut][masked.chosen[cut]],
            )
            for cut in cuts
        )


def specials_of(tokenizer: PreTrainedTokenizerFast) -> Specials:
    """Return the ids of a tokenizer's special tokens.

    Raises:
        TrainingError: one is missing.
    """
    found = [getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad", "mask")]
    if None in found:
        raise TrainingError("the tokenizer lacks one of [CLS], [SEP], [PAD], [MASK]")
    return Specials(*found)


def attended(rows: Rows, *, window: int) -> tuple[int, int]:
    """Return how many pairs of tokens global and local layers compare in rows."""
    lengths = np.diff(bounds_of(rows.segments)).astype(np.int64)
    near = np.minimum(lengths, 2 * window + 1)
    return int((lengths * lengths).sum()), int((lengths * near).sum())
