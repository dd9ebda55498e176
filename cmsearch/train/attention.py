"""Attention over packed rows: no token sees another document, local layers stay local.

A row holds stretches of several documents. A layout says which tokens belong together;
transformers' ModernBERT hands it to ``packed_attention`` in the place of its masks. On the
CPU rows stay rows and local layers work in blocks of the window (``blocks``); on a card all
rows are one long line for the flash kernel of variable lengths (``stretches``). Both give
the hidden states that each document would have alone.
"""

from __future__ import annotations

import importlib.util
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad, scaled_dot_product_attention
from transformers import AttentionInterface

NAME = "cmsearch_packed"


@dataclass(frozen=True, slots=True)
class Blocks:
    """What layers of one kind see in rows that stay rows.

    Attributes:
        mask: True where a token may look, (rows, 1, length, length), or for blocks
            (rows x blocks, 1, window, 3 x window); None where everything is seen.
        window: tokens to either side, and the length of a block; 0 for a whole square.
    """

    mask: Tensor | None
    window: int = 0


@dataclass(frozen=True, slots=True)
class Stretches:
    """What layers of one kind see in rows that were laid end to end.

    Attributes:
        bounds: where each stretch begins, and the end, (stretches + 1,) int32; repeated
            ends are empty stretches.
        longest: no stretch is longer.
        window: tokens to either side; -1 for all of the stretch.
    """

    bounds: Tensor
    longest: int
    window: int = -1


Layouts = dict[str, Blocks] | dict[str, Stretches]


def blocks(segments: Tensor, *, window: int) -> dict[str, Blocks]:
    """Return the layouts of global and local layers for rows of segment numbers.

    Args:
        segments: (rows, length) integers; tokens of one number may see each other.
        window: how far local layers look to either side.
    """
    length = segments.shape[1]
    one = bool((segments == segments[:, :1]).all())
    same = None if one else (segments[:, None, :, None] == segments[:, None, None, :])
    if length >= 4 * window and length % window == 0:
        local = Blocks(_block_mask(segments, window), window)
    else:
        places = torch.arange(length, device=segments.device)
        near = ((places[:, None] - places[None, :]).abs() <= window)[None, None]
        local = Blocks(near if same is None else same & near)
    return {"full_attention": Blocks(same), "sliding_attention": local}


def stretches(bounds: Tensor, *, longest: int, window: int) -> dict[str, Stretches]:
    """Return the layouts of global and local layers for stretches laid end to end."""
    return {
        "full_attention": Stretches(bounds, longest),
        "sliding_attention": Stretches(bounds, longest, window),
    }


def bounds_of(segments: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return where the stretches of rows laid end to end begin, and the end, int32.

    Args:
        segments: (rows, length); neighbours of one number in a row are one stretch.
    """
    begins = np.ones(segments.shape, bool)
    begins[:, 1:] = segments[:, 1:] != segments[:, :-1]
    return np.append(np.flatnonzero(begins), segments.size).astype(np.int32)


def _block_mask(segments: Tensor, window: int) -> Tensor:
    rows, length = segments.shape
    count = length // window
    around = pad(segments, (window, window), value=-2).unfold(1, 3 * window, window)
    own = segments.view(rows, count, window)
    query = torch.arange(window, device=segments.device)[:, None]
    key = torch.arange(3 * window, device=segments.device)[None, :] - window
    near = (query - key).abs() <= window
    seen = (own[:, :, :, None] == around[:, :, None, :]) & near
    return seen.reshape(rows * count, 1, window, 3 * window)


def packed_attention(
    module: torch.nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Blocks | Stretches,
    *,
    scaling: float,
    **_: Any,
) -> tuple[Tensor, None]:
    """Return the attention of (rows, heads, length, dim) states, (rows, length, heads, dim)."""
    layout = attention_mask
    if isinstance(layout, Stretches):
        own, near, seen = (states.squeeze(0).transpose(0, 1) for states in (query, key, value))
        return attend_stretches(own, near, seen, layout, scaling=scaling).unsqueeze(0), None
    if layout.window:
        return _attend_blocks(query, key, value, layout, scaling), None
    mixed = scaled_dot_product_attention(query, key, value, attn_mask=layout.mask, scale=scaling)
    return mixed.transpose(1, 2), None


def _attend_blocks(
    query: Tensor, key: Tensor, value: Tensor, layout: Blocks, scaling: float
) -> Tensor:
    """Let each block of the window's length see itself and the blocks beside it."""
    rows, heads, length, dim = query.shape
    window = layout.window
    count = length // window
    own = query.view(rows, heads, count, window, dim).transpose(1, 2).flatten(0, 1)
    near_key, near_value = (
        pad(states, (0, 0, window, window))
        .unfold(2, 3 * window, window)
        .permute(0, 2, 1, 4, 3)
        .flatten(0, 1)
        for states in (key, value)
    )
    mixed = scaled_dot_product_attention(
        own, near_key, near_value, attn_mask=layout.mask, scale=scaling
    )
    mixed = mixed.view(rows, count, heads, window, dim).transpose(2, 3)
    return mixed.reshape(rows, length, heads, dim)


def attend_stretches(
    query: Tensor, key: Tensor, value: Tensor, layout: Stretches, *, scaling: float
) -> Tensor:
    """Return the attention within each stretch of (tokens, heads, dim) states, same shape.

    On a card by the flash kernel that torch carries (2.10 and later), else by that of the
    flash-attn package; elsewhere stretch by stretch.
    """
    bounds, longest, window = layout.bounds, layout.longest, layout.window
    if query.is_cuda and _TORCH_KERNEL:
        from torch.nn.attention.varlen import varlen_attn

        found: Tensor = varlen_attn(
            query, key, value, bounds, bounds, longest, longest, scale=scaling,
            window_size=(window, window),
        )  # type: ignore[assignment]  # fmt: skip
        return found
    if query.is_cuda and _PACKAGE_KERNEL:
        from flash_attn import flash_attn_varlen_func

        packed: Tensor = flash_attn_varlen_func(
            query, key, value, bounds, bounds, longest, longest, softmax_scale=scaling,
            window_size=(window, window),
        )  # fmt: skip
        return packed
    return attend_each(query, key, value, layout, scaling)


def _torch_kernel() -> bool:
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return False
    # Torch before 2.10 knows no windows.
    return "window_size" in inspect.signature(varlen_attn).parameters


_TORCH_KERNEL = _torch_kernel()
_PACKAGE_KERNEL = importlib.util.find_spec("flash_attn") is not None
# Whether a card has a kernel for stretches; without one, rows with masks are faster there.
KERNEL = _TORCH_KERNEL or _PACKAGE_KERNEL


def attend_each(
    query: Tensor, key: Tensor, value: Tensor, layout: Stretches, scaling: float
) -> Tensor:
    """Return the attention within each stretch, one after the other: the reference."""
    parts = []
    places = layout.bounds.tolist()
    for first, last in zip(places, places[1:], strict=False):
        own, near, seen = (states[first:last].transpose(0, 1) for states in (query, key, value))
        mask = None
        if layout.window >= 0:
            at = torch.arange(last - first, device=query.device)
            mask = (at[:, None] - at[None, :]).abs() <= layout.window
        mixed = scaled_dot_product_attention(own, near, seen, attn_mask=mask, scale=scaling)
        parts.append(mixed.transpose(0, 1))
    return torch.cat(parts)


AttentionInterface.register(NAME, packed_attention)
