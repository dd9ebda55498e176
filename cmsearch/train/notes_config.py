"""The recipe of the choice of codes for notes."""

from __future__ import annotations

import dataclasses
import tomllib
from dataclasses import dataclass
from pathlib import Path

from cmsearch.errors import TrainingError


@dataclass(frozen=True, slots=True)
class NotesConfig:
    """What a fit depends on. A key that is not here is an error.

    Attributes:
        folds: how many parts the notes are cut into for counting.
        rounds: boosted trees.
        leaves: leaves of a tree.
        rate: shrinkage of each tree.
        least: fewest candidates in a leaf.
        least_share, least_surprise: which phrases are kept.
        silver: how many silver notes teach the trees; they need a corpus.
        seed: of whatever is drawn.
    """

    folds: int = 10
    rounds: int = 150
    leaves: int = 48
    rate: float = 0.05
    least: int = 100
    least_share: float = 0.1
    least_surprise: float = 2.5
    silver: int = 0
    seed: int = 1

    @classmethod
    def load(cls, path: Path) -> NotesConfig:
        """Return the configuration of a TOML recipe.

        Raises:
            TrainingError: the file cannot be read or has a key that nothing reads.
        """
        try:
            values = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise TrainingError(f"{path}: {error}") from error
        known = {field.name for field in dataclasses.fields(cls)}
        if unread := sorted(values.keys() - known):
            raise TrainingError(
                f"{path}: nothing reads {', '.join(unread)}; "
                f"the keys are {', '.join(sorted(known))}"
            )
        return cls(**values)
