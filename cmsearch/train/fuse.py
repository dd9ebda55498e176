"""Fitting the fusion: candidates of held-out wordings, and which of them are right."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from cmsearch.candidates import Allowed, Flags, gather
from cmsearch.codes import System
from cmsearch.encoder import open_encoder
from cmsearch.errors import TrainingError
from cmsearch.filters import Gate
from cmsearch.formtable import VOCABULARY_FORM, FormTable, Ids
from cmsearch.fusion import (
    DENSE_FILE,
    FEATURES,
    FUSION_FILE,
    Fusion,
    Matrix,
    without_words,
)
from cmsearch.index import open_index
from cmsearch.lexicon import Lexicon
from cmsearch.query import understand
from cmsearch.search import Index
from cmsearch.train.terms import Pair, read_terms, tabular_file

# Scorers whose scores are averaged: by chance alone recall@1 of one moves by half a point.
_SCORERS = 4


@dataclass(frozen=True, slots=True)
class Example:
    """The candidates of one query: features, (n, f), and which are right, (n,)."""

    features: Matrix
    right: Matrix


def examples(index: Index, pairs: Sequence[Pair], *, batch: int = 256) -> list[Example]:
    """Return the examples of the queries for which a right candidate was found at all.

    A candidate is right if its code equals the pair's code or lies below it.
    """
    found = []
    lexicon, vectors = index.files.lexicon, index.files.vectors
    for start in range(0, len(pairs), batch):
        part = pairs[start : start + batch]
        asked = [understand(pair.query, lexicon) for pair in part]
        encoded = index.encoder.encode([text for query in asked for text in query.variants])
        row = 0
        for pair, query in zip(part, asked, strict=True):
            stop = row + len(query.variants)
            system, _, code = pair.concept.partition(":")
            candidates = gather(
                query,
                encoded[row:stop],
                lexicon=lexicon,
                index=vectors,
                allowed=_without(pair.query, system, lexicon),
            )
            row = stop
            gold = code.replace(".", "").encode()
            right = np.array(
                [code.replace(b".", b"").startswith(gold) for code in candidates.codes.tolist()],
                dtype=np.float32,
            )
            if right.any() and not right.all():
                found.append(Example(candidates.features, right))
    return found


def _without(query: str, system: str, lexicon: Lexicon) -> Allowed:
    """Allow the forms of a system but the query itself, where the index has it.

    A held-out vocabulary entry stands in the index; without it, it is a new wording.
    """
    typed, gate = query.casefold(), Gate.of((System(system),), "")

    def allowed(table: FormTable, ids: Ids) -> Flags:
        passes = gate.forms(table, ids)
        itself = [
            form.id
            for form in lexicon.forms(ids[table.kind[ids] == VOCABULARY_FORM].tolist())
            if form.text.casefold() == typed
        ]
        return passes & ~np.isin(ids, itself)

    return allowed


def fit(found: Sequence[Example], *, hidden: int = 16, steps: int = 1500, seed: int = 1) -> Fusion:
    """Return the fusion fitted on the examples: the mean of a few scorers.

    The loss ranks (softmax over a query's candidates, any right one counts) and
    calibrates (each candidate on its own), so that scores order hits and can be read.

    Raises:
        TrainingError: there are no examples.
    """
    if not found:
        raise TrainingError(
            "no held-out wording has both right and wrong candidates in this index, so there "
            "is nothing to fit on; the folder of terms needs icd10cm_titles_fy2026.tsv.gz and "
            "icd10cm_index.tsv.gz, the index ICD-10-CM"
        )
    width = max(len(item.right) for item in found)
    count = len(FEATURES)
    table = np.zeros((len(found), width, count), dtype=np.float32)
    right = np.zeros((len(found), width), dtype=np.float32)
    real = np.zeros((len(found), width), dtype=bool)
    for row, item in enumerate(found):
        size = len(item.right)
        table[row, :size], right[row, :size], real[row, :size] = item.features, item.right, True
    mean, scale = table[real].mean(axis=0), table[real].std(axis=0) + 1e-3
    inputs = torch.from_numpy((table - mean) / scale)
    fitted = [
        _scorer(inputs, torch.from_numpy(right), torch.from_numpy(real), hidden, steps, one)
        for one in range(seed, seed + _SCORERS)
    ]
    return Fusion(
        mean=mean,
        scale=scale,
        hidden=np.hstack([one["hidden"] for one in fitted]),
        hidden_bias=np.concatenate([one["hidden_bias"] for one in fitted]),
        out=np.concatenate([one["out"] / np.float32(_SCORERS) for one in fitted]),
        linear=np.mean([one["linear"] for one in fitted], axis=0),
    )


def _scorer(
    inputs: torch.Tensor,
    gold: torch.Tensor,
    kept: torch.Tensor,
    hidden: int,
    steps: int,
    seed: int,
) -> dict[str, Matrix]:
    """Return the weights of one scorer."""
    torch.manual_seed(seed)
    count = inputs.shape[2]
    model = {
        "hidden": (torch.randn(count, hidden) * 0.1).requires_grad_(),
        "hidden_bias": torch.zeros(hidden, requires_grad=True),
        "out": (torch.randn(hidden) * 0.1).requires_grad_(),
        "linear": torch.zeros(count, requires_grad=True),
    }
    bias = torch.tensor(-3.0, requires_grad=True)
    optimiser = torch.optim.AdamW([*model.values(), bias], lr=1e-2, weight_decay=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    chance = np.random.default_rng(seed)
    for _ in range(steps):
        rows = torch.from_numpy(chance.integers(0, len(inputs), 256))
        bent = torch.tanh(inputs[rows] @ model["hidden"] + model["hidden_bias"])
        logits = bent @ model["out"] + inputs[rows] @ model["linear"] + bias
        masked = logits.masked_fill(~kept[rows], -torch.inf)
        chosen = masked.masked_fill(gold[rows] == 0, -torch.inf)
        ranking = (masked.logsumexp(dim=1) - chosen.logsumexp(dim=1)).mean()
        each = torch.nn.functional.binary_cross_entropy_with_logits(
            logits, gold[rows], reduction="none"
        )
        calibration = each[kept[rows]].mean()
        loss = ranking + 2.0 * calibration
        optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        schedule.step()
    # The bias is folded into the hidden layer as one more unit that is always on.
    arrays = {name: tensor.detach().numpy() for name, tensor in model.items()}
    arrays["hidden"] = np.hstack([arrays["hidden"], np.zeros((count, 1), np.float32)])
    arrays["hidden_bias"] = np.append(arrays["hidden_bias"], np.float32(10.0))
    arrays["out"] = np.append(arrays["out"], np.float32(bias.item()))
    return arrays


def fit_to_files(terms: Path, index: Path, out: Path, *, seed: int = 1) -> tuple[float, float]:
    """Fit the fusion on held-out wordings and write it; return recall@1 and recall@5.

    The two figures are of a fifth of the wordings, by a fusion fitted on the others; the
    one that is written was fitted on all of them. Beside it is written the one that ranks
    the dense half alone.

    Args:
        terms: folder of terminology tables.
        index: the index to fit on.
        out: folder of the two files.
        seed: of the order of the wordings and of the fit.
    """
    files = open_index(index)
    opened = Index(files, open_encoder(files.manifest.encoder_source), Fusion.neutral())
    pairs = read_terms(terms, tabular=tabular_file()).held_out
    random.Random(seed).shuffle(pairs)
    found = examples(opened, pairs)
    cut = len(found) * 4 // 5
    measured = accuracy(fit(found[:cut], seed=seed), found[cut:])
    blind = [Example(without_words(item.features), item.right) for item in found]
    out.mkdir(parents=True, exist_ok=True)
    for name, given in ((FUSION_FILE, found), (DENSE_FILE, blind)):
        text = fit(given, seed=seed).to_json()
        (out / name).write_text(text + "\n", encoding="utf-8")
    return measured


def accuracy(fusion: Fusion, found: Sequence[Example]) -> tuple[float, float]:
    """Return recall@1 and recall@5 over the examples."""
    first = five = 0
    for item in found:
        order = np.argsort(-fusion.logits(item.features), kind="stable")
        first += bool(item.right[order[0]])
        five += bool(item.right[order[:5]].any())
    return first / len(found), five / len(found)
