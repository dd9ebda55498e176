"""The networks of Figure 3, with random weights where speed does not depend on them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    ModernBertConfig,
    ModernBertModel,
)

from cmsearch.train import attention
from cmsearch.train.inference import Inference, attend
from cmsearch.train.model import SIZES, Shape


@dataclass(frozen=True, slots=True)
class Network:
    """One model of the comparison.

    Attributes:
        name: what tables call it.
        make: returns the transformers model, random weights, given its attention.
        export: returns what is exported of it: ids in, vectors out, fused attention.
    """

    name: str
    make: Callable[[str], nn.Module]
    export: Callable[[Any], nn.Module]


class PostNorm(nn.Module):
    """BERT or DistilBERT as it is exported, with the attention that ours has.

    Args:
        model: the ``BertModel`` or ``DistilBertModel``.
    """

    def __init__(self, model: BertModel | DistilBertModel) -> None:
        super().__init__()
        self.model = model
        self.bert = isinstance(model, BertModel)
        config = model.config
        self.heads = config.num_attention_heads
        self.layers = model.encoder.layer if self.bert else model.transformer.layer

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return unit vectors, (batch, width), of token ids, (batch, tokens)."""
        hidden = self._layers(self.model.embeddings(input_ids), self._in_rows)
        return normalize(hidden.mean(dim=1), dim=-1)

    def in_line(self, ids: Tensor, places: Tensor, layout: attention.Stretches) -> Tensor:
        """Return the last states, (1, tokens, width), of texts that were laid end to end."""

        def attend_in_line(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
            heads = [states.view(ids.shape[1], self.heads, -1) for states in (query, key, value)]
            scaling = heads[0].shape[-1] ** -0.5
            return attention.attend_stretches(*heads, layout, scaling=scaling).view_as(query)

        return self._layers(self.model.embeddings(ids, position_ids=places), attend_in_line)

    def _in_rows(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        return attend(query, key, value, None, self.heads)

    def _layers(self, hidden: Tensor, mix: Callable[[Tensor, Tensor, Tensor], Tensor]) -> Tensor:
        for layer in self.layers:
            if self.bert:
                own = layer.attention.self
                mixed = mix(own.query(hidden), own.key(hidden), own.value(hidden))
                hidden = layer.attention.output(mixed, hidden)
                hidden = layer.output(layer.intermediate(hidden), hidden)
            else:
                own = layer.attention
                mixed = mix(own.q_lin(hidden), own.k_lin(hidden), own.v_lin(hidden))
                hidden = layer.sa_layer_norm(own.out_lin(mixed) + hidden)
                hidden = layer.output_layer_norm(layer.ffn(hidden) + hidden)
        return hidden


class InLine(nn.Module):
    """Any of the networks over texts laid end to end: no padding, attention of variable lengths.

    Args:
        model: the transformers model; a ModernBERT made with ``attention.NAME``.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model if isinstance(model, ModernBertModel) else PostNorm(model)

    def forward(self, ids: Tensor, places: Tensor, bounds: Tensor, longest: int) -> Tensor:
        """Return the mean vectors of texts, (texts, width).

        Args:
            ids, places: token ids and their places in their text, (1, tokens).
            bounds: where each text begins, and the end, (texts + 1,) int32.
            longest: no text is longer.
        """
        if isinstance(self.model, PostNorm):
            states = self.model.in_line(ids, places, attention.Stretches(bounds, longest))
        else:
            window = self.model.config.sliding_window
            layouts = attention.stretches(bounds, longest=longest, window=window)
            found = self.model(input_ids=ids, position_ids=places, attention_mask=layouts)
            states = found.last_hidden_state
        sizes = bounds.diff()
        owner = torch.repeat_interleave(sizes, output_size=ids.shape[1])
        sums = states.new_zeros((len(sizes), states.shape[2]), dtype=torch.float32)
        return sums.index_add_(0, owner, states[0].float()) / sizes[:, None]


def networks() -> list[Network]:
    """Return the four of the figure; BERT-base as BioClinicalBERT has it (28,996 pieces)."""
    return [
        Network("DistilBERT", _maker(DistilBertModel, DistilBertConfig()), PostNorm),
        Network("BERT-base", _maker(BertModel, BertConfig(vocab_size=28_996)), PostNorm),
        Network("ModernBERT-base", _maker(ModernBertModel, ModernBertConfig()), _modern),
        Network("cmsearch small", _maker(ModernBertModel, ours()), _modern),
    ]


def ours(shape: Shape = SIZES["small"], *, local_only: bool = False) -> ModernBertConfig:
    """Return the shape of our encoder; with every layer local, to see what those cost."""
    kinds = {"layer_types": ["sliding_attention"] * shape.layers} if local_only else {}
    return ModernBertConfig(
        vocab_size=24_000,
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        pad_token_id=0,
        bos_token_id=2,
        cls_token_id=2,
        eos_token_id=3,
        sep_token_id=3,
        **kinds,
    )


def _maker(kind: Any, config: Any) -> Callable[[str], nn.Module]:
    def make(attention: str) -> nn.Module:
        torch.manual_seed(1)
        model: nn.Module = kind._from_config(config, attn_implementation=attention).eval()
        return model

    return make


def _modern(model: Any) -> nn.Module:
    return Inference(model, dim=model.config.hidden_size).eval()
