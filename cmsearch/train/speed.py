"""How much arithmetic a step needs, and how much this machine can do."""

from __future__ import annotations

import time

import torch
from transformers import ModernBertForMaskedLM

from cmsearch.train.feed import Step, attended

_SIDE = {"cpu": 1024, "cuda": 8192}


def step_flops(model: ModernBertForMaskedLM, step: Step) -> float:
    """Return the floating-point operations that a step needs, forward and backward.

    Matrices count 6 for each weight and token, the head and the output only for hidden
    tokens, attention 12 for each pair of tokens that may see each other and dimension.
    Norms, activations and the optimizer do not count. Source: Kaplan et al.,
    arXiv 2001.08361, appendix B; Chowdhery et al., arXiv 2204.02311, appendix B.
    """
    inside = sum(p.numel() for layer in model.model.layers for p in layer.parameters())
    above = model.head.dense.weight.numel() + model.decoder.weight.numel()
    kinds = list(model.config.layer_types)
    wide = kinds.count("full_attention")
    total = 6.0 * (inside * step.tokens + above * step.hidden)
    for rows in step.micro:
        far, near = attended(rows, window=model.config.sliding_window)
        pairs = wide * far + (len(kinds) - wide) * near
        total += 12.0 * model.config.hidden_size * pairs
    return total


def matrix_rate(device: str) -> float:
    """Return the operations a second of a large matrix product: bf16 on a card, else fp32."""
    side = _SIDE[device]
    kind = torch.bfloat16 if device == "cuda" else torch.float32
    one = torch.randn(side, side, device=device, dtype=kind)
    best = 0.0
    for _ in range(4):
        began = time.perf_counter()
        repeats = 4 if device == "cpu" else 20
        for _ in range(repeats):
            one @ one
        if device == "cuda":
            torch.cuda.synchronize()
        best = max(best, repeats * 2 * side**3 / (time.perf_counter() - began))
    return best
