"""Contrastive tuning: from pairs of texts to an encoder, in one resumable run."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from datasets import Dataset
from safetensors.torch import load_file
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.base.sampler import DefaultBatchSampler, MultiDatasetBatchSamplers
from tokenizers import Tokenizer
from torch.utils.data import SequentialSampler
from transformers import ModernBertModel, PreTrainedTokenizerFast, TrainerCallback
from transformers.trainer_utils import get_last_checkpoint

from cmsearch.train.batches import augment_queries, sample_pairs, with_siblings
from cmsearch.train.config import TuneConfig
from cmsearch.train.loss import ConceptContrast, TeacherMatch
from cmsearch.train.model import (
    Shape,
    as_sentence_transformer,
    device,
    load_tokenizer,
    new_model,
    pretrained,
    shape_of,
    take_embeddings,
    tokenizer_of,
)
from cmsearch.train.nearmisses import near_misses
from cmsearch.train.teacher import Teacher, snippets
from cmsearch.train.terms import Pair, Terms, read_terms, tabular_file
from cmsearch.train.textpairs import text_pairs
from cmsearch.train.tokenizer import read_corpus, train_tokenizer

_RUN = 8  # pairs that stand together in a batch because they are hard to tell apart

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the training data lie.

    Attributes:
        terms: folder of terminology tables.
        corpus: folder of texts.
        coded: coded notes, a line each.
    """

    terms: Path
    corpus: Path | None = None
    coded: Path | None = None


def tune(config: TuneConfig, sources: Sources, out: Path) -> Path:
    """Train an encoder and return the folder of the finished model.

    Every stage leaves its result in ``out``; a run that was stopped goes on from the
    last one, and within a stage from the last checkpoint.

    Raises:
        TrainingError: the data or the configuration cannot be used.
    """
    out.mkdir(parents=True, exist_ok=True)
    config.record(out)
    terms = read_terms(sources.terms, tabular=tabular_file())
    for word in terms.skipped:
        log.warning("skipped %s", word)
    wanted = (source for source, weight in config.weights.items() if weight)
    terms.pairs.update(text_pairs(wanted, terms.pairs, corpus=sources.corpus, coded=sources.coded))
    tokenizer = _tokenizer(config, terms, sources, out)
    shape = shape_of(config.size)
    guide = Teacher(config, out) if config.teacher else None
    if config.start:
        start = pretrained(Path(config.start), width=shape.width, pieces=len(tokenizer))
    else:
        bag = load_file(_bag(config, terms, tokenizer, shape, guide, out) / "model.safetensors")
        start = new_model(shape, tokenizer, seed=config.seed)
        take_embeddings(start, bag["embeddings.tok_embeddings.weight"])
    return _whole(config, terms, tokenizer, start, guide, sources, out)


def _tokenizer(
    config: TuneConfig, terms: Terms, sources: Sources, out: Path
) -> PreTrainedTokenizerFast:
    path = out / "tokenizer.json"
    if config.start:
        given = Tokenizer.from_file(str(tokenizer_of(Path(config.start))))
        given.post_processor = None  # an encoder of mean vectors needs no [CLS] and no [SEP]
        given.save(str(path))
    if not path.is_file():
        log.info("training the tokenizer")
        texts = {
            text for found in terms.pairs.values() for p in found for text in (p.query, p.target)
        }

        def everything() -> Iterator[str]:
            if sources.corpus is not None:
                yield from read_corpus(sources.corpus)
            for text in sorted(texts):
                yield from (text,) * 4

        train_tokenizer(everything(), size=config.vocabulary_size).save(str(path))
    return load_tokenizer(path)


def _bag(
    config: TuneConfig,
    terms: Terms,
    tokenizer: PreTrainedTokenizerFast,
    shape: Shape,
    guide: Teacher | None,
    out: Path,
) -> Path:
    """Train the token embeddings alone: a ModernBERT without layers costs almost nothing."""
    done = out / "bag"
    if (done / "model.safetensors").is_file():
        return done
    start = new_model(shape, tokenizer, seed=config.seed)
    if guide is not None:
        take_embeddings(start, torch.from_numpy(guide.pieces(tokenizer, terms)))
    batch = config.batch * 4
    pairs = sample_pairs(
        terms.pairs, config.weights, count=config.bag_steps * batch, seed=config.seed
    )
    model = _save_and_open(start, tokenizer, out / "bag-start", config)
    core: ModernBertModel = model[0].auto_model
    core.layers = torch.nn.ModuleList()
    _fit(model, config, pairs, None, out / "bag-run", rate=config.bag_rate, batch=batch, keep=False)
    core.save_pretrained(done)
    return done


def _whole(
    config: TuneConfig,
    terms: Terms,
    tokenizer: PreTrainedTokenizerFast,
    start: ModernBertModel,
    guide: Teacher | None,
    sources: Sources,
    out: Path,
) -> Path:
    """Train the whole encoder: from the embeddings of the bag, or pretrained."""
    lessons = None
    contrast_steps = config.steps
    if guide is not None and sources.corpus is not None:
        texts = snippets(
            read_corpus(sources.corpus), count=config.snippets, per_document=6, seed=config.seed
        )
        steps = config.steps // config.teacher_every
        contrast_steps -= steps
        vectors = guide.explain(texts, terms)
        rows = np.random.default_rng(config.seed).permutation(len(texts))
        rows = np.resize(rows, steps * config.batch)
        lessons = Dataset.from_dict(
            {"anchor": [texts[row] for row in rows], "label": list(vectors[rows])}
        )
    pairs = sample_pairs(
        terms.pairs, config.weights, count=contrast_steps * config.batch, seed=config.seed + 1
    )
    model = _save_and_open(start, tokenizer, out / "start", config)
    for number in range(config.rounds):
        done = out / f"round-{number + 1}"
        if (done / "model.safetensors").is_file():
            model = as_sentence_transformer(done, max_tokens=config.max_tokens, device=device())
            continue
        run = out / ("run" if config.rounds == 1 else f"run-{number + 1}")
        steps_before = (contrast_steps * at // config.rounds for at in (number, number + 1))
        part = slice(*(steps * config.batch for steps in steps_before))
        taught = lessons.shard(config.rounds, number) if lessons is not None else None
        _fit(
            model, config, pairs[part], taught, run, rate=config.rate, batch=config.batch,
            near_share=config.near_share,
        )  # fmt: skip
        if number + 1 < config.rounds:
            model[0].auto_model.save_pretrained(done)
            tokenizer.save_pretrained(done)
    model.save_pretrained(str(out / "model"))
    return out / "model"


def _save_and_open(
    start: ModernBertModel, tokenizer: PreTrainedTokenizerFast, folder: Path, config: TuneConfig
) -> SentenceTransformer:
    start.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return as_sentence_transformer(folder, max_tokens=config.max_tokens, device=device())


def _fit(
    model: SentenceTransformer,
    config: TuneConfig,
    pairs: list[Pair],
    lessons: Dataset | None,
    folder: Path,
    *,
    rate: float,
    batch: int,
    near_share: float = 0.0,
    keep: bool = True,
) -> None:
    """Run the trainer over the pairs in their order, from its last checkpoint if any."""
    ordered, texts = _arranged(model, config, pairs, batch=batch, near_share=near_share)
    queries, targets = zip(*texts, strict=True)
    contrast = ConceptContrast(
        model, [pair.concept for pair in ordered], scale=config.scale, dims=config.dims,
        micro=config.micro,
    )  # fmt: skip
    data = {
        "pairs": Dataset.from_dict(
            {"anchor": queries, "positive": targets, "label": range(len(queries))}
        )
    }
    losses: dict[str, torch.nn.Module] = {"pairs": contrast}
    if lessons is not None:
        data["lessons"] = lessons
        losses["lessons"] = TeacherMatch(model, weight=config.teacher_weight, micro=config.micro)
    steps = (len(ordered) + (len(lessons) if lessons is not None else 0)) // batch
    arguments = SentenceTransformerTrainingArguments(
        output_dir=str(folder),
        num_train_epochs=1,
        per_device_train_batch_size=batch,
        learning_rate=rate,
        warmup_steps=min(100, steps // 5),
        lr_scheduler_type="linear",
        weight_decay=0.01,
        max_grad_norm=1.0,
        bf16=torch.cuda.is_available(),
        batch_sampler=_in_order,
        multi_dataset_batch_sampler=MultiDatasetBatchSamplers.PROPORTIONAL,
        save_strategy="steps" if keep else "no",
        save_steps=config.save_steps,
        save_total_limit=2,
        logging_steps=25,
        report_to="none",
        dataloader_pin_memory=torch.cuda.is_available(),
        seed=config.seed,
        dataloader_drop_last=True,
        disable_tqdm=False,
    )
    trainer = SentenceTransformerTrainer(
        model=model, args=arguments, train_dataset=data, loss=losses,
        callbacks=[_Journal(folder)],
    )  # fmt: skip
    last = get_last_checkpoint(str(folder)) if folder.is_dir() else None
    trainer.train(resume_from_checkpoint=last)


def _arranged(
    model: SentenceTransformer,
    config: TuneConfig,
    pairs: list[Pair],
    *,
    batch: int,
    near_share: float,
) -> tuple[list[Pair], list[tuple[str, str]]]:
    """Return the pairs in the order of the batches, and their texts as people type them."""
    near = near_misses(model, pairs, share=near_share, run=_RUN, seed=config.seed)
    ordered = with_siblings(
        pairs, batch=batch, share=config.sibling_share, run=_RUN, seed=config.seed, near=near
    )
    return ordered, augment_queries(ordered, share=config.augment_share, seed=config.seed)


def _in_order(dataset, batch_size, drop_last, **_):  # type: ignore[no-untyped-def]
    """A batch sampler that keeps the order of the rows: they are arranged beforehand."""
    return DefaultBatchSampler(
        SequentialSampler(dataset), batch_size=batch_size, drop_last=drop_last
    )


class _Journal(TrainerCallback):
    """Appends what the trainer logs to ``log.jsonl``."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "log.jsonl"

    def on_log(self, args, state, control, logs=None, **_):  # type: ignore[no-untyped-def]
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps({"step": state.global_step, **(logs or {})}) + "\n")
