"""What a tuning run depends on, read from a recipe."""

from __future__ import annotations

import dataclasses
import json
import tomllib
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cmsearch.errors import TrainingError
from cmsearch.train.tables import SOURCES
from cmsearch.train.textpairs import TEXT_SOURCES


@dataclass(frozen=True, slots=True)
class TuneConfig:
    """What a tuning run depends on. A key that is not here is an error.

    Attributes:
        size: ``micro``, ``tiny``, ``small`` or ``base``.
        start: a pretrained model's folder; its tokenizer is used and there is no stage for
            the token embeddings alone. Empty for random layers.
        vocabulary_size: pieces of the tokenizer, where one is trained.
        max_tokens: where training texts are cut.
        bag_steps: steps for the token embeddings alone, before there are layers.
        steps: steps for the whole encoder.
        rounds: stretches of the second stage; before each the near misses are looked for
            anew, and the learning rate begins anew.
        batch: pairs a step.
        micro: texts that go through the model at once, the others computed again on the way
            back, so that a batch of thousands fits; 0 for all at once.
        bag_rate, rate: peak learning rates of the two stages.
        scale: inverse temperature of InfoNCE.
        dims: Matryoshka widths, the full one first.
        sibling_share: share of a batch that comes in runs of one category.
        near_share: share of the pairs that come in runs which the model confuses.
        augment_share: share of the queries that are written as people type.
        teacher: a sentence-transformers model by path or name; empty for none.
        snippets: corpus snippets that the teacher explains.
        teacher_every: one batch in so many matches the teacher.
        teacher_weight: weight of that loss.
        save_steps: steps of the second stage between two checkpoints.
        weights: how often a source is drawn, relative to its size.
    """

    size: str = "small"
    start: str = ""
    vocabulary_size: int = 24_000
    max_tokens: int = 32
    bag_steps: int = 600
    steps: int = 1500
    rounds: int = 1
    batch: int = 256
    micro: int = 0
    bag_rate: float = 5e-3
    rate: float = 6e-4
    scale: float = 20.0
    dims: tuple[int, ...] = (384, 256, 128)
    sibling_share: float = 0.4
    near_share: float = 0.0
    augment_share: float = 0.3
    teacher: str = ""
    snippets: int = 60_000
    teacher_every: int = 6
    teacher_weight: float = 4.0
    seed: int = 1
    save_steps: int = 200
    weights: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, path: Path) -> TuneConfig:
        """Return the configuration of a TOML recipe.

        Raises:
            TrainingError: the file cannot be read, has a key that nothing reads, or a
                value of another kind than the key needs.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: {error}") from error
        usual = dataclasses.asdict(cls())
        if isinstance(values.get("dims"), list):
            values["dims"] = tuple(values["dims"])
        check_values(path, values, usual)
        refuse_unknown(
            path, "the sources in [weights]", values.get("weights", {}), (*SOURCES, *TEXT_SOURCES)
        )
        return cls(**values)

    def record(self, out: Path) -> None:
        """Write the configuration of a run; refuse to go on with one that had another.

        A key that did not exist yet when the run began counts as left at its default.

        Raises:
            TrainingError: the folder holds a run with another configuration.
        """
        path = out / "config.json"
        values = json.loads(json.dumps(dataclasses.asdict(self)))
        if path.is_file():
            usual = json.loads(json.dumps(dataclasses.asdict(TuneConfig())))
            before = usual | json.loads(path.read_text(encoding="utf-8"))
            other = sorted(name for name in values if before[name] != values[name])
            if other:
                raise TrainingError(
                    f"{out} holds a run with another configuration ({', '.join(other)}); "
                    "name a new folder"
                )
        path.write_text(json.dumps(values, indent=1), encoding="utf-8")


def check_values(path: Path, values: dict[str, Any], usual: dict[str, Any]) -> None:
    """Refuse a key that nothing reads, and a value of another kind than its key needs.

    Raises:
        TrainingError: naming the file, the key, and what it should be like.
    """
    refuse_unknown(path, "the keys", values, usual)
    for name, value in values.items():
        kinds = (float, int) if isinstance(usual[name], float) else type(usual[name])
        wanted = isinstance(usual[name], bool)
        if not isinstance(value, kinds) or isinstance(value, bool) is not wanted:
            raise TrainingError(
                f"{path}: {name} = {value!r} should be like {name} = {usual[name]!r}"
            )


def refuse_unknown(path: Path, what: str, found: Iterable[str], known: Collection[str]) -> None:
    """Refuse names that are not among the known ones, and list these."""
    unread = sorted(set(found) - set(known))
    if unread:
        raise TrainingError(
            f"{path}: nothing reads {', '.join(unread)}; {what} are {', '.join(sorted(known))}"
        )
