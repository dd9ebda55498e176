"""Pretraining: from token shards to a masked language model, in one resumable run."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
import time
from contextlib import nullcontext
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
from cmsearch.train import attention, checkpoint, mlm, speed
from cmsearch.train.corpus import Shards
from cmsearch.train.embeddings import read_embeddings
from cmsearch.train.feed import Feed, Rows, Step
from cmsearch.train.journal import Journal, Moment, Report, draw, memory_mb
from cmsearch.train.model import as_sentence_transformer, load_tokenizer, take_embeddings
from cmsearch.train.packing import shares
from cmsearch.train.pretrain_config import PretrainConfig
from cmsearch.train.schedule import Phase, place, rate_at, tokens_before

CHECKPOINTS = "checkpoints"


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
    run = Run(config, shards, out)
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


class Run:
    """A run: the model, its optimizer, and where it stands.

    Building one opens the last checkpoint of the folder, where there is one.
    """

    def __init__(self, config: PretrainConfig, shards: Shards, out: Path) -> None:
        self.config = config
        self.out = out
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.on_card = self.device == "cuda"
        self.half = self.on_card and torch.cuda.is_bf16_supported()
        self.tokenizer = load_tokenizer(shards.tokenizer_file)
        self.feed = Feed(config, shards, self.tokenizer)
        self.model = first_model(config, self.tokenizer).to(self.device).train()
        self.core: Any = torch.compile(self.model.model) if config.compile else self.model.model
        self.tell: Any = torch.compile(mlm.tell, dynamic=True) if config.compile else mlm.tell
        self.optimizer = StableAdamW(
            _groups(self.model, config.weight_decay),
            lr=config.rate,
            betas=config.betas,
            weight_decay=config.weight_decay,
        )
        self.done = checkpoint.resume(out / CHECKPOINTS, self.model, self.optimizer)
        if self.done:
            mlm.set_theta(self.model, place(config.phases, self.done - 1).phase.theta)

    def go_on(self, report: Report | None) -> None:
        """Take the steps that are left."""
        config = self.config
        journal = Journal(self.out, step=self.done, report=report)
        rate = speed.matrix_rate(self.device)
        tokens = tokens_before(config.phases, self.done)
        losses: list[Tensor] = []
        began, seen, flops = time.perf_counter(), 0, 0.0
        for step in self.feed.steps(self.done):
            losses.append(self.take(step))
            self.done += 1
            seen += step.tokens
            flops += speed.step_flops(self.model, step)
            last = self.done == config.steps
            check = last or self.done % config.valid_steps == 0
            if check or self.done % config.log_steps == 0:
                loss = float(torch.stack(losses).mean())
                spent = time.perf_counter() - began
                tokens += seen
                journal.write(
                    Moment(
                        step=self.done,
                        steps=config.steps,
                        phase=step.phase_number + 1,
                        curve=step.phase.curve,
                        loss=loss,
                        rate=rate_at(config.phases, step.number, peak=config.rate),
                        tokens=tokens,
                        tokens_per_second=seen / spent,
                        utilisation=flops / spent / rate,
                        memory_mb=memory_mb(
                            torch.cuda.max_memory_allocated() if self.on_card else None
                        ),
                        valid=self.validate(step.phase) if check else None,
                    )
                )
                losses, seen, flops = [], 0, 0.0
                began = time.perf_counter()
            if last or self.done % config.save_steps == 0:
                checkpoint.save(self.out / CHECKPOINTS, self.done, self.model, self.optimizer)
                draw(self.out)

    def take(self, step: Step) -> Tensor:
        """Take one step; return the mean loss of its hidden tokens."""
        mlm.set_theta(self.model, step.phase.theta)
        for group in self.optimizer.param_groups:
            group["lr"] = rate_at(self.config.phases, step.number, peak=self.config.rate)
        total = torch.zeros((), device=self.device)
        for rows in step.micro:
            # Divided by the hidden tokens of the whole step, so that its cut does not count.
            loss = self.answers(rows, rank=False).loss / step.hidden
            torch.autograd.backward(loss)
            total += loss.detach()
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        return total

    def answers(self, rows: Rows, *, rank: bool) -> mlm.Answers:
        """Return how well the hidden tokens of rows are told."""
        ids, positions, hidden, gold = (
            self._tensor(array) for array in (rows.ids, rows.positions, rows.hidden, rows.gold)
        )
        layouts = self.layouts(rows)
        if isinstance(layouts["full_attention"], attention.Stretches):
            ids, positions = ids.view(1, -1), positions.view(1, -1)
        with torch.autocast("cuda", torch.bfloat16) if self.half else nullcontext():
            core, tell = (self.model.model, mlm.tell) if rank else (self.core, self.tell)
            states = core(input_ids=ids, position_ids=positions, attention_mask=layouts)
            logits = tell(self.model, states.last_hidden_state, hidden)
            return mlm.answers(logits, gold, rank=rank)

    def layouts(self, rows: Rows) -> attention.Layouts:
        """Return which tokens of rows see each other: in one line on a card, else in rows."""
        window = self.model.config.sliding_window
        if not (self.half and attention.KERNEL):
            return attention.blocks(self._tensor(rows.segments), window=window)
        bounds = self._tensor(_filled(attention.bounds_of(rows.segments), rows.ids.size // 64))
        return attention.stretches(bounds, longest=rows.ids.shape[1], window=window)

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        tensor = torch.from_numpy(np.ascontiguousarray(array))
        return tensor.pin_memory().to(self.device, non_blocking=True) if self.on_card else tensor

    def validate(self, phase: Phase) -> dict[str, float]:
        """Return loss and accuracies on held-out rows, for one length always the same."""
        self.model.eval()
        with torch.no_grad():
            found = [self.answers(rows, rank=True) for rows in self.feed.validation(phase)]
        self.model.train()
        count = sum(answers.count for answers in found)
        right = np.sum([answers.right for answers in found], axis=0) / count
        values = {"valid_loss": sum(float(answers.loss) for answers in found) / count}
        return values | {f"top_{k}": float(v) for k, v in zip(mlm.TOP, right, strict=True)}

    def finish(self) -> Path:
        """Write the model as transformers and sentence-transformers open it."""
        done, part = self.out / "model", self.out / ".model.part"
        shutil.rmtree(part, ignore_errors=True)
        self.model.save_pretrained(part)
        self.tokenizer.save_pretrained(part)
        shutil.copy(self.out / "config.json", part / "pretraining.json")
        _add_pooling(part, self.config.phases[-1].length)
        shutil.rmtree(done, ignore_errors=True)
        part.rename(done)
        return done


def first_model(
    config: PretrainConfig, tokenizer: PreTrainedTokenizerFast
) -> ModernBertForMaskedLM:
    """Return the model that a run starts from: new, or a published one."""
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
    if config.freeze_embeddings:
        model.model.embeddings.tok_embeddings.requires_grad_(False)
    return model


def _groups(model: torch.nn.Module, decay: float) -> list[dict[str, Any]]:
    """Return what learns in two groups: matrices decay, norms and biases do not."""
    learning = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in learning if p.ndim >= 2]
    others = [p for p in learning if p.ndim < 2]
    return [
        {"params": matrices, "weight_decay": decay},
        {"params": others, "weight_decay": 0.0},
    ]


def _filled(bounds: NDArray[np.int32], least: int) -> NDArray[np.int32]:
    """Return bounds with empty stretches, so that nearly all batches have one shape."""
    wanted = max(least, 1 << (len(bounds) - 1).bit_length())
    return np.pad(bounds, (0, wanted - len(bounds)), mode="edge")


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
