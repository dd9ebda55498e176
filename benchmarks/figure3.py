"""Figure 3 of the Clinical ModernBERT paper, both ways: every model alike, and as published.

    python -m benchmarks.figure3 --out FOLDER [--device cuda] [--tokens 4096] [--notes 10000,100000]

Notes of random tokens, as long as given or down to half of it, the same ones for every
model; random weights, since speed does not depend on them. Column "alike": the CPU runs
all models as int8 ONNX by one exporter and one runtime, texts of one length together; a GPU
runs all in bfloat16, compiled, texts laid end to end with attention of variable lengths, so
that nothing is padding. Column "as published":
fp32 torch, every text padded to the full length, 64 a batch; ours in the form in which it
ships. On the CPU one thread, and processor seconds, so that other work on the machine does
not count; only so many notes as ``--tokens`` allows are run, and the rest is extrapolated
in proportion, which holds because every batch costs the same. On a GPU ``--tokens 5120000``
runs 10,000 notes of 512 tokens. Writes figure3.json and figure3.png; prints the table.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import ModernBertModel

from benchmarks.growth import Growth, grow
from benchmarks.networks import InLine, Network, networks, ours
from cmsearch.encoder.onnx import MODEL_FILE, OnnxEncoder, ShippedConfig
from cmsearch.errors import need
from cmsearch.train import attention
from cmsearch.train.export import write_int8

LENGTHS = (24, 128, 512)
GROWTH = (512, 1024, 2048, 4096, 8192)
BATCH = 64
BASE, OURS = "BERT-base", "cmsearch small"
_CUDA_TOKENS = 131_072
Ids = list[list[int]]


@dataclass(frozen=True, slots=True)
class Timing:
    """What a model needs for the notes of one length.

    Attributes:
        model: its name.
        length: tokens of the longest note.
        column: ``alike`` or ``as published``.
        notes: how many notes were run.
        seconds: what they took.
        times_bert: how many times faster than BERT-base in the same column.
    """

    model: str
    length: int
    column: str
    notes: int
    seconds: float
    times_bert: float = 1.0


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--tokens", type=int, default=4096, help="tokens run a model and length")
    parser.add_argument("--no-compile", action="store_true", help="a GPU runs all uncompiled")
    parser.add_argument("--notes", default="10000,100000", help="sizes to extrapolate to")
    parser.add_argument("--lengths", default=",".join(map(str, LENGTHS)))
    parser.add_argument("--growth", default=",".join(map(str, GROWTH)))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    lengths = [int(part) for part in options.lengths.split(",")]
    if options.device == "cpu":
        torch.set_num_threads(1)
    timings = measure(
        networks(), lengths, options.tokens, options.device, options.out / "exported",
        compiled=not options.no_compile,
    )  # fmt: skip
    rows: list[Growth] = []
    if options.device == "cpu" and options.growth:
        rows = growth([int(part) for part in options.growth.split(",")], options.out / "exported")
    sizes = [int(part) for part in options.notes.split(",")]
    report = {
        "machine": f"{platform.processor() or platform.machine()}, device {options.device}",
        "torch": torch.__version__,
        "timings": [asdict(row) for row in timings],
        "growth": [asdict(row) for row in rows],
        "exponents": exponents(rows),
    }
    (options.out / "figure3.json").write_text(json.dumps(report, indent=1), encoding="utf-8")
    draw(timings, rows, options.out / "figure3.png", notes=sizes[0])
    print("\n".join(table(timings, rows, sizes)))


def measure(
    models: Sequence[Network],
    lengths: Sequence[int],
    tokens: int,
    device: str,
    scratch: Path,
    *,
    compiled: bool = True,
) -> list[Timing]:
    """Return every model's time in both columns, ratios to BERT-base filled in."""
    found: list[Timing] = []
    for model in models:
        cpu = device == "cpu"
        alike = _onnx(model, scratch) if cpu else _in_line(model, device, compiled=compiled)
        published = alike if model.name == OURS else _published(model, device)
        for length in lengths:
            ids = notes_of(length, max(2, tokens // length))
            for column, run in (("alike", alike), ("as published", published)):
                seconds = _timed(run, ids, length, device)
                found.append(Timing(model.name, length, column, len(ids), round(seconds, 4)))
                print(json.dumps(asdict(found[-1])), flush=True)
    base = {(row.length, row.column): row.seconds for row in found if row.model == BASE}
    return [
        Timing(row.model, row.length, row.column, row.notes, row.seconds,
               round(base.get((row.length, row.column), math.nan) / row.seconds, 2))
        for row in found
    ]  # fmt: skip


def notes_of(length: int, count: int, *, seed: int = 1) -> Ids:
    """Return so many notes of random tokens, from half the length to the length."""
    draw = np.random.default_rng(seed)
    sizes = draw.integers(max(1, length // 2), length + 1, size=count)
    sizes[0] = length
    rows: Ids = [draw.integers(1_000, 20_000, size=size).tolist() for size in sizes]
    return rows


Run = Callable[[Ids, int], object]


def _onnx(model: Network, scratch: Path) -> Run:
    """Return the model as int8 ONNX in our runtime."""
    folder = scratch / model.name.replace(" ", "-")
    if not (folder / MODEL_FILE).is_file():
        folder.mkdir(parents=True, exist_ok=True)
        with torch.no_grad():
            write_int8(model.export(model.make("sdpa")).eval(), folder / MODEL_FILE)
    network = model.make("sdpa")
    width = int(network.config.hidden_size)  # type: ignore[union-attr, arg-type]
    encoder = OnnxEncoder(folder, ShippedConfig(model.name, "", "mean", width, 8192, 0))
    return lambda ids, length: encoder.encode_ids(ids)


def _published(model: Network, device: str) -> Run:
    """Return the model as the paper's script runs it: fp32, padded, 64 a batch."""
    network = model.make("sdpa").to(device)

    @torch.inference_mode()
    def run(ids: Ids, length: int) -> None:
        for start in range(0, len(ids), BATCH):
            block, mask = padded(ids[start : start + BATCH], length)
            _pool(network, block.to(device), mask.to(device))

    return run


def _in_line(model: Network, device: str, *, compiled: bool) -> Run:
    """Return the model without padding, on a card in bfloat16, on the CPU (to test) in float32."""
    modern = isinstance(model.make("sdpa"), ModernBertModel)
    network = InLine(model.make(attention.NAME if modern else "sdpa")).eval().to(device)
    if device == "cuda":
        network.to(torch.bfloat16)
    asked: Any = torch.compile(network, dynamic=True) if compiled else network

    @torch.inference_mode()
    def run(ids: Ids, length: int) -> torch.Tensor:
        found = []
        for rows in batches(ids, _CUDA_TOKENS):
            sizes = [len(row) for row in rows]
            line = torch.from_numpy(np.concatenate(rows))[None].to(device)
            places = torch.from_numpy(np.concatenate([np.arange(n) for n in sizes]))[None]
            bounds = torch.tensor([0, *np.cumsum(sizes)], dtype=torch.int32, device=device)
            found.append(asked(line, places.to(device), bounds, length).cpu())
        return torch.cat(found)

    return run


def batches(ids: Ids, tokens: int) -> Iterator[Ids]:
    """Yield notes of like length together, the longest first, at most so many tokens."""
    rest = sorted(ids, key=len, reverse=True)
    while rest:
        size = max(1, tokens // max(1, len(rest[0])))
        yield rest[:size]
        rest = rest[size:]


def padded(rows: Ids, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return token ids and mask, (n, length) each."""
    block = torch.zeros((len(rows), length), dtype=torch.int64)
    mask = torch.zeros_like(block)
    for line, row in enumerate(rows):
        block[line, : len(row)] = torch.tensor(row)
        mask[line, : len(row)] = 1
    return block, mask


def _pool(network: nn.Module, block: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    hidden = network(input_ids=block, attention_mask=mask).last_hidden_state
    keep = mask[:, :, None].to(hidden.dtype)
    pooled: torch.Tensor = (hidden * keep).sum(dim=1) / keep.sum(dim=1)
    return pooled.cpu()


def _timed(run: Run, ids: Ids, length: int, device: str) -> float:
    """Return the seconds of a run after a small one that does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    run(ids[:2], length)
    started = clock()
    run(ids, length)
    return clock() - started


def growth(lengths: Sequence[int], scratch: Path) -> list[Growth]:
    """Return time and memory of ours by length, as it is and with local layers alone."""
    found = []
    for name, local_only in ((OURS, False), ("local layers alone", True)):
        folder = scratch / f"growth-{'local' if local_only else 'all'}"
        if not (folder / MODEL_FILE).is_file():
            folder.mkdir(parents=True, exist_ok=True)
            made = Network(
                name, lambda way, local=local_only: _ours(way, local), networks()[-1].export
            )
            with torch.no_grad():
                write_int8(made.export(made.make("sdpa")), folder / MODEL_FILE)
        found += grow(folder, lengths, name=name)
    return found


def _ours(attention: str, local_only: bool) -> nn.Module:
    torch.manual_seed(1)
    config = ours(local_only=local_only)
    model: nn.Module = ModernBertModel._from_config(config, attn_implementation=attention).eval()
    return model


def exponents(rows: Sequence[Growth]) -> dict[str, float]:
    """Return by which power of the length time grows: slope over logarithms, by name."""
    found = {}
    for name in dict.fromkeys(row.name for row in rows):
        own = [row for row in rows if row.name == name]
        x, y = np.log([row.tokens for row in own]), np.log([row.seconds for row in own])
        found[name] = round(float(np.polyfit(x, y, 1)[0]), 3)
    return found


def table(timings: Sequence[Timing], rows: Sequence[Growth], sizes: Sequence[int]) -> list[str]:
    """Return the figures as Markdown tables."""
    heads = [f"{size:,} notes" for size in sizes]
    lines = [f"| column | tokens | model | ms a note | {' | '.join(heads)} | times BERT-base |",
             "|---" * (5 + len(sizes)) + "|"]  # fmt: skip
    for row in sorted(timings, key=lambda row: (row.column, row.length)):
        each = row.seconds / row.notes
        whole = " | ".join(f"{each * size:,.0f} s" for size in sizes)
        lines.append(f"| {row.column} | {row.length} | {row.model} | {each * 1000:.2f} | {whole} "
                     f"| {row.times_bert:.1f} |")  # fmt: skip
    if rows:
        lines += ["", "| ours | tokens | seconds | MB more at the peak |", "|---|---|---|---|"]
        lines += [f"| {row.name} | {row.tokens} | {row.seconds:.3f} | {row.megabytes} |"
                  for row in rows]  # fmt: skip
        lines += [f"time grows with length to the power of {power} ({name})"
                  for name, power in exponents(rows).items()]  # fmt: skip
    return lines


def draw(timings: Sequence[Timing], rows: Sequence[Growth], path: Path, *, notes: int) -> None:
    """Write the picture: bars for each column, and growth by length."""
    columns = ("alike", "as published")
    figure = need("matplotlib.figure", extra="bench").Figure(
        figsize=(5 * (2 + bool(rows)), 4.2), layout="constrained"
    )
    plots = figure.subplots(1, 2 + bool(rows))
    for axes, column in zip(plots, columns, strict=False):
        own = [row for row in timings if row.column == column]
        sizes = sorted({row.length for row in own})
        names = list(dict.fromkeys(row.model for row in own))
        for at, name in enumerate(names):
            line = [row for row in own if row.model == name]
            axes.bar(
                [sizes.index(row.length) + (at - 1.5) * 0.2 for row in line],
                [notes * row.seconds / row.notes for row in line],
                width=0.2,
                label=name,
            )
        axes.set(title=f"every model {column}", yscale="log", xlabel="tokens a note",
                 ylabel=f"seconds for {notes:,} notes")  # fmt: skip
        axes.set_xticks(range(len(sizes)), [str(size) for size in sizes])
    plots[0].legend(fontsize=8)
    for name, power in exponents(rows).items():
        line = [row for row in rows if row.name == name]
        plots[-1].plot([row.tokens for row in line], [row.seconds for row in line], marker="o",
                       label=f"{name}: power {power}")  # fmt: skip
    if rows:
        plots[-1].set(title="one note, by length", xscale="log", yscale="log", xlabel="tokens",
                      ylabel="seconds")  # fmt: skip
        lengths = sorted({row.tokens for row in rows})
        plots[-1].set_xticks(lengths, [f"{length:,}" for length in lengths])
        plots[-1].minorticks_off()
        plots[-1].legend(fontsize=8)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
