"""Near misses: which pairs an encoder confuses, against what a person can see."""

from __future__ import annotations

from typing import Any

import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)

from cmsearch.train.nearmisses import near_misses  # noqa: E402
from cmsearch.train.terms import Pair  # noqa: E402

pytestmark = pytest.mark.train


class ByAngle:
    """A text is a number of degrees; its vector points there."""

    def encode(self, texts: list[str], **_: Any) -> Any:
        angles = torch.deg2rad(torch.tensor([float(text) for text in texts]))
        return torch.stack([angles.cos(), angles.sin()], dim=1)


def pairs(*rows: tuple[int, str]) -> list[Pair]:
    return [Pair(str(angle), str(angle + 1), concept, "x") for angle, concept in rows]


def test_the_nearest_strangers_stand_together() -> None:
    given = pairs((0, "a:1"), (90, "b:1"), (3, "c:1"), (180, "d:1"), (93, "e:1"), (183, "f:1"))
    found = near_misses(ByAngle(), given, share=1.0, run=2, seed=1)  # type: ignore[arg-type]
    assert sorted(map(sorted, found)) == [[0, 2], [1, 4], [3, 5]]


def test_relatives_are_no_negatives() -> None:
    given = pairs(
        (0, "icd10cm:I21"), (1, "icd10cm:I21.9"), (2, "icd10cm:I21.4"), (40, "icd10cm:J18.9"),
        (50, "icd10cm:I2"),
    )  # fmt: skip
    found = near_misses(ByAngle(), given, share=1.0, run=2, seed=1)  # type: ignore[arg-type]
    together = {frozenset(members) for members in found if len(members) == 2}
    assert together <= {frozenset(p) for p in ((1, 2), (0, 3), (1, 3), (2, 3), (3, 4))}
    assert together
    assert sorted(row for members in found for row in members) == [0, 1, 2, 3, 4]


def test_a_share_is_drawn_by_the_seed() -> None:
    given = pairs(*((angle, f"a:{angle}") for angle in range(0, 300, 3)))
    runs = [
        near_misses(ByAngle(), given, share=0.3, run=4, seed=seed)  # type: ignore[arg-type]
        for seed in (1, 1, 2)
    ]
    assert runs[0] == runs[1] != runs[2]
    for found in runs:
        rows = [row for members in found for row in members]
        assert len(rows) == len(set(rows)) == 30
        assert max(map(len, found)) == 4
    assert near_misses(ByAngle(), given, share=0.0, run=4, seed=1) == []  # type: ignore[arg-type]
