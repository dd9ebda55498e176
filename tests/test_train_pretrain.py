"""Pretraining on a toy: the architecture, packed attention, resuming, what is left behind."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

REASON = "the training extra is not installed"
torch = pytest.importorskip("torch", reason=REASON)
pytest.importorskip("transformers", reason=REASON)
pytest.importorskip("sentence_transformers", reason=REASON)
pytest.importorskip("optimi", reason=REASON)

from safetensors.torch import load_file  # noqa: E402

from cmsearch.train.corpus import write_shards  # noqa: E402
from cmsearch.train.documents import Document  # noqa: E402
from cmsearch.train.journal import Moment, read_log  # noqa: E402
from cmsearch.train.model import SIZES, Shape  # noqa: E402
from cmsearch.train.pretrain import pretrain  # noqa: E402
from cmsearch.train.pretrain_config import PretrainConfig  # noqa: E402
from cmsearch.train.schedule import Phase  # noqa: E402
from cmsearch.train.tokenizer import train_tokenizer  # noqa: E402

pytestmark = pytest.mark.train

SITES = ("lung", "heart", "liver", "kidney", "brain", "skin", "knee", "bladder")
FAULTS = ("infection", "fracture", "swelling", "pain", "cancer", "bleeding", "burn", "palsy")
PHASES = (
    Phase("warmup", 2, length=32, rows=4, micro=4),
    Phase("constant", 4, length=32, rows=4, micro=2),
    Phase("decay", 2, length=64, rows=2, micro=2, mask=0.15, theta=200_000.0),
)
TOY = PretrainConfig(
    size="toy", rate=2e-3, save_steps=3, log_steps=1, valid_steps=4, valid_rows=8, phases=PHASES
)


@pytest.fixture(scope="module", autouse=True)
def toy_size() -> Any:
    """A size of two layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SIZES, "toy", Shape(layers=2, width=64, inner=64, heads=2))
        yield


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Token shards of 400 short notes."""
    folder = tmp_path_factory.mktemp("shards")
    texts = [
        f"{fault} of the {site}, day {day}; the patient has {fault} in the {site}."
        for site in SITES
        for fault in FAULTS
        for day in range(7)
    ]
    train_tokenizer(texts, size=200).save(str(folder / "tokenizer.json"))
    documents = [Document("notes", str(number), text) for number, text in enumerate(texts)]
    write_shards(documents, folder / "tokenizer.json", folder / "shards")
    return folder / "shards"


class Stopped(Exception):
    """What a test raises in the middle of a run."""


def stop_at(step: int) -> Any:
    def report(moment: Moment) -> None:
        if moment.step == step:
            raise Stopped

    return report


def test_a_killed_run_goes_on_to_the_same_losses(shards: Path, tmp_path: Path) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    pretrain(TOY, shards, whole)
    with pytest.raises(Stopped):
        pretrain(TOY, shards, broken, report=stop_at(5))
    assert not (broken / "model").exists()
    assert [line["step"] for line in read_log(broken)] == [1, 2, 3, 4, 5]
    again: list[int] = []
    pretrain(TOY, shards, broken, report=lambda moment: again.append(moment.step))
    assert again == [4, 5, 6, 7, 8]  # from the checkpoint of step 3
    one, other = read_log(whole), read_log(broken)
    for name in ("step", "loss", "rate", "tokens"):
        assert [line[name] for line in one] == [line[name] for line in other], name
    assert [line["valid_loss"] for line in one if "valid_loss" in line] == [
        line["valid_loss"] for line in other if "valid_loss" in line
    ]
    first = load_file(whole / "model" / "model.safetensors")
    second = load_file(broken / "model" / "model.safetensors")
    assert all(torch.equal(first[name], second[name]) for name in first)
