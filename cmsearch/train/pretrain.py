"""Pretraining: from token shards to a masked language model, in one resumable run."""

from __future__ import annotations

import dataclasses
import json
import logging
import shutil
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from optimi import StableAdamW
from torch import Tensor
from transformers import ModernBertForMaskedLM, PreTrainedTokenizerFast

from cmsearch.errors import TrainingError
from cmsearch.train import checkpoint, mlm
from cmsearch.train.corpus import TRAIN, VALID, Shards
from cmsearch.train.embeddings import read_embeddings
from cmsearch.train.journal import Journal, Moment, Report, draw, memory_mb
from cmsearch.train.masking import Masked, Masker, continuing
from cmsearch.train.model import as_sentence_transformer, load_tokenizer, take_embeddings
from cmsearch.train.packing import Batch, Plan, Specials, shares
from cmsearch.train.pretrain_config import PretrainConfig
from cmsearch.train.schedule import Phase, place, rate_at

log = logging.getLogger(__name__)
VALID_MASK = 0.15
_MASKING, _VALIDATING = 1, 2  # streams of chance beside the plans


def pretrain(
    config: PretrainConfig, shards_folder: Path, out: Path, *, report: Report | None = None
) -> Path:
    """Train a masked language model and return the folder of the finished model.

    A run that was stopped goes on from its last checkpoint and ends with the same weights
    as one that was not: batches and masks depend on seed and step alone.

    Args:
        config: the recipe.
        shards_folder: token shards, as ``write_shards`` leaves them.
        out: the folder of the run.
        report: called with each line of the log.

    Raises:
        TrainingError: the configuration, the shards or a checkpoint cannot be used.
    """
    shards = Shards.open(shards_folder)
    shares(shards, config.weights)
    out.mkdir(parents=True, exist_ok=True)
    _record(config, shards, out)
    run = _Run(config, shards, out)
    run.go_on(report)
    return run.finish()


def _record(config: PretrainConfig, shards: Shards, out: Path) -> None:
    """Write the configuration as used; refuse to go on with a run that had another one."""
    digest = sha256((shards.folder / "shards.json").read_bytes()).hexdigest()
    values = json.loads(json.dumps(dataclasses.asdict(config))) | {"shards": digest}
    path = out / "config.json"
    if path.is_file():
        usual = json.loads(json.dumps(dataclasses.asdict(PretrainConfig())))
        before = usual | json.loads(path.read_text(encoding="utf-8"))
        other = sorted(name for name in values if before.get(name) != values[name])
        if other:
            raise TrainingError(
                f"{out} holds a run with another configuration ({', '.join(other)}); "
                "name a new folder"
            )
    path.write_text(json.dumps(values, indent=1), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class _Step:
    """A step's place and what it trains on."""

    number: int
    phase_number: int
    phase: Phase
    batch: Batch
    masked: Masked


class _Run:
    """A run: the model, its optimizer, and where it stands."""

    def __init__(self, config: PretrainConfig, shards: Shards, out: Path) -> None:
        self.config = config
        self.shards = shards
        self.out = out
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = load_tokenizer(shards.tokenizer_file)
        self.specials = specials_of(self.tokenizer)
        self.masker = Masker(
            continuing(self.tokenizer.get_vocab()), self.specials, whole_words=config.whole_words
        )
        self.model = _model(config, self.tokenizer).to(self.device).train()
        self.core: torch.nn.Module = self.model.model
        if config.compile:
            self.core = torch.compile(self.model.model)  # type: ignore[assignment]
        self.optimizer = StableAdamW(
            _groups(self.model, config.weight_decay),
            lr=config.rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.step = checkpoint.resume(out / "checkpoints", self.model, self.optimizer)
        if self.step:
            mlm.set_theta(self.model, place(config.phases, self.step - 1).phase.theta)

    def go_on(self, report: Report | None) -> None:
        """Take the steps that are left."""
        config = self.config
        journal = Journal(self.out, step=self.step, report=report)
        losses: list[Tensor] = []
        began, seen = time.perf_counter(), 0
        tokens = sum(p.tokens for p in config.phases[: place_number(config, self.step)])
        tokens += _tokens_within(config, self.step)
        for step in self._steps():
            losses.append(self._take(step))
            self.step += 1
            tokens += step.batch.ids.size
            seen += step.batch.ids.size
            last = self.step == config.steps
            check = last or self.step % config.valid_steps == 0
            if check or self.step % config.log_steps == 0:
                loss = float(torch.stack(losses).mean())
                spent = time.perf_counter() - began
                moment = Moment(
                    self.step, config.steps, step.phase_number + 1, step.phase.curve, loss,
                    rate_at(config.phases, step.number, peak=config.rate), tokens, seen / spent,
                    memory_mb(torch.cuda.max_memory_allocated() if self.on_card else None),
                    self._validate(step.phase) if check else None,
                )  # fmt: skip
                journal.write(moment)
                losses, began, seen = [], time.perf_counter(), 0
            if last or self.step % config.save_steps == 0:
                checkpoint.save(self.out / "checkpoints", self.step, self.model, self.optimizer)
                draw(self.out)

    @property
    def on_card(self) -> bool:
        """Whether the run is on a GPU."""
        return self.device == "cuda"

    def _steps(self) -> Iterator[_Step]:
        """Yield the steps that are left; the next one is made ready beside the current one."""
        with ThreadPoolExecutor(max_workers=1) as ahead:
            plans: dict[int, Plan] = {}
            following = None
            for number in range(self.step, self.config.steps + 1):
                ready = following
                if number < self.config.steps:
                    following = ahead.submit(self._prepare, number, plans)
                if ready is not None:
                    yield ready.result()

    def _prepare(self, number: int, plans: dict[int, Plan]) -> _Step:
        config = self.config
        here = place(config.phases, number)
        phase = here.phase
        if here.number not in plans:
            plans.clear()
            plans[here.number] = Plan(
                self.shards, TRAIN, self.specials, length=phase.length,
                rows=phase.steps * phase.rows, weights=config.weights,
                seed=config.seed * 1000 + here.number,
            )  # fmt: skip
        batch = plans[here.number].batch(here.step * phase.rows, (here.step + 1) * phase.rows)
        chance = np.random.default_rng([config.seed, _MASKING, number])
        masked = self.masker(batch, rate=phase.mask, chance=chance)
        return _Step(number, here.number, phase, batch, masked)

    def _take(self, step: _Step) -> Tensor:
        """Take one step; return the mean loss of its hidden tokens."""
        mlm.set_theta(self.model, step.phase.theta)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.config.phases, step.number, peak=self.config.rate)
        count = int(step.masked.chosen.sum())
        total = torch.zeros((), device=self.device)
        for start in range(0, step.phase.rows, step.phase.micro):
            rows = slice(start, start + step.phase.micro)
            # Divided by the hidden tokens of the whole step, so that its cut does not count.
            loss = self._answers(step.batch, step.masked, rows, rank=False).loss / count
            torch.autograd.backward(loss)
            total += loss.detach()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def _answers(self, batch: Batch, masked: Masked, rows: slice, *, rank: bool) -> mlm.Answers:
        ids, positions, segments, chosen, labels = (
            self._tensor(array[rows])
            for array in (
                masked.ids, batch.positions, batch.segments, masked.chosen, masked.labels
            )
        )  # fmt: skip
        half = self.on_card and torch.cuda.is_bf16_supported()
        window = self.model.config.sliding_window
        with torch.autocast("cuda", torch.bfloat16) if half else nullcontext():
            core = self.model.model if rank else self.core
            states = mlm.hidden_states(core, ids, positions, segments, window=window)
            return mlm.answer(self.model, states, chosen, labels, rank=rank)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.on_card else tensor

    def _validate(self, phase: Phase) -> dict[str, float]:
        """Return loss and accuracies on the same held-out rows every time."""
        config = self.config
        plan = Plan(
            self.shards, VALID, self.specials, length=phase.length, rows=None, weights={},
            seed=config.seed,
        )  # fmt: skip
        rows = min(len(plan), config.valid_rows)
        batch = plan.batch(0, rows)
        chance = np.random.default_rng([config.seed, _VALIDATING])
        masked = self.masker(batch, rate=VALID_MASK, chance=chance)
        self.model.eval()
        with torch.no_grad():
            found = [
                self._answers(batch, masked, slice(start, start + phase.micro), rank=True)
                for start in range(0, rows, phase.micro)
            ]
        self.model.train()
        count = sum(answers.count for answers in found)
        right = np.sum([answers.right for answers in found], axis=0) / count
        values = {"valid_loss": sum(float(answers.loss) for answers in found) / count}
        return values | {f"top_{k}": float(v) for k, v in zip(mlm.TOP, right, strict=True)}

    def finish(self) -> Path:
        """Write the model as transformers and sentence-transformers open it."""
        draw(self.out)
        done = self.out / "model"
        part = self.out / ".model.part"
        shutil.rmtree(part, ignore_errors=True)
        self.model.save_pretrained(part)
        self.tokenizer.save_pretrained(part)
        shutil.copy(self.shards.tokenizer_file, part / "tokenizer.json")
        shutil.copy(self.out / "config.json", part / "pretraining.json")
        _add_pooling(part, self.config.phases[-1].length)
        shutil.rmtree(done, ignore_errors=True)
        part.rename(done)
        return done


def _add_pooling(folder: Path, max_tokens: int) -> None:
    """Write beside the weights what makes a sentence-transformers model of them."""
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        whole = as_sentence_transformer(folder, max_tokens=max_tokens, device="cpu")
        whole.save_pretrained(scratch, create_model_card=False)
        for path in sorted(Path(scratch).iterdir()):
            if path.is_dir():
                shutil.copytree(path, folder / path.name, dirs_exist_ok=True)
            elif not (folder / path.name).exists():
                shutil.copy(path, folder / path.name)


def place_number(config: PretrainConfig, step: int) -> int:
    """Return the number of the phase that a step, or the end of the run, belongs to."""
    return place(config.phases, step).number if step < config.steps else len(config.phases)


def _tokens_within(config: PretrainConfig, step: int) -> int:
    if step >= config.steps:
        return 0
    here = place(config.phases, step)
    return here.step * here.phase.rows * here.phase.length


def specials_of(tokenizer: PreTrainedTokenizerFast) -> Specials:
    """Return the ids of a tokenizer's special tokens.

    Raises:
        TrainingError: one is missing.
    """
    found = [getattr(tokenizer, f"{name}_token_id") for name in ("cls", "sep", "pad", "mask")]
    if None in found:
        raise TrainingError("the tokenizer lacks one of [CLS], [SEP], [PAD], [MASK]")
    return Specials(*found)


def _model(config: PretrainConfig, tokenizer: PreTrainedTokenizerFast) -> ModernBertForMaskedLM:
    theta = config.phases[0].theta
    if config.start:
        model = mlm.open_mlm(config.start, tokenizer)
        mlm.set_theta(model, theta)
    else:
        model = mlm.new_mlm(
            config.size, tokenizer, local_theta=config.local_theta, theta=theta, seed=config.seed
        )
        mlm.check_architecture(model)
    if config.embeddings:
        take_embeddings(model.model, read_embeddings(config.embeddings))
    return model


def _groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return the parameters in two groups: matrices decay, norms and biases do not."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]
