"""Time and memory of an exported encoder against the length of one text.

    python -m benchmarks.growth FOLDER TOKENS

Each length runs in a process of its own, since the peak of a process never goes down.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cmsearch.encoder.onnx import CONFIG_FILE, OnnxEncoder, ShippedConfig


@dataclass(frozen=True, slots=True)
class Growth:
    """What one text of some length costs.

    Attributes:
        name: the encoder.
        tokens: length of the text.
        seconds: processor seconds, one thread, the better of two runs.
        megabytes: how far the peak of the process rose above that of a text of 8 tokens.
    """

    name: str
    tokens: int
    seconds: float
    megabytes: int


def grow(folder: Path, lengths: Sequence[int], *, name: str) -> list[Growth]:
    """Return what texts of these lengths cost, each in its own process."""
    found = []
    for length in lengths:
        command = [sys.executable, "-m", "benchmarks.growth", str(folder), str(length)]
        ran = subprocess.run(command, capture_output=True, text=True, check=True)
        values = json.loads(ran.stdout)
        found.append(Growth(name, length, values["seconds"], values["megabytes"]))
    return found


def cost(folder: Path, tokens: int, *, dim: int = 384) -> tuple[float, int]:
    """Return seconds and megabytes of one text in this process."""
    if (folder / CONFIG_FILE).is_file():
        encoder = OnnxEncoder.load(folder)
    else:
        config = ShippedConfig("random", "", "mean", dim, 8192, 0)
        encoder = OnnxEncoder(folder, config)
    text = np.random.default_rng(1).integers(1_000, 20_000, size=tokens).tolist()
    encoder.encode_ids([text[:8]])
    before = _peak()
    times = []
    for _ in range(2):
        started = time.process_time()
        encoder.encode_ids([text])
        times.append(time.process_time() - started)
    return round(min(times), 4), (_peak() - before) // 1024


def _peak() -> int:
    """Return the peak of this program in KiB; of getrusage the parent's part would show."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    seconds, megabytes = cost(Path(sys.argv[1]), int(sys.argv[2]))
    print(json.dumps({"seconds": seconds, "megabytes": megabytes}))
