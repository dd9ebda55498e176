"""The masked language model: built or opened, checked, and what it answers for a batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import (
    AutoConfig,
    ModernBertConfig,
    ModernBertForMaskedLM,
    PreTrainedTokenizerFast,
)
from transformers.models.modernbert.modeling_modernbert import ModernBertRotaryEmbedding

from cmsearch.encoder.hub import find_folder
from cmsearch.errors import TrainingError
from cmsearch.train import attention
from cmsearch.train.model import new_config, shape_of

TOP = (1, 5, 10, 25)


@dataclass(frozen=True, slots=True)
class Answers:
    """How well hidden tokens were told: sums over ``count`` of them."""

    loss: Tensor
    count: int
    right: tuple[int, ...] = ()


def new_mlm(
    size: str, tokenizer: PreTrainedTokenizerFast, *, local_theta: float, theta: float, seed: int
) -> ModernBertForMaskedLM:
    """Return a ModernBERT with a head for masked tokens and random weights."""
    torch.manual_seed(seed)
    config = new_config(shape_of(size), tokenizer)
    config.rope_parameters["sliding_attention"]["rope_theta"] = local_theta
    config.rope_parameters["full_attention"]["rope_theta"] = theta
    return ModernBertForMaskedLM._from_config(config, attn_implementation=attention.NAME)


def open_mlm(name_or_path: str, tokenizer: PreTrainedTokenizerFast) -> ModernBertForMaskedLM:
    """Return a published masked language model, if it is the ModernBERT that it says.

    Raises:
        TrainingError: the checkpoint is of another architecture, lacks weights, or was
            made with another vocabulary.
    """
    folder, _ = find_folder(name_or_path)
    config = AutoConfig.from_pretrained(folder, local_files_only=True)
    named = getattr(config, "architectures", None) or ["nothing"]
    if not isinstance(config, ModernBertConfig) or named[0] != "ModernBertForMaskedLM":
        raise TrainingError(
            f"{name_or_path}: a {config.model_type} checkpoint made by {named[0]}; only a "
            "ModernBertForMaskedLM can be gone on from"
        )
    if config.vocab_size < len(tokenizer):
        raise TrainingError(
            f"{name_or_path}: {config.vocab_size} token embeddings, but the shards were made with "
            f"a tokenizer of {len(tokenizer)}; build them with the checkpoint's tokenizer.json"
        )
    model, info = ModernBertForMaskedLM.from_pretrained(
        folder,
        attn_implementation=attention.NAME,
        local_files_only=True,
        output_loading_info=True,
        dtype=torch.float32,
    )
    wrong = sorted({*info["missing_keys"], *info["unexpected_keys"], *info["mismatched_keys"]})
    if wrong:
        raise TrainingError(
            f"{name_or_path}: {len(wrong)} tensors are not those of a ModernBERT, {wrong[0]} among "
            "them; it is not the architecture that its configuration names"
        )
    check_architecture(model)
    return model


def check_architecture(model: ModernBertForMaskedLM) -> None:
    """Refuse a model that is no ModernBERT in what runs, whatever its configuration says.

    Raises:
        TrainingError: naming what differs.
    """
    core, config = model.model, model.config
    kinds = [layer.attention_type for layer in core.layers]
    faults = []
    if kinds[0] != "full_attention" or set(kinds) != {"full_attention", "sliding_attention"}:
        faults.append(f"its layers do not alternate global and local attention ({kinds})")
    for layer in core.layers:
        wide = layer.mlp.Wi.out_features
        if wide != 2 * layer.mlp.Wo.in_features or "gelu" not in config.hidden_activation:
            faults.append("its feed-forward layers are no GeGLU")
            break
    biased = [name for name, _ in core.named_parameters() if name.endswith(".bias")]
    if biased:
        faults.append(f"it has biases ({biased[0]})")
    if model.decoder.weight is not core.embeddings.tok_embeddings.weight:
        faults.append("its output does not share the token embeddings")
    if not hasattr(core, "rotary_emb") or any("position_emb" in n for n, _ in core.named_modules()):
        faults.append("its positions are not rotary")
    if faults:
        raise TrainingError(f"no ModernBERT: {'; '.join(faults)}")


def set_theta(model: ModernBertForMaskedLM, theta: float) -> None:
    """Give the global layers another RoPE base, as a context extension does."""
    config = model.config
    if config.rope_parameters["full_attention"]["rope_theta"] == theta:
        return
    config.rope_parameters["full_attention"]["rope_theta"] = theta
    device = next(model.parameters()).device
    model.model.rotary_emb = ModernBertRotaryEmbedding(config, device=device).to(device)


def tell(model: ModernBertForMaskedLM, states: Tensor, hidden: Tensor) -> Tensor:
    """Return the logits of hidden tokens alone, (hidden, pieces).

    Args:
        model: its head and decoder are run for the hidden tokens only.
        states: last hidden states, (rows, length, width).
        hidden: numbers of the hidden tokens over all rows, (hidden,).
    """
    logits: Tensor = model.decoder(model.head(states.flatten(0, 1)[hidden]))
    return logits


def answers(logits: Tensor, gold: Tensor, *, rank: bool) -> Answers:
    """Return the summed loss of hidden tokens, and how often they are told right.

    Args:
        logits: (hidden, pieces).
        gold: what stood there, (hidden,).
        rank: whether to count right answers among the first 1, 5, 10 and 25.
    """
    logits = logits.float()
    loss = cross_entropy(logits, gold, reduction="sum")
    if not rank:
        return Answers(loss, len(gold))
    hits = logits.topk(min(max(TOP), logits.shape[1]), dim=1).indices == gold[:, None]
    return Answers(loss, len(gold), tuple(int(hits[:, :k].sum()) for k in TOP))
