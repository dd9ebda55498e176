"""Negation, temporality and experiencer of conditions in sentences, judged by annotators.

    python -m benchmarks.assertion PATH [--errors negation|temporality|experiencer]

PATH has one case on each line: {"condition", "sentence", "negation", "temporality",
"experiencer"}. The condition is where the sentence has it in capitals; where it stands there
twice, the last place is taken, since the first is mostly a heading.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cmsearch.lines import read_json_lines
from cmsearch.notes.assertion import Context, contexts
from cmsearch.notes.layout import segments

TASKS = ("negation", "temporality", "experiencer")


def predict(sentence: str, condition: str) -> Context:
    """Return the context of a condition in its sentence."""
    begin = sentence.rfind(condition.upper())
    if begin == -1:
        begin = max(sentence.lower().find(condition.lower()), 0)
    return contexts(sentence, segments(sentence), [(begin, begin + len(condition))])[0]


def labels(context: Context) -> dict[str, str]:
    """Return a context in the words of the annotators."""
    when = "historical" if context.historical else "recent"
    return {
        "negation": "negated" if context.negated else "affirmed",
        "temporality": "not particular" if context.hypothetical else when,
        "experiencer": "family member" if context.family else "patient",
    }


def scores(gold: Sequence[str], found: Sequence[str]) -> dict[str, Any]:
    """Return accuracy, and precision, recall and F1 of every class."""
    right = Counter(g for g, f in zip(gold, found, strict=True) if g == f)
    wanted, given = Counter(gold), Counter(found)
    report: dict[str, Any] = {"accuracy": round(sum(right.values()) / len(gold), 4)}
    for name in sorted(wanted | given):
        report[name] = {
            "precision": round(right[name] / max(given[name], 1), 4),
            "recall": round(right[name] / max(wanted[name], 1), 4),
            "f1": round(2 * right[name] / max(wanted[name] + given[name], 1), 4),
            "cases": wanted[name],
        }
    return report


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("path", type=Path)
    parser.add_argument("--errors", choices=TASKS)
    options = parser.parse_args()
    cases = [case for _, case in read_json_lines(options.path)]
    predict("No fever.", "fever")  # the rules are read once
    start = time.perf_counter()
    found = [labels(predict(case["sentence"], case["condition"])) for case in cases]
    seconds = time.perf_counter() - start
    report: dict[str, Any] = {"cases": len(cases), "cases_per_second": round(len(cases) / seconds)}
    for task in TASKS:
        report[task] = scores([case[task] for case in cases], [row[task] for row in found])
    print(json.dumps(report, indent=1))
    for case, row in zip(cases, found, strict=True):
        if options.errors and case[options.errors] != row[options.errors]:
            print(f"{case[options.errors]} -> {row[options.errors]}: {case['condition']!r} "
                  f"in {case['sentence']!r}")  # fmt: skip


if __name__ == "__main__":
    main()
