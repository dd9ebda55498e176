"""What each part of the tuning recipe earns: one run a variant, judged beside the whole recipe.

    python -m benchmarks.ablations recipes/ablations.toml CASES... --terms DIR --corpus DIR \
        --out DIR [--coded FILE] [--index DIR]

The recipe's table ``base`` is a tuning recipe; each of ``variants`` has a name and the keys that
differ. Judged is the dense half alone, all encoders over the same text forms. Finished variants
are kept, a stopped one goes on. Prints a Markdown table: recall@1 / recall@5, and how far
recall@5 is from that of the base, with its 95 % interval over paired cases.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import tomllib
from pathlib import Path
from typing import Any

from benchmarks.tuned import Bench, configured
from cmsearch.cases import Run
from cmsearch.evaluate import compare
from cmsearch.train.config import TuneConfig
from cmsearch.train.tune import Sources

BASE = "base"


def main() -> None:
    """Run what is left, print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument("cases", type=Path, nargs="+", help="files of cases for ICD-10-CM")
    parser.add_argument("--terms", type=Path, required=True)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--coded", type=Path, help="coded notes, for a variant with evidence")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--index", type=Path, help="an index folder, for its text forms")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING)
    bench = Bench.open(options.cases, options.index)
    sources = Sources(options.terms, options.corpus, options.coded)
    header = f"| variant | {' | '.join(f'{stem} | recall@5 - base' for stem in bench.cases)} |"
    print(header, "|---" * (1 + 2 * len(bench.cases)) + "|", sep="\n", flush=True)
    first: dict[str, Run] = {}
    recipes = variants(options.recipe)
    for name, config in recipes.items():
        out = options.out / name.replace(" ", "-")
        if first and config.vocabulary_size == recipes[BASE].vocabulary_size:
            out.mkdir(parents=True, exist_ok=True)
            shutil.copy(options.out / BASE / "tokenizer.json", out)
        runs = bench.judge(name, config, sources, out)
        first = first or runs
        print(line(name, bench, runs, first), flush=True)


def variants(recipe: Path) -> dict[str, TuneConfig]:
    """Return the configurations of a recipe by name, the base first."""
    values = tomllib.loads(recipe.read_text(encoding="utf-8"))
    base: dict[str, Any] = values[BASE]
    found = {BASE: configured(base)}
    for row in values["variants"]:
        changes = {key: value for key, value in row.items() if key != "name"}
        weights = base.get("weights", {}) | changes.get("weights", {})
        found[row["name"]] = configured(base | changes | {"weights": weights})
    return found


def line(name: str, bench: Bench, runs: dict[str, Run], first: dict[str, Run]) -> str:
    """Return the table's line of a variant."""
    one, five = bench.recall(runs, 1), bench.recall(runs, 5)
    cells = [name]
    for stem, run in runs.items():
        cells.append(f"{one[stem]:.3f} / {five[stem]:.3f}")
        if run is first[stem]:
            cells.append("")
            continue
        ahead = compare(bench.cases[stem], run, first[stem])
        step = next(item for item in ahead.estimates if item.measure == "recall@5")
        cells.append(f"{step.value:+.3f} ({step.low:+.3f} to {step.high:+.3f})")
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
