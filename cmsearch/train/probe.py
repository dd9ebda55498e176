"""Probes: what an encoder's states know, frozen and fine-tuned, under one budget for all."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cmsearch import metrics
from cmsearch.errors import TrainingError
from cmsearch.train import probedata, probenet
from cmsearch.train.probedata import Labelled, LabelledSet
from cmsearch.train.probenet import Probed
from cmsearch.train.probescore import (
    entity_counts,
    interval,
    label_counts,
    macro_f1,
    mean_of,
    micro_f1,
)

FROZEN, TUNED = "frozen", "fine-tuned"
TASKS = ("ncbi", "bc5cdr", "specialty", "roles", "retrieval", "masked")
DECAYS = (1e-4, 1e-3, 1e-2)
Report = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Budget:
    """How much every model gets, the same for all; 0 stands for everything.

    Attributes:
        train, test: items at most for training and for testing, drawn by the seed.
        max_tokens: where texts are cut.
        steps, batch, rate: of fine-tuning; no steps, no fine-tuning.
        seeds: runs of fine-tuning; the figures are their means.
    """

    train: int = 1_500
    test: int = 1_000
    max_tokens: int = 128
    steps: int = 100
    batch: int = 16
    rate: float = 2e-4
    seeds: int = 1


FULL = Budget(train=0, test=0, max_tokens=512, steps=2_000, batch=32, rate=1e-4, seeds=3)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of one model.

    Attributes:
        model, task: which.
        way: ``frozen`` or ``fine-tuned``.
        metric: entity F1, accuracy, macro F1, nDCG@10, ...
        value: the mean over the seeds.
        low, high: bootstrap 95 % over the test items, of the first seed.
        n: how many test items.
        seeds: the value of each seed.
    """

    model: str
    task: str
    way: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    seeds: tuple[float, ...]


def probe(
    sources: Sequence[str],
    data: Path,
    *,
    tasks: Iterable[str] = TASKS,
    budget: Budget = Budget(),  # noqa: B008
    device: str = "cpu",
    report: Report | None = None,
) -> list[Figure]:
    """Return the figures of each model on each task.

    Args:
        sources: ``shipped``, exported folders, model folders, or names.
        data: folder with mentions, classification and retrieval.
        tasks: which of ``TASKS``.
        budget: what every model gets.
        device: what torch calls it.
        report: called with a line before each task of each model, and with its figures.

    Raises:
        TrainingError: a task has no such name, or its files are not there.
    """
    wanted = list(tasks)
    unknown = [task for task in wanted if task not in TASKS]
    if unknown:
        raise TrainingError(f"no task is called {unknown[0]!r}; there are {', '.join(TASKS)}")
    found: list[Figure] = []
    with tempfile.TemporaryDirectory() as scratch:
        for source in sources:
            for task in wanted:
                probed = probenet.open_probed(source, device=device, scratch=Path(scratch))
                if report is not None:
                    report(f"{probed.name}: {task}")
                made = _figures(probed, source, task, data, budget, device, Path(scratch))
                if report is not None:
                    for row in made:
                        report(f"  {row.way}, {row.metric} {row.value:.3f}")
                found += made
    return found


def as_json(figures: Sequence[Figure], budget: Budget) -> dict[str, Any]:
    """Return budget and figures as plain values, the JSON interface."""
    rows = [{**asdict(row), "seeds": list(row.seeds)} for row in figures]
    return {"budget": asdict(budget), "figures": rows}


def _figures(
    probed: Probed, source: str, task: str, data: Path, budget: Budget, device: str, scratch: Path
) -> list[Figure]:
    if task == "retrieval":
        return [_retrieval(probed, data, budget)]
    if task == "masked":
        return _masked(probed, data, budget)
    given = _labelled(task, data, budget)
    figures = _judged(probed.name, given, FROZEN, [_frozen(probed, given, budget)])
    if budget.steps:
        runs = []
        for seed in range(1, budget.seeds + 1):
            fresh = probenet.open_probed(source, device=device, scratch=scratch)
            runs.append(_tuned(fresh, given, budget, seed))
        figures += _judged(probed.name, given, TUNED, runs)
    return figures


def _labelled(task: str, data: Path, budget: Budget) -> LabelledSet:
    """Return a task cut to the budget; the draw does not depend on the model."""
    if task == "specialty":
        given = probedata.specialties(data)
    elif task == "roles":
        given = probedata.roles(data)
    else:
        given = probedata.mentions(data, task)
    most = {"train": budget.train, "dev": budget.test, "test": budget.test}
    parts = {name: probedata.some(part, most[name], seed=1) for name, part in given.parts.items()}
    return replace(given, parts=parts)


def _frozen(probed: Probed, given: LabelledSet, budget: Budget) -> list[list[int]]:
    """Return the labels that a linear head on the untouched states gives to the test items."""
    made = {name: _states(probed, part, given, budget) for name, part in given.parts.items()}
    rows = torch.cat(made["train"])
    labels = torch.tensor([label for item in given.parts["train"] for label in item.labels])
    dev = torch.tensor([label for item in given.parts["dev"] for label in item.labels])
    heads = [probenet.fit_head(rows, labels, len(given.labels), decay=decay) for decay in DECAYS]
    with torch.inference_mode():
        losses = [
            torch.nn.functional.cross_entropy(head(torch.cat(made["dev"])), dev).item()
            for head in heads
        ]
        best = heads[int(np.argmin(losses))]
        return [best(part).argmax(dim=1).tolist() for part in made["test"]]


def _tuned(probed: Probed, given: LabelledSet, budget: Budget, seed: int) -> list[list[int]]:
    """Return the labels that the network, trained with its head, gives to the test items."""
    head = probenet.fine_tune(
        probed,
        given.parts["train"],
        len(given.labels),
        by_word=given.by_word,
        steps=budget.steps,
        batch=budget.batch,
        rate=budget.rate,
        max_tokens=budget.max_tokens,
        seed=seed,
    )
    with torch.inference_mode():
        made = _states(probed, given.parts["test"], given, budget)
        return [head(part).argmax(dim=1).tolist() for part in made]


def _states(
    probed: Probed, items: Sequence[Labelled], given: LabelledSet, budget: Budget
) -> list[torch.Tensor]:
    cut = probenet.tokenized(probed, items, max_tokens=budget.max_tokens)
    return probenet.states(probed, cut, by_word=given.by_word)


def _judged(
    model: str, given: LabelledSet, way: str, runs: Sequence[list[list[int]]]
) -> list[Figure]:
    """Return the figures of runs that differ in their seed."""
    gold = [list(item.labels) for item in given.parts["test"]]
    if given.by_word:
        measures = [("entity F1", [entity_counts(gold, found) for found in runs], micro_f1)]
    else:
        right = [np.array([a == b for a, b in zip(gold, found, strict=True)]) for found in runs]
        tables = [label_counts(gold, found, len(given.labels)) for found in runs]
        measures = [
            ("accuracy", [row[:, None].astype(float) for row in right], mean_of),
            ("macro F1", tables, macro_f1),
        ]
    figures = []
    for name, counts, statistic in measures:
        values = tuple(round(statistic(rows.mean(axis=0)), 4) for rows in counts)
        low, high = interval(counts[0], statistic)
        mean = round(float(np.mean(values)), 4)
        figures.append(Figure(model, given.name, way, name, mean, low, high, len(gold), values))
    return figures


def _retrieval(probed: Probed, data: Path, budget: Budget) -> Figure:
    """Return nDCG@10 of the abstracts by cosine to the question; nothing is trained."""
    given = probedata.questions(data)
    asked = probenet.vectors(probed, given.questions, max_tokens=budget.max_tokens)
    texts = probenet.vectors(probed, given.texts, max_tokens=budget.max_tokens)
    best = (asked @ texts.T).topk(min(10, len(given.texts)), dim=1).indices.tolist()
    gains = [
        [float(at in right) for at in row] for row, right in zip(best, given.right, strict=True)
    ]
    ideal = [[1.0] * len(right) + [0.0] * (10 - len(right)) for right in given.right]
    values = metrics.ndcg_at(gains, ideal, k=10)
    low, high = interval(values[:, None], mean_of)
    mean = round(float(values.mean()), 4)
    return Figure(
        probed.name, "question to abstract", FROZEN, "nDCG@10", mean, low, high, len(values),
        (mean,),
    )  # fmt: skip


def _masked(probed: Probed, data: Path, budget: Budget) -> list[Figure]:
    """Return how often the right piece is the first guess, or among five; 15 % masked."""
    texts = probedata.some(probedata.questions(data).texts, budget.test, seed=1)
    ranks = probenet.masked_words(probed, texts, share=0.15, max_tokens=budget.max_tokens, seed=1)
    if ranks is None:
        return []
    figures = []
    for k in (1, 5):
        rows = (ranks < k).numpy().astype(float)[:, None]
        low, high = interval(rows, mean_of)
        mean = round(float(rows.mean()), 4)
        figures.append(Figure(probed.name, "masked pieces", FROZEN, f"top {k}", mean, low, high,
                              len(rows), (mean,)))  # fmt: skip
    return figures
