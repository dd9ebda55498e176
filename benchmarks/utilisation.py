"""What pretraining makes of the machine's matrix rate, what raised it, and where the time goes.

    python -m benchmarks.utilisation recipes/pretrain-gpu.toml --shards SHARDS [--steps 10]

Takes the same steps of the recipe's first phase in several ways, each adding one change:
rows with masks, step by step; rows laid end to end for the kernel of variable lengths (on a
card only); compiled. Then a profile of the last way: the share of kinds of kernels in the
time of the device, and how long it stood idle. Utilisation is the arithmetic that the model
needs (``cmsearch.train.speed``) over the rate of a large matrix product here.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import torch
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from cmsearch.train import attention, speed
from cmsearch.train.corpus import Shards
from cmsearch.train.feed import Rows, Step
from cmsearch.train.pretrain import Run
from cmsearch.train.pretrain_config import PretrainConfig

# Steps before the clock starts: sizes differ a little, and compiling meets them all.
_WARM = 6
# What names of kernels begin with or hold, in the order in which it is looked for.
KINDS = (
    ("attention", ("flash", "fmha", "attention")),
    ("matrix products", ("gemm", "cutlass", "nvjet", "addmm", "mm", "matmul", "linear")),
    ("copies", ("memcpy", "memset", "copy_")),
    ("optimizer", ("multi_tensor", "foreach", "adam", "optimi")),
    ("compiled, elementwise and norms", ("triton", "elementwise", "norm", "gelu", "vectorized")),
    ("loss", ("softmax", "nll", "cross_entropy")),
)


class RowsWithMasks(Run):
    """A run whose rows stay rows, also on a card."""

    def layouts(self, rows: Rows) -> attention.Layouts:
        """Return which tokens of rows see each other."""
        window = self.model.config.sliding_window
        return attention.blocks(self._tensor(rows.segments), window=window)


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=10)
    options = parser.parse_args()
    plain = replace(PretrainConfig.load(options.recipe), compile=False)
    shards = Shards.open(options.shards)
    card = torch.cuda.get_device_name() if torch.cuda.is_available() else "no card"
    rate = speed.matrix_rate("cuda" if torch.cuda.is_available() else "cpu")
    print(
        f"{card}, torch {torch.__version__}, matrix products {rate / 1e12:.3g} TFLOP/s; "
        f"{plain.size}, {plain.phases[0].rows} rows of {plain.phases[0].length} tokens, "
        f"{plain.phases[0].micro} at once\n"
    )
    print("| way | tokens/s | utilisation | memory, GiB |")
    print("|---|---|---|---|", flush=True)
    ways = [("rows with masks", RowsWithMasks, plain)]
    if torch.cuda.is_available() and attention.KERNEL:
        ways.append(("end to end, no padding", Run, plain))
    ways.append(("compiled", Run, replace(plain, compile=True)))
    for name, kind, config in ways:
        with tempfile.TemporaryDirectory() as folder:
            run = kind(config, shards, Path(folder))
            steps = [run.feed.step(number) for number in range(_WARM + options.steps)]
            warm, steps = steps[:_WARM], steps[_WARM:]
            _timed(run, warm)
            seconds = _timed(run, steps)
        tokens = sum(step.tokens for step in steps)
        needed = sum(speed.step_flops(run.model, step) for step in steps)
        held = torch.cuda.max_memory_allocated() / 2**30 if run.on_card else 0.0
        print(
            f"| {name} | {tokens / seconds:,.0f} | {needed / seconds / rate:.1%} | {held:.1f} |",
            flush=True,
        )
        if run.on_card:
            torch.cuda.reset_peak_memory_stats()
    _print_shares(run, steps[:3])


def _timed(run: Run, steps: list[Step]) -> float:
    """Return the seconds that steps take that are made ready beforehand."""
    _wait(run)
    began = time.perf_counter()
    for step in steps:
        run.take(step)
    _wait(run)
    return time.perf_counter() - began


def _wait(run: Run) -> None:
    if run.on_card:
        torch.cuda.synchronize()


def _print_shares(run: Run, steps: list[Step]) -> None:
    """Print what kinds of kernels take of the time of some steps."""
    side = ProfilerActivity.CUDA if run.on_card else ProfilerActivity.CPU
    with profile(activities=[side]) as seen:
        seconds = _timed(run, steps)
    spent: Counter[str] = Counter()
    for event in seen.key_averages():
        on_card = event.device_type == DeviceType.CUDA
        if on_card is run.on_card:
            micros = event.self_device_time_total if on_card else event.self_cpu_time_total
            spent[_kind(event.key)] += micros / 1e6
    print("\n| kernels | share of the time |")
    print("|---|---|")
    for name, share in spent.most_common():
        print(f"| {name} | {share / seconds:.1%} |")
    print(f"| nothing ran | {max(0.0, 1 - sum(spent.values()) / seconds):.1%} |")


def _kind(kernel: str) -> str:
    small = kernel.lower()
    for name, marks in KINDS:
        if any(mark in small for mark in marks):
            return name
    return "others"


if __name__ == "__main__":
    main()
