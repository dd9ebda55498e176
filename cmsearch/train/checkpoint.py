"""Checkpoints of a pretraining run: whole or not there, and without pickle."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_model, save_model
from torch.optim import Optimizer

from cmsearch.errors import TrainingError

_KEEP = 2


def save(folder: Path, step: int, model: torch.nn.Module, optimizer: Optimizer) -> Path:
    """Write weights and optimizer after ``step`` steps; the two newest are kept.

    The folder appears by a rename when all is in it, so a kill leaves the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_model(model, str(part / "model.safetensors"))
    torch.save(optimizer.state_dict(), part / "optimizer.pt")
    (part / "state.json").write_text(json.dumps({"step": step}), encoding="utf-8")
    done = folder / f"step-{step:07}"
    shutil.rmtree(done, ignore_errors=True)
    part.rename(done)
    for old in sorted(folder.glob("step-*"))[:-_KEEP]:
        shutil.rmtree(old)
    return done


def resume(folder: Path, model: torch.nn.Module, optimizer: Optimizer) -> int:
    """Load the newest checkpoint and return its step; 0 where there is none.

    Raises:
        TrainingError: the checkpoint cannot be read.
    """
    found = sorted(folder.glob("step-*"))
    if not found:
        return 0
    newest = found[-1]
    try:
        load_model(model, str(newest / "model.safetensors"))
        state = torch.load(newest / "optimizer.pt", map_location="cpu", weights_only=True)
        optimizer.load_state_dict(state)
        step: int = json.loads((newest / "state.json").read_text(encoding="utf-8"))["step"]
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise TrainingError(
            f"{newest}: cannot go on from here ({error}); delete it to go on from the one before"
        ) from error
    return step
