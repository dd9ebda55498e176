"""Checkpoints of a pretraining run: whole or not there, safetensors and JSON alone."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, load_model, save_file, save_model
from torch import Tensor
from torch.optim import Optimizer

from cmsearch.errors import TrainingError

_KEEP = 2
_MODEL, _OPTIMIZER, _STATE = "model.safetensors", "optimizer.safetensors", "state.json"
_TENSOR = "tensor"  # the key of what stands for a tensor in the JSON


def save(folder: Path, step: int, model: torch.nn.Module, optimizer: Optimizer) -> Path:
    """Write weights and optimizer after ``step`` steps; the two newest are kept.

    The folder appears by a rename when all is in it, so a kill leaves the one before.
    """
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / ".part"
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    save_model(model, str(part / _MODEL))
    tensors: dict[str, Tensor] = {}
    state = {"step": step, "optimizer": _taken_out(optimizer.state_dict(), "", tensors)}
    save_file(tensors, part / _OPTIMIZER)
    (part / _STATE).write_text(json.dumps(state), encoding="utf-8")
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
        state = json.loads((newest / _STATE).read_text(encoding="utf-8"))
        values = _put_back(state["optimizer"], load_file(newest / _OPTIMIZER))
        values["state"] = {int(number): row for number, row in values["state"].items()}
        load_model(model, str(newest / _MODEL))
        optimizer.load_state_dict(values)
        step: int = state["step"]
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise TrainingError(
            f"{newest}: cannot go on from here ({error}); delete it to go on from the one before"
        ) from error
    return step


def _taken_out(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value fit for JSON; its tensors are put into ``tensors`` under their place."""
    if isinstance(value, Tensor):
        tensors[name] = value.contiguous()
        return {_TENSOR: name}
    if isinstance(value, dict):
        return {str(key): _taken_out(item, f"{name}.{key}", tensors) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_taken_out(item, f"{name}.{at}", tensors) for at, item in enumerate(value)]
    return value


def _put_back(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Return the value with its tensors again."""
    if isinstance(value, dict):
        if value.keys() == {_TENSOR}:
            return tensors[value[_TENSOR]]
        return {key: _put_back(item, tensors) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_back(item, tensors) for item in value]
    return value
