"""Recall against the size of the encoder and the tokens that it was pretrained on.

    python -m benchmarks.scaling recipes/scaling.toml CASES... --shards DIR --terms DIR \
        --corpus DIR --out DIR [--index DIR]

Every encoder is pretrained on masked tokens at a constant rate after the warm-up, a longer run
going on from the shorter one, and tuned the same way; ``0`` tokens stands for random weights.
Judged is the dense half alone. Finished stages are kept, a stopped run goes on. Writes
scaling.json and scaling.png; prints a Markdown table and what the curve fitted for each file of
cases says: log(1 - recall@5) = c - a log(parameters of the layers) - b log(tokens).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import shutil
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.tuned import Bench, configured
from cmsearch.errors import need
from cmsearch.train.corpus import Shards
from cmsearch.train.model import load_tokenizer, new_model, shape_of
from cmsearch.train.pretrain import CHECKPOINTS, pretrain
from cmsearch.train.pretrain_config import PretrainConfig
from cmsearch.train.schedule import Phase
from cmsearch.train.tune import Sources


@dataclass(frozen=True, slots=True)
class Point:
    """One encoder of the study.

    Attributes:
        size: its size.
        parameters: of its layers; word pieces do not count.
        tokens: that it was pretrained on.
        recall_1, recall_5: by file of cases.
    """

    size: str
    parameters: int
    tokens: int
    recall_1: dict[str, float]
    recall_5: dict[str, float]


@dataclass(frozen=True, slots=True)
class Curve:
    """log(1 - recall@5) = constant - by_size log(parameters) - by_tokens log(tokens).

    Attributes:
        residual: root mean square of what the curve leaves, in recall.
    """

    constant: float
    by_size: float
    by_tokens: float
    residual: float

    def recall(self, parameters: float, tokens: float) -> float:
        """Return recall@5 where the curve has it."""
        power = self.by_size * math.log(parameters) + self.by_tokens * math.log(tokens)
        return 1.0 - math.exp(self.constant - power)


def main() -> None:
    """Run what is left, fit, draw, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("cases", type=Path, nargs="+", help="files of cases for ICD-10-CM")
    for name in ("shards", "terms", "corpus", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--index", type=Path, help="an index folder, for its text forms")
    options = parser.parse_args()
    recipe = tomllib.loads(options.recipe.read_text(encoding="utf-8"))
    bench = Bench.open(options.cases, options.index)
    sources = Sources(options.terms, options.corpus)
    names = list(bench.cases)
    print(f"| size | tokens | {' | '.join(names)} |", "|---" * (2 + len(names)) + "|", sep="\n")
    points = []
    for size in recipe["sizes"]:
        before = None
        for steps in recipe["steps"]:
            out = options.out / f"{size}-{steps}"
            tokens = pretrained_model(recipe["pretrain"], size, steps, options.shards, out, before)
            before = out if steps else None
            values = recipe["tune"] | {"size": size, "start": str(out / "model")}
            width = shape_of(size).width
            dims = [width, *(dim for dim in (256, 128) if dim < width)]
            config = configured(values | {"dims": dims})
            runs = bench.judge(f"{size}-{steps}", config, sources, out / "tuned")
            point = Point(
                size, layer_parameters(size), tokens, bench.recall(runs, 1), bench.recall(runs, 5)
            )
            points.append(point)
            cells = [f"{point.recall_1[name]:.3f} / {point.recall_5[name]:.3f}" for name in names]
            print(f"| {size} | {tokens:,} | {' | '.join(cells)} |", flush=True)
    curves = {name: fitted(points, name) for name in names}
    written = {
        "points": [dataclasses.asdict(point) for point in points],
        "curves": {name: dataclasses.asdict(curve) for name, curve in curves.items()},
    }
    (options.out / "scaling.json").write_text(json.dumps(written, indent=1), encoding="utf-8")
    draw(points, curves, options.out / "scaling.png")
    for name, curve in curves.items():
        bigger, longer = (2**-power - 1 for power in (curve.by_size, curve.by_tokens))
        print(
            f"{name}: 1 - recall@5 changes by {bigger:+.1%} when the layers double, by "
            f"{longer:+.1%} when the tokens do; the curve is off by {curve.residual:.3f}"
        )


def pretrained_model(
    base: dict[str, Any], size: str, steps: int, shards: Path, out: Path, before: Path | None
) -> int:
    """Leave a pretrained model in ``out / "model"``; return the tokens that it saw.

    Args:
        base: keys of a pretraining recipe, with ``warmup``, ``length`` and ``rows`` of its phases.
        size: the size.
        steps: how many; 0 for random weights.
        shards: token shards.
        out: folder of the run.
        before: the run of fewer steps to go on from.
    """
    shape = {"length": base["length"], "rows": base["rows"], "micro": base["micro"]}
    phases = (
        Phase("warmup", base["warmup"], **shape),
        Phase("constant", steps - base["warmup"], **shape),
    )
    tokens = steps * base["length"] * base["rows"]
    if (out / "model" / "model.safetensors").is_file():
        return tokens
    if not steps:
        tokenizer = load_tokenizer(Shards.open(shards).tokenizer_file)
        new_model(shape_of(size), tokenizer).save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")
        return tokens
    if before is not None and not out.exists():
        shutil.copytree(before / CHECKPOINTS, out / CHECKPOINTS)
        shutil.copy(before / "log.jsonl", out)
    keys = {name for name in base if name not in ("warmup", "length", "rows", "micro")}
    config = PretrainConfig(size=size, phases=phases, **{name: base[name] for name in keys})
    pretrain(config, shards, out)
    return tokens


def layer_parameters(size: str) -> int:
    """Return the parameters of a size's layers, norms left out."""
    shape = shape_of(size)
    return shape.layers * (4 * shape.width**2 + 3 * shape.width * shape.inner)


def fitted(points: Sequence[Point], name: str) -> Curve:
    """Return the curve through the points with tokens, by least squares."""
    used = [point for point in points if point.tokens]
    rows = [[1.0, -math.log(point.parameters), -math.log(point.tokens)] for point in used]
    wanted = np.array([math.log(1.0 - point.recall_5[name]) for point in used])
    constant, by_size, by_tokens = np.linalg.lstsq(np.array(rows), wanted, rcond=None)[0].tolist()
    curve = Curve(constant, by_size, by_tokens, 0.0)
    left = [curve.recall(point.parameters, point.tokens) - point.recall_5[name] for point in used]
    return dataclasses.replace(curve, residual=float(np.sqrt(np.mean(np.square(left)))))


def draw(points: Sequence[Point], curves: dict[str, Curve], path: Path) -> None:
    """Draw recall@5 against tokens, a line a size: dots as measured, lines as fitted."""
    need("matplotlib", extra="atlas").use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(curves), figsize=(5 * len(curves), 4), squeeze=False)
    seen = sorted({point.tokens for point in points if point.tokens})
    across = np.geomspace(seen[0], seen[-1], 50)
    for axis, (name, curve) in zip(axes[0], curves.items(), strict=True):
        for number, size in enumerate(dict.fromkeys(point.size for point in points)):
            mine = [point for point in points if point.size == size]
            label = f"{size}, {mine[0].parameters / 1e6:.1f} M in layers"
            places = [point.tokens or seen[0] / 2 for point in mine]
            found = [point.recall_5[name] for point in mine]
            axis.scatter(places, found, color=f"C{number}", label=label)
            line = [curve.recall(mine[0].parameters, tokens) for tokens in across]
            axis.plot(across, line, color=f"C{number}", linewidth=1)
        axis.set_xscale("log")
        ticks = [seen[0] / 2, *seen]
        axis.set_xticks(ticks, ["none", *(f"{tokens / 1e6:.1f} M" for tokens in seen)])
        axis.minorticks_off()
        axis.set_xlabel("pretraining tokens")
        axis.set_ylabel("recall@5, dense half")
        axis.set_title(name)
        axis.legend(fontsize="small")
    figure.tight_layout()
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


if __name__ == "__main__":
    main()
