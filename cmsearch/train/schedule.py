"""The phases of pretraining, and the learning rate at every step."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

CURVES = ("warmup", "constant", "decay")


@dataclass(frozen=True, slots=True)
class Phase:
    """A stretch of steps under the same settings.

    Attributes:
        curve: of the learning rate: ``warmup`` rises in a line from 0, ``constant`` stays,
            ``decay`` falls as 1 - sqrt (Hagele et al., arXiv 2405.18392).
        steps: how many.
        length: tokens of a row.
        rows: rows of a step.
        micro: rows that go through the model at once; their gradients are added up.
        mask: share of the tokens that are hidden.
        theta: base of the RoPE of the global layers; raised for a context extension.
    """

    curve: str
    steps: int
    length: int = 256
    rows: int = 16
    micro: int = 16
    mask: float = 0.3
    theta: float = 160_000.0

    @property
    def tokens(self) -> int:
        """Tokens of the whole phase."""
        return self.steps * self.rows * self.length


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the phases a step is: number and phase, and its step within."""

    number: int
    phase: Phase
    step: int


def place(phases: Sequence[Phase], step: int) -> Place:
    """Return the place of a step, counted from 0 over all phases."""
    left = step
    for number, phase in enumerate(phases):
        if left < phase.steps:
            return Place(number, phase, left)
        left -= phase.steps
    raise IndexError(f"step {step} is behind the last phase")


def rate_at(phases: Sequence[Phase], step: int, *, peak: float) -> float:
    """Return the learning rate of a step.

    Neighbouring phases of one curve go on where the other stopped, so that a warm-up or a
    decay may be cut into phases of different lengths.
    """
    here = place(phases, step)
    first = last = here.number
    while first > 0 and phases[first - 1].curve == here.phase.curve:
        first -= 1
    while last + 1 < len(phases) and phases[last + 1].curve == here.phase.curve:
        last += 1
    done = here.step + sum(phase.steps for phase in phases[first : here.number])
    total = sum(phase.steps for phase in phases[first : last + 1])
    if here.phase.curve == "warmup":
        return peak * (done + 1) / total
    if here.phase.curve == "decay":
        return peak * (1 - math.sqrt(done / total))
    return peak


def tokens_before(phases: Sequence[Phase], step: int) -> int:
    """Return the tokens of all steps before ``step``."""
    total, left = 0, step
    for phase in phases:
        taken = min(left, phase.steps)
        total += taken * phase.rows * phase.length
        left -= taken
    return total
