"""Attention over packed rows: no token sees another document, local layers stay local.

A row holds stretches of several documents. ``Layout`` says which tokens belong together;
transformers' ModernBERT hands it to ``packed_attention`` in the place of its masks.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "cmsearch_packed"


@dataclass(frozen=True, slots=True)
class Layout:
    """What the layers of one kind may see.

    Attributes:
        mask: True where a token may look, (rows, 1, length, length), or for blocks
            (rows x blocks, 1, window, 3 x window); None where everything is seen.
        window: tokens to either side, and the length of a block; 0 for a whole square.
    """

    mask: Tensor | None
    window: int = 0


def layouts(segments: Tensor, *, window: int) -> dict[str, Layout]:
    """Return the layouts of global and local layers for rows of segment numbers.

    Args:
        segments: (rows, length) integers; tokens of one number may see each other.
        window: how far local layers look to either side.
    """
    length = segments.shape[1]
    one = bool((segments == segments[:, :1]).all())
    same = None if one else (segments[:, None, :, None] == segments[:, None, None, :])
    if length >= 4 * window and length % window == 0:
        return {
            "full_attention": Layout(same),
            "sliding_attention": Layout(_block_mask(segments, window), window),
        }
    places = torch.arange(length, device=segments.device)
    near = ((places[:, None] - places[None, :]).abs() <= window)[None, None]
    return {
        "full_attention": Layout(same),
        "sliding_attention": Layout(near if same is None else same & near),
    }


def _block_mask(segments: Tensor, window: int) -> Tensor:
    rows, length = segments.shape
    blocks = length // window
    around = pad(segments, (window, window), value=-2).unfold(1, 3 * window, window)
    own = segments.view(rows, blocks, window)
    query = torch.arange(window, device=segments.device)[:, None]
    key = torch.arange(3 * window, device=segments.device)[None, :] - window
    near = (query - key).abs() <= window
    seen = (own[:, :, :, None] == around[:, :, None, :]) & near
    return seen.reshape(rows * blocks, 1, window, 3 * window)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Layout,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return the attention of (rows, heads, length, dim) states, (rows, length, heads, dim)."""
    layout = attention_mask
    if not layout.window:
        mixed = scaled_dot_product_attention(
            query, key, value, attn_mask=layout.mask, dropout_p=dropout, scale=scaling
        )
        return mixed.transpose(1, 2), None
    rows, heads, length, dim = query.shape
    window = layout.window
    blocks = length // window
    # (rows x blocks, heads, window or 3 x window, dim): a block sees itself and both beside it.
    own = query.view(rows, heads, blocks, window, dim).transpose(1, 2).flatten(0, 1)
    near_key, near_value = (
        pad(states, (0, 0, window, window))
        .unfold(2, 3 * window, window)
        .permute(0, 2, 1, 4, 3)
        .flatten(0, 1)
        for states in (key, value)
    )
    mixed = scaled_dot_product_attention(
        own, near_key, near_value, attn_mask=layout.mask, dropout_p=dropout, scale=scaling
    )
    mixed = mixed.view(rows, blocks, heads, window, dim).transpose(2, 3)
    return mixed.reshape(rows, length, heads, dim), None


AttentionInterface.register(NAME, packed_attention)
