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
        hidden = self.model.embeddings(input_ids)
        for layer in self.layers:
            hidden = self._bert(layer, hidden) if self.bert else self._distil(layer, hidden)
        return normalize(hidden.mean(dim=1), dim=-1)

    def _bert(self, layer: Any, hidden: Tensor) -> Tensor:
        own = layer.attention.self
        mixed = attend(own.query(hidden), own.key(hidden), own.value(hidden), None, self.heads)
        hidden = layer.attention.output(mixed, hidden)
        return layer.output(layer.intermediate(hidden), hidden)

    def _distil(self, layer: Any, hidden: Tensor) -> Tensor:
        own = layer.attention
        mixed = attend(own.q_lin(hidden), own.k_lin(hidden), own.v_lin(hidden), None, self.heads)
        hidden = layer.sa_layer_norm(own.out_lin(mixed) + hidden)
        return layer.output_layer_norm(layer.ffn(hidden) + hidden)


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
