"""How good the suggestions for notes are: ranking, choice, calibration, and where the loss is.

    python -m benchmarks.notes PATH... [--code-negated] [--limit N] [--plot FILE.svg]

A note is a line {"id", "text", "codes"}. Prints JSON: mean average precision; micro-F1,
exact and by 3-character category, at the shipped threshold and at the best one; expected
calibration error with the points of its reliability plot; and for each gold code that was
missed the first of these that holds: its words are not in the note (``not_in_text``), its
mention was found for another code of its category alone (``other_code``), it was no
candidate among the first 50 (``not_in_50``), it was found and not chosen (``not_chosen``).
"""

from __future__ import annotations

import argparse
import gzip
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cmsearch.metrics import micro_f1
from cmsearch.notes.index import Index
from cmsearch.notes.suggest import coder_of
from cmsearch.types import Suggestion

_BINS = 10
_DEPTH = 50


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("paths", type=Path, nargs="+", help="coded notes, JSONL, also gzip")
    parser.add_argument("--index", type=Path, help="an index folder")
    parser.add_argument("--code-negated", action="store_true", help="as CodiEsp's coders did")
    parser.add_argument("--limit", type=int, help="only the first notes")
    parser.add_argument("--plot", type=Path, help="write the reliability plot (SVG)")
    options = parser.parse_args()
    index = Index.open(options.index)
    figures: dict[str, object] = {}
    for path in options.paths:
        notes = read(path)[: options.limit]
        found = index.suggest(
            [text for text, _ in notes], code_negated=options.code_negated, everything=True
        )
        gold = [codes for _, codes in notes]
        figures[path.name] = measure(found, gold, threshold=coder_of(index).choice.threshold)
        if options.plot:
            options.plot.write_text(plot(figures[path.name]["reliability"]), encoding="utf-8")  # type: ignore[index]
    print(json.dumps(figures, indent=1))


def read(path: Path) -> list[tuple[str, set[str]]]:
    """Return text and gold codes of each note."""
    opened = gzip.open if path.suffix == ".gz" else open
    with opened(path, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(row["text"], set(row["codes"])) for row in rows]


def measure(
    found: Sequence[Sequence[Suggestion]], gold: Sequence[set[str]], *, threshold: float
) -> dict[str, object]:
    """Return all figures of one set of notes."""
    kept = [[item for item in items if not item.suppressed] for items in found]
    ranked = [[item.code.value for item in items] for items in kept]
    grid = np.unique(np.round([item.probability for items in kept for item in items], 2))
    best = max(grid, key=lambda least: _at(kept, gold, least).f1)
    probability = np.array([item.probability for items in kept for item in items])
    right = np.array(
        [item.code.value in codes for items, codes in zip(kept, gold, strict=True)
         for item in items]
    )  # fmt: skip
    chosen = probability >= threshold
    return {
        "notes": len(gold),
        "gold_codes": sum(map(len, gold)),
        "suggested_a_note": round(float(chosen.sum()) / len(gold), 2),
        "map": round(
            float(np.mean([_precision(*one) for one in zip(ranked, gold, strict=True)])), 4
        ),
        "threshold": threshold,
        "exact": _rates(_at(kept, gold, threshold)),
        "category": _rates(_at(kept, gold, threshold, cut=3)),
        "best_threshold": float(best),
        "exact_at_best": _rates(_at(kept, gold, best)),
        "category_at_best": _rates(_at(kept, gold, best, cut=3)),
        "calibration_error": round(_error(probability, right), 4),
        "calibration_error_of_suggested": round(_error(probability[chosen], right[chosen]), 4),
        "reliability": _points(probability, right),
        "loss": _loss(kept, gold, threshold),
    }


def _at(
    found: Sequence[Sequence[Suggestion]], gold: Sequence[set[str]], least: float, *, cut: int = 9
):  # type: ignore[no-untyped-def]
    return micro_f1(
        [{code[:cut] for code in codes} for codes in gold],
        [{item.code.value[:cut] for item in items if item.probability >= least} for items in found],
    )


def _rates(agreement) -> dict[str, float]:  # type: ignore[no-untyped-def]
    return {name: round(getattr(agreement, name), 4) for name in ("precision", "recall", "f1")}


def _precision(ranked: Sequence[str], gold: set[str]) -> float:
    """Return the average precision of one ranking."""
    hits, total = 0, 0.0
    for rank, code in enumerate(ranked, start=1):
        if code in gold:
            hits += 1
            total += hits / rank
    return total / max(1, len(gold))


def _points(probability: np.ndarray, right: np.ndarray) -> list[dict[str, float]]:
    """Return mean probability, share of right ones and count of each tenth."""
    tenth = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    return [
        {
            "probability": round(float(probability[tenth == number].mean()), 3),
            "right": round(float(right[tenth == number].mean()), 3),
            "count": int((tenth == number).sum()),
        }
        for number in range(_BINS)
        if (tenth == number).any()
    ]


def _error(probability: np.ndarray, right: np.ndarray) -> float:
    """Return the expected calibration error over tenths."""
    points = _points(probability, right)
    total = sum(point["count"] for point in points) or 1
    return float(
        sum(abs(point["probability"] - point["right"]) * point["count"] for point in points) / total
    )


def _loss(
    found: Sequence[Sequence[Suggestion]], gold: Sequence[set[str]], threshold: float
) -> dict[str, int]:
    """Return how many gold codes were given, and where the others were lost."""
    counts: Counter[str] = Counter()
    for items, codes in zip(found, gold, strict=True):
        place = {item.code.value: rank for rank, item in enumerate(items)}
        chosen = {item.code.value for item in items if item.probability >= threshold}
        near = {item.code.value[:3] for item in items}
        for code in codes:
            if code in chosen:
                counts["given"] += 1
            elif code not in place:
                counts["other_code" if code[:3] in near else "not_in_text"] += 1
            else:
                counts["not_chosen" if place[code] < _DEPTH else "not_in_50"] += 1
    return dict(sorted(counts.items()))


def plot(points: Sequence[dict[str, float]]) -> str:
    """Return the reliability plot as SVG: probability to the right, share of right ones up."""
    most = max(point["count"] for point in points)
    marks = "".join(
        f'<circle cx="{40 + 300 * point["probability"]:.0f}" '
        f'cy="{340 - 300 * point["right"]:.0f}" '
        f'r="{3 + 7 * (point["count"] / most) ** 0.5:.1f}" fill="#2563eb"/>'
        for point in points
    )
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" width="380" height="380" '
        'font-family="sans-serif" font-size="12"><rect width="380" height="380" fill="white"/>'
        '<path d="M40 340H340V40" fill="none" stroke="#ddd"/>'
        '<path d="M40 40V340H340" fill="none" stroke="#333"/>'
        '<path d="M40 340L340 40" stroke="#aaa" stroke-dasharray="4"/>'
        f'{marks}<text x="130" y="370">probability said</text>'
        '<text x="14" y="240" transform="rotate(-90 14 240)">share that is right</text></svg>\n'
    )


if __name__ == "__main__":
    main()
