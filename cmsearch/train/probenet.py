"""Encoders under a probe: token states, a linear head, fine-tuning, masked words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from transformers import AutoModelForMaskedLM, PreTrainedTokenizerFast

from cmsearch.encoder.hub import find_folder
from cmsearch.encoder.onnx import OnnxEncoder
from cmsearch.errors import TrainingError
from cmsearch.train.probedata import Labelled
from cmsearch.train.reopen import exported_folder, reopen

_TOKENS_AT_ONCE = 8_192
_HEAD_STEPS = 60


@dataclass(slots=True)
class Probed:
    """A network with its tokenizer: what the probes look at.

    Attributes:
        name: what tables call it.
        folder: where its weights lie.
        network: the transformers model, without a head.
        tokenizer: its own.
        device: where it runs.
    """

    name: str
    folder: Path
    network: Any
    tokenizer: PreTrainedTokenizerFast
    device: str


@dataclass(frozen=True, slots=True)
class Tokens:
    """One item as token ids, and where each of its words begins, -1 where it was cut."""

    ids: list[int]
    starts: list[int]


def open_probed(source: str, *, device: str, scratch: Path) -> Probed:
    """Return the network that a path or name stands for.

    An exported encoder (int8 ONNX) is opened as the network that it was made from, with
    the weights as they were rounded.

    Args:
        source: ``shipped``, an exported folder, a model folder, or a name.
        device: what torch calls it.
        scratch: a folder for what has to be written on the way.

    Raises:
        TrainingError: its tokenizer does not say where words begin.
    """
    name = source
    exported = exported_folder(source)
    if exported is not None:
        name = OnnxEncoder.load(exported).identity.name
        made = scratch / name
        folder = made if made.exists() else reopen(exported, made)
    else:
        folder, name = find_folder(source)
    opened = SentenceTransformer(str(folder), device=device, local_files_only=True)
    network, tokenizer = opened[0].auto_model.float().eval(), opened[0].tokenizer
    if not isinstance(tokenizer, PreTrainedTokenizerFast):
        raise TrainingError(f"{source}: its tokenizer does not say where words begin")
    return Probed(name, folder, network, tokenizer, device)


def tokenized(probed: Probed, items: Sequence[Labelled], *, max_tokens: int) -> list[Tokens]:
    """Return the items as token ids, cut at ``max_tokens``."""
    found = []
    rows = probed.tokenizer(
        [list(item.words) for item in items],
        is_split_into_words=True,
        truncation=True,
        max_length=max_tokens,
    )
    for at, item in enumerate(items):
        starts = [-1] * len(item.words)
        for place, word in enumerate(rows.word_ids(at)):
            if word is not None and starts[word] < 0:
                starts[word] = place
        found.append(Tokens(rows["input_ids"][at], starts))
    return found


def batches(items: Sequence[Tokens], *, tokens: int = _TOKENS_AT_ONCE) -> Iterator[list[int]]:
    """Yield numbers of items of like length, the longest first, so many tokens at most."""
    order = sorted(range(len(items)), key=lambda at: -len(items[at].ids))
    while order:
        size = max(1, tokens // max(1, len(items[order[0]].ids)))
        yield order[:size]
        order = order[size:]


def states(probed: Probed, items: Sequence[Tokens], *, by_word: bool) -> list[Tensor]:
    """Return what the network makes of each item: a row a word, or one row, float32.

    A row of a word is the state of its first piece, zeros where it was cut; the row of a
    text is the mean over its pieces.
    """
    found: list[Tensor] = [torch.empty(0)] * len(items)
    probed.network.eval()
    with torch.inference_mode():
        for rows in batches(items):
            made = _rows(probed, [items[row] for row in rows], by_word=by_word)
            for row, part in zip(rows, made, strict=True):
                found[row] = part.cpu()
    return found


def vectors(probed: Probed, texts: Sequence[str], *, max_tokens: int) -> Tensor:
    """Return a unit vector for each text, (n, dim): the mean of its states."""
    items = tokenized(probed, [Labelled((text,), (0,)) for text in texts], max_tokens=max_tokens)
    return normalize(torch.cat(states(probed, items, by_word=False)), dim=-1)


def _rows(probed: Probed, items: Sequence[Tokens], *, by_word: bool) -> list[Tensor]:
    ids, mask = _padded(probed, items)
    hidden = probed.network(input_ids=ids, attention_mask=mask).last_hidden_state
    if not by_word:
        keep = mask[:, :, None].to(hidden.dtype)
        pooled = (hidden * keep).sum(dim=1) / keep.sum(dim=1)
        return list(pooled[:, None])
    made = []
    for row, item in zip(hidden, items, strict=True):
        starts = torch.tensor(item.starts, device=row.device)
        made.append(row[starts.clamp(min=0)] * (starts >= 0).to(row.dtype)[:, None])
    return made


def _padded(probed: Probed, items: Sequence[Tokens]) -> tuple[Tensor, Tensor]:
    width = max(len(item.ids) for item in items)
    pad = probed.tokenizer.pad_token_id or 0
    ids = torch.tensor([item.ids + [pad] * (width - len(item.ids)) for item in items])
    mask = torch.tensor([[1] * len(item.ids) + [0] * (width - len(item.ids)) for item in items])
    return ids.to(probed.device), mask.to(probed.device)


def fit_head(rows: Tensor, labels: Tensor, classes: int, *, decay: float) -> nn.Module:
    """Return a linear head on standardised rows: logistic regression by L-BFGS.

    Args:
        rows: (n, dim).
        labels: int64, (n,).
        classes: how many labels there are.
        decay: weight of the squared weights in the loss.
    """
    middle, spread = rows.mean(dim=0), rows.std(dim=0).clamp(min=1e-6)
    scaled = (rows - middle) / spread
    weight = torch.zeros(classes, rows.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=_HEAD_STEPS, line_search_fn="strong_wolfe")

    def loss() -> Tensor:
        solver.zero_grad()
        value = cross_entropy(scaled @ weight.T + bias, labels) + decay * weight.square().sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    head = nn.Linear(rows.shape[1], classes)
    with torch.no_grad():
        head.weight.copy_(weight / spread)
        head.bias.copy_(bias - (weight * (middle / spread)).sum(dim=1))
    return head


def fine_tune(
    probed: Probed,
    items: Sequence[Labelled],
    classes: int,
    *,
    by_word: bool,
    steps: int,
    batch: int,
    rate: float,
    max_tokens: int,
    seed: int,
) -> nn.Module:
    """Train network and a linear head together, in place; return the head.

    Every model gets the same items in the same order. AdamW, a tenth of the steps to
    warm up, then down to 0 in a line; gradients cut at length 1.
    """
    torch.manual_seed(seed)
    draw = torch.Generator().manual_seed(seed)
    network = probed.network
    head = nn.Linear(int(network.config.hidden_size), classes).to(probed.device)
    cut = tokenized(probed, items, max_tokens=max_tokens)
    solver = torch.optim.AdamW([*network.parameters(), *head.parameters()], lr=rate)
    warm = max(1, steps // 10)
    plan = torch.optim.lr_scheduler.LambdaLR(
        solver, lambda step: min((step + 1) / warm, (steps - step) / max(1, steps - warm))
    )
    network.train()
    order: list[int] = []
    for _ in range(steps):
        if len(order) < batch:
            order += torch.randperm(len(items), generator=draw).tolist()
        picked, order = order[:batch], order[batch:]
        rows = torch.cat(_rows(probed, [cut[at] for at in picked], by_word=by_word))
        wanted = torch.tensor([label for at in picked for label in items[at].labels])
        seen = torch.tensor([start >= 0 for at in picked for start in cut[at].starts])
        wanted = torch.where(seen, wanted, -100).to(probed.device)
        loss = cross_entropy(head(rows), wanted)
        solver.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_([*network.parameters(), *head.parameters()], 1.0)
        solver.step()
        plan.step()
    network.eval()
    return head.cpu()


def masked_words(
    probed: Probed, texts: Sequence[str], *, share: float, max_tokens: int, seed: int
) -> Tensor | None:
    """Return the rank of each masked piece among all pieces, 0 for the first guess.

    None where the folder holds no head for masked words.
    """
    kinds = getattr(probed.network.config, "architectures", None) or []
    if not any("MaskedLM" in kind for kind in kinds) or probed.tokenizer.mask_token_id is None:
        return None
    model = AutoModelForMaskedLM.from_pretrained(probed.folder, local_files_only=True)
    model = model.to(probed.device).eval()
    items = tokenized(probed, [Labelled((text,), (0,)) for text in texts], max_tokens=max_tokens)
    special = torch.tensor(probed.tokenizer.all_special_ids, device=probed.device)
    draw = torch.Generator().manual_seed(seed)
    ranks = []
    with torch.inference_mode():
        for rows in batches(items, tokens=_TOKENS_AT_ONCE // 4):
            ids, mask = _padded(probed, [items[row] for row in rows])
            chosen = (torch.rand(ids.shape, generator=draw) < share).to(probed.device)
            chosen &= ~torch.isin(ids, special) & (mask == 1)
            given = ids.masked_fill(chosen, probed.tokenizer.mask_token_id)
            scores = model(input_ids=given, attention_mask=mask).logits[chosen].float()
            right = scores.gather(1, ids[chosen][:, None])
            ranks.append((scores > right).sum(dim=1).cpu())
    return torch.cat(ranks)
