"""The log of a pretraining run: one line of JSON a moment, and its pictures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

LOG = "log.jsonl"


@dataclass(frozen=True, slots=True)
class Moment:
    """What a line of the log says.

    Attributes:
        step: steps done; ``steps`` are to be done.
        phase: number of the phase, from 1, and ``curve`` its learning-rate curve.
        loss: mean loss of the hidden tokens since the line before.
        rate: learning rate of the last step.
        tokens: tokens seen so far, padding among them.
        tokens_per_second: since the line before.
        utilisation: share of the machine's rate of matrix products that went into the
            arithmetic that the model needs.
        memory_mb: most memory held so far: of the card, or of the process.
        valid: loss and share of right answers (top-1, 5, 10, 25) on held-out documents, or
            nothing.
    """

    step: int
    steps: int
    phase: int
    curve: str
    loss: float
    rate: float
    tokens: int
    tokens_per_second: float
    utilisation: float
    memory_mb: float
    valid: dict[str, float] | None = None


Report = Callable[[Moment], None]


class Journal:
    """Appends moments to the log of a run and tells them to who listens.

    Args:
        folder: of the run.
        step: where the run goes on; lines of later steps, from before a kill, are taken out.
        report: called with every moment.
    """

    def __init__(self, folder: Path, *, step: int, report: Report | None = None) -> None:
        self._path = folder / LOG
        self._report = report
        kept = [line for line in read_log(folder) if line["step"] <= step]
        text = "".join(json.dumps(line) + "\n" for line in kept)
        self._path.write_text(text, encoding="utf-8")

    def write(self, moment: Moment) -> None:
        """Append a moment."""
        row = asdict(moment)
        row |= row.pop("valid") or {}
        with self._path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
        if self._report is not None:
            self._report(moment)


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Return the lines of a run's log, without one that a kill cut short."""
    path = folder / LOG
    if not path.is_file():
        return []
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    return [json.loads(line) for line in lines if line.endswith("}\n")]


def memory_mb(cuda_peak: int | None) -> float:
    """Return the most memory held so far in MB: of the card if given, else of the process."""
    if cuda_peak is not None:
        return cuda_peak / 2**20
    if sys.platform == "win32":  # no getrusage there
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 2**20 if sys.platform == "darwin" else peak / 2**10


def draw(folder: Path) -> Path:
    """Draw loss, accuracy, learning rate and speed of a run; return the PNG."""
    lines = read_log(folder)
    checked = [line for line in lines if "valid_loss" in line]
    figure = Figure(figsize=(11, 7), layout="constrained")
    loss, accuracy, rate, speed = figure.subplots(2, 2).ravel()
    tokens = [line["tokens"] / 1e6 for line in lines]
    at = [line["tokens"] / 1e6 for line in checked]
    loss.plot(tokens, [line["loss"] for line in lines], linewidth=0.8, label="training")
    loss.plot(at, [line["valid_loss"] for line in checked], marker=".", label="held out")
    for top in (1, 5, 10, 25):
        accuracy.plot(at, [line[f"top_{top}"] for line in checked], marker=".", label=f"top {top}")
    rate.plot(tokens, [line["rate"] for line in lines])
    speed.plot(tokens, [line["tokens_per_second"] for line in lines], linewidth=0.8)
    titles = ("loss of hidden tokens", "hidden tokens told", "learning rate", "tokens a second")
    for axis, title in zip((loss, accuracy, rate, speed), titles, strict=True):
        axis.set(title=title, xlabel="million tokens")
        axis.grid(alpha=0.3)
    loss.legend()
    accuracy.legend()
    path = folder / "curves.png"
    figure.savefig(path, dpi=110)
    return path
