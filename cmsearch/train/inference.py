"""ModernBERT as it is exported: fused attention, local layers in blocks, no padding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, normalize, scaled_dot_product_attention
from transformers import ModernBertModel
from transformers.models.modernbert.modeling_modernbert import ModernBertEncoderLayer

# ONNX Runtime's own operators: attention that holds no square for long texts, and RoPE.
OWN_OPERATORS = "com.microsoft"
BLOCK = 128
# Up to here a local layer is one block: as much work, and fewer pieces.
ONE_BLOCK = 256
# What a score loses that must not count: e^-60 is nothing, and yet a normal number. Lower
# ones leave denormal weights, with which a product takes twice as long.
_FAR = -60.0


class Inference(nn.Module):
    """ModernBERT with mean pooling, written for export: texts of one length in, vectors out.

    Equal to ``ModernBertModel`` + mean pooling + normalisation on texts without padding
    (tested). Queries of a local layer go in blocks of 128; each block sees its own keys
    and those a window before and after it, so that time and memory of local layers grow
    with the text and not with its square.

    Args:
        model: the encoder.
        dim: how many leading dimensions of the pooled vector are kept.
    """

    def __init__(self, model: ModernBertModel, *, dim: int) -> None:
        super().__init__()
        config = model.config
        self.model = model
        self.dim = dim
        self.heads = config.num_attention_heads
        self.head = config.hidden_size // config.num_attention_heads
        self.window = config.local_attention // 2
        self.kinds = list(config.layer_types)
        for kind in set(self.kinds):
            theta = config.rope_parameters[kind]["rope_theta"]
            steps = torch.arange(0, self.head, 2, dtype=torch.float32) / self.head
            self.register_buffer(f"frequency_{kind}", 1.0 / theta**steps, persistent=False)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return unit vectors, (batch, dim), of token ids, (batch, tokens) int64."""
        hidden = self.model.embeddings.norm(self.model.embeddings.tok_embeddings(input_ids))
        tokens = torch._shape_as_tensor(input_ids)[1]
        places = _range(tokens)
        blocks = Blocks(tokens, self.window)
        turns = {}
        for kind in sorted(set(self.kinds)):
            angles = places.to(hidden.dtype)[:, None] * getattr(self, f"frequency_{kind}")[None, :]
            turns[kind] = (angles.cos(), angles.sin())
        for kind, layer in zip(self.kinds, self.model.layers, strict=True):
            local = None if kind == "full_attention" else blocks
            hidden = hidden + self._attend(layer, hidden, turns[kind], local)
            wide, gate = layer.mlp.Wi(layer.mlp_norm(hidden)).chunk(2, dim=-1)
            hidden = hidden + layer.mlp.Wo(gelu(wide) * gate)
        pooled = self.model.final_norm(hidden).mean(dim=1)
        return normalize(pooled[:, : self.dim], dim=-1)

    def _attend(
        self,
        layer: ModernBertEncoderLayer,
        hidden: Tensor,
        turn: tuple[Tensor, Tensor],
        blocks: Blocks | None,
    ) -> Tensor:
        query, key, value = layer.attn.Wqkv(layer.attn_norm(hidden)).chunk(3, dim=-1)
        query = turn_by_place(query, *turn, self.heads)
        key = turn_by_place(key, *turn, self.heads)
        if blocks is None:
            mixed = attend(query, key, value, None, self.heads)
        else:
            mixed = blocks.joined(
                attend(
                    blocks.queries(query), blocks.keys(key), blocks.keys(value),
                    blocks.mask(hidden), self.heads,
                ),
                hidden,
            )  # fmt: skip
        return layer.attn.Wo(mixed)


class Blocks:
    """How a text of some length is cut for local attention.

    One block without margins for short texts; else blocks of 128 with a window's width
    of keys more on either side. Sizes are tensors, so that they stay open in the export.

    Args:
        tokens: length of the text, int64, ().
        window: how many tokens a token sees on either side.
    """

    def __init__(self, tokens: Tensor, window: int) -> None:
        several = (tokens > ONE_BLOCK).to(torch.int64)
        size = several * BLOCK + (1 - several) * tokens
        margin = several * window
        self.tokens = tokens
        self.count = (tokens + size - 1) // size
        self.size = size
        first = _range(self.count)[:, None] * size
        self.asking = first + _range(size)[None, :]
        self.asked = first - margin + _range(size + 2 * margin)[None, :]
        far = (self.asking[:, :, None] - self.asked[:, None, :]).abs() > window
        outside = (self.asked < 0) | (self.asked >= tokens)
        self.hidden = far | outside[:, None, :]

    def queries(self, states: Tensor) -> Tensor:
        """Return (batch, tokens, width) as (batch * blocks, size, width)."""
        return self._picked(states, self.asking)

    def keys(self, states: Tensor) -> Tensor:
        """Return (batch, tokens, width) as (batch * blocks, size with margins, width)."""
        return self._picked(states, self.asked)

    def mask(self, states: Tensor) -> Tensor:
        """Return what is added to the scores, (batch * blocks, 1, size, keys)."""
        mask = self.hidden.to(states.dtype) * _FAR
        return mask[:, None].repeat(states.shape[0], 1, 1, 1)

    def joined(self, blocks: Tensor, states: Tensor) -> Tensor:
        """Return (batch * blocks, size, width) as (batch, tokens, width) again."""
        whole = blocks.reshape(states.shape[0], -1, states.shape[2])
        return whole[:, : states.shape[1]]

    def _picked(self, states: Tensor, places: Tensor) -> Tensor:
        kept = places.reshape(-1).clamp(min=0).minimum(self.tokens - 1)
        picked = states.index_select(1, kept)
        # The number of rows follows from the others: batch * blocks.
        return picked.reshape(-1, places.shape[1], states.shape[2])


def attend(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, heads: int) -> Tensor:
    """Return attention of (batch, tokens, width) states in heads; one operator in the export.

    Args:
        query, key, value: (batch, asking, width), (batch, asked, width) twice.
        mask: added to the scores, (batch, 1, asking, asked); None where all see all.
        heads: how many heads.
    """
    mixed: Tensor = _Attention.apply(query, key, value, mask, heads)  # type: ignore[no-untyped-call]
    return mixed


def turn_by_place(states: Tensor, cosine: Tensor, sine: Tensor, heads: int) -> Tensor:
    """Return (batch, tokens, width) states turned by their places (RoPE, arXiv 2104.09864).

    Args:
        states: whose heads are turned, their halves as the pairs.
        cosine, sine: of the angles, (tokens, half the width of a head).
        heads: how many heads.
    """
    turned: Tensor = _Turn.apply(states, cosine, sine, heads)  # type: ignore[no-untyped-call]
    return turned


class _Attention(torch.autograd.Function):
    """``attend``, and what it is in the export."""

    @staticmethod
    def forward(
        ctx: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, heads: int
    ) -> Tensor:
        query, key, value = (_heads(part, heads).transpose(1, 2) for part in (query, key, value))
        mixed = scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2).flatten(2)

    @staticmethod
    def symbolic(g: Any, query: Any, key: Any, value: Any, mask: Any, heads: int) -> Any:
        inputs = [query, key, value]
        if mask is not None:
            inputs += [_nothing(g), _nothing(g), mask]
        made = g.op(f"{OWN_OPERATORS}::MultiHeadAttention", *inputs, num_heads_i=heads)
        return made.setType(query.type())


class _Turn(torch.autograd.Function):
    """``turn_by_place``, and what it is in the export."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, cosine: Tensor, sine: Tensor, heads: int) -> Tensor:
        first, second = _heads(states, heads).chunk(2, dim=-1)
        cosine, sine = cosine[:, None], sine[:, None]
        turned = [first * cosine - second * sine, second * cosine + first * sine]
        return torch.cat(turned, dim=-1).flatten(2)

    @staticmethod
    def symbolic(g: Any, states: Any, cosine: Any, sine: Any, heads: int) -> Any:
        # One offset for all texts: they begin at place 0.
        start = g.op("Constant", value_t=torch.zeros(1, dtype=torch.int64))
        made = g.op(
            f"{OWN_OPERATORS}::RotaryEmbedding", states, start, cosine, sine,
            num_heads_i=heads, rotary_embedding_dim_i=0,
        )  # fmt: skip
        return made.setType(states.type())


def _range(count: Tensor) -> Tensor:
    """Return 0, 1, ... of a number that stays open in the export."""
    numbers: Tensor = torch.arange(count)  # type: ignore[call-overload]
    return numbers


def _heads(states: Tensor, heads: int) -> Tensor:
    """Return (batch, tokens, width) as (batch, tokens, heads, width of a head)."""
    return states.reshape(*states.shape[:2], heads, -1)


def _nothing(g: Any) -> Any:
    """Return an input that is left out."""
    empty = g.op("prim::Constant")
    empty.setType(torch._C.OptionalType.ofTensor())
    return empty
