"""Attention without padding beside SDPA with it, on batches of documents as the corpus has them.

    python -m benchmarks.varlen --shards SHARDS [--device cuda] [--part notes] [--batch 64]

A batch of documents of a part of the token shards (``cmsearch train corpus``), cut at
``--longest``. First the attention of one global and one local layer, padded to the longest
for SDPA and laid end to end for the kernel of variable lengths; the error is the largest
against each document alone in float32. Then whole encoders of a size, forward, and forward
and backward. On a card bfloat16; on the CPU float32, where documents go one by one.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from torch.nn.utils.rnn import pad_sequence
from transformers import ModernBertModel

from cmsearch.train import attention
from cmsearch.train.corpus import TRAIN, Shards
from cmsearch.train.model import Shape, load_tokenizer, new_config, shape_of

_REPEATS = {"cpu": 2, "cuda": 20}


def main() -> None:
    """Measure and print two tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--part", default="notes")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--longest", type=int, default=8192)
    parser.add_argument("--sizes", default="small,base")
    options = parser.parse_args()
    shards = Shards.open(options.shards)
    documents = drawn(shards, options.part, options.batch, options.longest)
    lengths = [len(document) for document in documents]
    card = torch.cuda.get_device_name() if options.device == "cuda" else "no card"
    print(
        f"{card}, torch {torch.__version__}; {len(lengths)} documents of {options.part}, "
        f"{min(lengths)} to {max(lengths)} tokens, {sum(lengths):,} in all; padded "
        f"{max(lengths) * len(lengths):,}\n"
    )
    layers(lengths, shape_of("base"), options.device)
    tokenizer = load_tokenizer(shards.tokenizer_file)
    print("\n| encoder | padded, SDPA, ms | no padding, ms | speed-up | apart (cosine) |")
    print("|---|---|---|---|---|", flush=True)
    for size in options.sizes.split(","):
        config = new_config(shape_of(size), tokenizer)
        for backward in (False, True):
            encoders(f"{size}, {'with backward' if backward else 'forward'}", config, documents,
                     options.device, backward=backward)  # fmt: skip


def drawn(shards: Shards, part: str, count: int, longest: int) -> list[Tensor]:
    """Return documents drawn by chance, token ids."""
    starts, tokens = shards.starts[TRAIN][part], shards.tokens[TRAIN][part]
    chosen = np.random.default_rng(1).choice(len(starts) - 1, size=count, replace=False)
    return [
        torch.from_numpy(tokens[starts[one] : starts[one + 1]][:longest].astype(np.int64))
        for one in chosen
        if starts[one + 1] > starts[one]
    ]


def layers(lengths: Sequence[int], shape: Shape, device: str) -> None:
    """Print what one layer of each kind needs, and how far it is from float32."""
    head, kind = shape.width // shape.heads, _kind(device)
    torch.manual_seed(1)
    line = [torch.randn(sum(lengths), shape.heads, head, device=device) for _ in range(3)]
    bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    narrow = [states.to(kind) for states in line]
    square = [_padded(states, lengths) for states in narrow]
    there = _padded(torch.ones(sum(lengths), 1, 1, device=device), lengths)[:, 0, :, 0] > 0
    print("| layer | padded, SDPA, ms | no padding, ms | speed-up | error, SDPA | error |")
    print("|---|---|---|---|---|---|", flush=True)
    for name, window in (("global", -1), ("local", 64)):
        layout = attention.Stretches(bounds, max(lengths), window)
        mask = there[:, None, None, :]
        if window > 0:
            places = torch.arange(max(lengths), device=device)
            mask = mask & ((places[:, None] - places[None, :]).abs() <= window)[None, None]
            # A row of padding that may look nowhere would be no number.
            mask = mask | torch.eye(max(lengths), dtype=torch.bool, device=device)

        def by_sdpa(mask: Tensor = mask) -> Tensor:
            return scaled_dot_product_attention(*square, attn_mask=mask)

        def without(layout: attention.Stretches = layout) -> Tensor:
            return attention.attend_stretches(*narrow, layout, scaling=head**-0.5)

        alone = attention.attend_each(*line, layout, scaling=head**-0.5)
        errors = [
            float((found.float() - alone).abs().max())
            for found in (by_sdpa().transpose(1, 2)[there], without())
        ]
        slow, fast = (_milliseconds(work, device) for work in (by_sdpa, without))
        print(
            f"| {name} | {slow:.2f} | {fast:.2f} | {slow / fast:.2f} | {errors[0]:.1e} | "
            f"{errors[1]:.1e} |",
            flush=True,
        )


def encoders(
    name: str, config: object, documents: Sequence[Tensor], device: str, *, backward: bool
) -> None:
    """Print what a whole encoder needs for the documents, both ways."""
    lengths = [len(document) for document in documents]
    bounds = torch.tensor([0, *np.cumsum(lengths)], dtype=torch.int32, device=device)
    ids = pad_sequence(list(documents), batch_first=True).to(device)
    there = pad_sequence([torch.ones(n) for n in lengths], batch_first=True).to(device) > 0
    line = torch.cat(list(documents))[None].to(device)
    places = torch.cat([torch.arange(n) for n in lengths])[None].to(device)
    vectors, spent = [], []
    for way in ("sdpa", attention.NAME):
        torch.manual_seed(1)
        model = ModernBertModel._from_config(config, attn_implementation=way).to(device)
        window = model.config.sliding_window

        def states(way: str = way, model: ModernBertModel = model, window: int = window) -> Tensor:
            with torch.autocast(device, _kind(device), enabled=device == "cuda"):
                if way == "sdpa":
                    return model(input_ids=ids, attention_mask=there.long())[0][there]
                layouts = attention.stretches(bounds, longest=max(lengths), window=window)
                return model(input_ids=line, position_ids=places, attention_mask=layouts)[0][0]

        def work(states: Callable[[], Tensor] = states, model: ModernBertModel = model) -> Tensor:
            if not backward:
                with torch.inference_mode():
                    return states()
            model.zero_grad(set_to_none=True)
            found = states()
            torch.autograd.backward(found.float().square().mean())
            return found.detach()

        vectors.append(torch.stack([part.float().mean(0) for part in work().split(lengths)]))
        spent.append(_milliseconds(work, device))
    alike = torch.nn.functional.cosine_similarity(*vectors).min()
    print(
        f"| {name} | {spent[0]:.1f} | {spent[1]:.1f} | {spent[0] / spent[1]:.2f} | "
        f"{1 - float(alike):.1e} |",
        flush=True,
    )


def _kind(device: str) -> torch.dtype:
    return torch.bfloat16 if device == "cuda" else torch.float32


def _padded(states: Tensor, lengths: Sequence[int]) -> Tensor:
    """Return (tokens, heads, dim) states as (documents, heads, longest, dim)."""
    longest = max(lengths)
    rows = [pad(part, (0, 0, 0, 0, 0, longest - len(part))) for part in states.split(lengths)]
    return torch.stack(rows).transpose(1, 2).contiguous()


def _milliseconds(work: Callable[[], Tensor], device: str) -> float:
    """Return the time of the fastest of several calls; one before warms up."""
    work()
    best = float("inf")
    for _ in range(_REPEATS[device]):
        if device == "cuda":
            torch.cuda.synchronize()
        began = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return 1000 * best


if __name__ == "__main__":
    main()
