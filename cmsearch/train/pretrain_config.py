"""What a pretraining run depends on, read from a recipe."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmsearch.errors import TrainingError
from cmsearch.train.config import check_values, refuse_unknown
from cmsearch.train.masking import UNITS
from cmsearch.train.schedule import CURVES, Phase


@dataclass(frozen=True, slots=True)
class PretrainConfig:
    """What a pretraining run depends on. A key that is not here is an error.

    Attributes:
        size: ``micro``, ``tiny``, ``small`` or ``base``; not looked at when ``start`` is given.
        start: a published checkpoint to go on from, by path or name; empty for none.
        embeddings: an encoder of the same tokenizer whose token embeddings are the first
            ones: a folder, or ``shipped``; empty for random ones.
        freeze_embeddings: whether these stay as they are, so that masked language modelling
            does not undo what tuning has taught them.
        local_theta: base of the RoPE of the local layers.
        rate: peak learning rate.
        weight_decay: decoupled, of matrices only.
        betas: of StableAdamW.
        hide: what is hidden as a whole: ``piece``, ``word`` or ``term`` (clinical terms as
            the terminologies have them, twice as likely as other words).
        weights: how often a part of the mix is drawn, relative to its size.
        compile: whether torch.compile is worth its start.
        save_steps: steps between two checkpoints.
        log_steps: steps between two lines of the log.
        valid_steps: steps between two validations.
        valid_rows: rows of a validation, the same every time.
        phases: in order.
    """

    size: str = "small"
    start: str = ""
    embeddings: str = ""
    freeze_embeddings: bool = False
    local_theta: float = 10_000.0
    rate: float = 1e-3
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.98)
    hide: str = "piece"
    weights: dict[str, float] = field(default_factory=dict)
    compile: bool = False
    seed: int = 1
    save_steps: int = 200
    log_steps: int = 10
    valid_steps: int = 200
    valid_rows: int = 64
    phases: tuple[Phase, ...] = (Phase("warmup", 100), Phase("constant", 800), Phase("decay", 100))

    @property
    def steps(self) -> int:
        """Steps of all phases."""
        return sum(phase.steps for phase in self.phases)

    @classmethod
    def load(cls, path: Path) -> PretrainConfig:
        """Return the configuration of a TOML recipe.

        Raises:
            TrainingError: the file cannot be read, has a key that nothing reads, or a
                value of another kind than the key needs.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: {error}") from error
        usual = dataclasses.asdict(cls())
        if isinstance(values.get("betas"), list):
            values["betas"] = tuple(values["betas"])
        phases = values.pop("phases", None)
        check_values(path, values, usual)
        refuse_unknown(
            path, "what can be hidden as a whole", [values.get("hide", cls().hide)], UNITS
        )
        if phases is not None:
            values["phases"] = tuple(_phase(path, row) for row in _listed(path, phases))
        return cls(**values)


def _listed(path: Path, phases: Any) -> list[dict[str, Any]]:
    if not isinstance(phases, list) or not phases or not all(isinstance(p, dict) for p in phases):
        raise TrainingError(f"{path}: phases are written one after the other, each as [[phases]]")
    return phases


def _phase(path: Path, values: dict[str, Any]) -> Phase:
    usual = dataclasses.asdict(Phase("constant", 1))
    check_values(path, values, usual)
    missing = sorted({"curve", "steps"} - values.keys())
    if missing:
        raise TrainingError(f"{path}: a phase lacks {', '.join(missing)}")
    refuse_unknown(path, "the curves", [values["curve"]], CURVES)
    values.setdefault("micro", values.get("rows", usual["micro"]))
    phase = Phase(**values)
    if min(phase.steps, phase.micro, phase.length - 2) < 1 or phase.rows % phase.micro:
        raise TrainingError(f"{path}: {phase.rows} rows cannot be taken {phase.micro} at a time")
    if not 0 < phase.mask < 1:
        raise TrainingError(f"{path}: mask = {phase.mask} is no share between 0 and 1")
    return phase
