"""Which rows go into one batch: strangers and siblings, half and half."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from cmsearch.errors import TrainingError
from cmsearch.train.augment import augment
from cmsearch.train.terms import Pair


def sample_pairs(
    pairs: dict[str, list[Pair]], weights: dict[str, float], *, count: int, seed: int
) -> list[Pair]:
    """Return ``count`` pairs drawn from the sources, in proportion size x weight.

    Each source is gone through in a shuffled order, as often as its share asks, so that
    no pair is seen twice before another was seen once.

    Raises:
        TrainingError: there is nothing to draw from.
    """
    chance = random.Random(seed)
    mass = {name: len(found) * weights.get(name, 1.0) for name, found in pairs.items()}
    total = sum(mass.values())
    if total <= 0:
        raise TrainingError("no pairs to draw: every source is empty or has a weight of 0")
    drawn: list[Pair] = []
    for name, found in pairs.items():
        wanted = round(count * mass[name] / total)
        while wanted > 0 and found:
            order = chance.sample(found, len(found))
            drawn += order[:wanted]
            wanted -= len(found)
    chance.shuffle(drawn)
    return drawn


def with_siblings(
    pairs: Sequence[Pair],
    *,
    batch: int,
    share: float,
    run: int,
    seed: int,
    near: Sequence[Sequence[int]] = (),
) -> list[Pair]:
    """Return the pairs in an order in which ``share`` of each batch comes in families.

    A family is a run of pairs of one category: the hierarchy's hard negatives. Rows in
    ``near`` stay together as they are there, and spread over the batches as families do.
    """
    chance = random.Random(seed)
    families: dict[str, list[Pair]] = defaultdict(list)
    strangers: list[Pair] = []
    taken = {row for members in near for row in members}
    for row, pair in enumerate(pairs):
        if row in taken:
            continue
        system, _, code = pair.concept.partition(":")
        if system in ("icd10cm", "icd9cm") and chance.random() < share * 1.3:
            families[f"{system}:{code[:3]}"].append(pair)
        else:
            strangers.append(pair)
    runs = [
        members[start : start + run]
        for members in families.values()
        for start in range(0, len(members), run)
    ]
    runs += [[pairs[row] for row in members] for members in near]
    chance.shuffle(runs)
    kin = [pair for members in runs for pair in members]
    batches = max(1, len(pairs) // batch)
    ordered = []
    for number in range(batches):
        rows = kin[number * len(kin) // batches : (number + 1) * len(kin) // batches]
        rows += strangers[
            number * len(strangers) // batches : (number + 1) * len(strangers) // batches
        ]
        ordered += rows
    return ordered


def augment_queries(pairs: Sequence[Pair], *, share: float, seed: int) -> list[tuple[str, str]]:
    """Return (query, target) texts, a share of the queries as people would type them."""
    chance = random.Random(seed)
    return [
        (augment(pair.query, chance) if chance.random() < share else pair.query, pair.target)
        for pair in pairs
    ]
