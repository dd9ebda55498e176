"""The encoder's architecture: ModernBERT through transformers' own classes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer
from transformers import ModernBertConfig, ModernBertModel, PreTrainedTokenizerFast

from cmsearch.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Shape:
    """The dimensions of an encoder."""

    layers: int
    width: int
    inner: int
    heads: int


SIZES = {
    "micro": Shape(layers=2, width=128, inner=256, heads=2),
    "tiny": Shape(layers=4, width=256, inner=512, heads=4),
    "small": Shape(layers=6, width=384, inner=576, heads=6),
    "base": Shape(layers=12, width=512, inner=768, heads=8),
}
MAX_TOKENS = 8192


def shape_of(size: str) -> Shape:
    """Return the dimensions behind the one dial ``size``."""
    if size not in SIZES:
        raise TrainingError(f"no size is called {size!r}; the sizes are {', '.join(SIZES)}")
    return SIZES[size]


def load_tokenizer(path: Path) -> PreTrainedTokenizerFast:
    """Return the trained tokenizer (``tokenizer.json``) as transformers uses it."""
    return PreTrainedTokenizerFast(
        tokenizer_file=str(path),
        unk_token="[UNK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        mask_token="[MASK]",
        model_max_length=MAX_TOKENS,
        model_input_names=["input_ids", "attention_mask"],
    )


def tokenizer_of(folder: Path) -> Path:
    """Return the tokenizer file of a model's folder.

    Raises:
        TrainingError: there is none.
    """
    path = folder / "tokenizer.json"
    if not path.is_file():
        raise TrainingError(f"{folder}: no tokenizer.json; name the folder of a pretrained model")
    return path


def new_model(
    shape: Shape, tokenizer: PreTrainedTokenizerFast, *, seed: int = 1
) -> ModernBertModel:
    """Return a ModernBERT with random weights: RoPE, GeGLU, alternating attention."""
    torch.manual_seed(seed)
    return ModernBertModel._from_config(new_config(shape, tokenizer), attn_implementation="sdpa")


def new_config(shape: Shape, tokenizer: PreTrainedTokenizerFast) -> ModernBertConfig:
    """Return the architecture's configuration for a shape and a vocabulary."""
    return ModernBertConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.width,
        intermediate_size=shape.inner,
        num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads,
        max_position_embeddings=MAX_TOKENS,
        global_attn_every_n_layers=3,
        local_attention=128,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.cls_token_id,
        cls_token_id=tokenizer.cls_token_id,
        eos_token_id=tokenizer.sep_token_id,
        sep_token_id=tokenizer.sep_token_id,
    )


def pretrained(folder: Path, *, width: int, pieces: int) -> ModernBertModel:
    """Return the encoder of a pretrained folder, its head for masked tokens left out.

    Raises:
        TrainingError: the folder holds no ModernBERT of that width and vocabulary.
    """
    if not (folder / "model.safetensors").is_file():
        raise TrainingError(f"{folder}: no pretrained model; name the model folder of a run")
    config = ModernBertConfig.from_pretrained(folder, local_files_only=True)
    if config.model_type != "modernbert" or config.hidden_size != width:
        raise TrainingError(
            f"{folder}: a {config.model_type} of width {config.hidden_size}; the recipe's size "
            f"needs a modernbert of width {width}"
        )
    if config.vocab_size < pieces:
        raise TrainingError(f"{folder}: its tokenizer has more pieces than it has embeddings")
    model, info = ModernBertModel.from_pretrained(
        folder, attn_implementation="sdpa", local_files_only=True, output_loading_info=True,
        dtype=torch.float32,
    )  # fmt: skip
    if info["missing_keys"]:
        raise TrainingError(f"{folder}: the weights lack {sorted(info['missing_keys'])[0]}")
    return model


def take_embeddings(model: ModernBertModel, weights: torch.Tensor) -> None:
    """Start the token embeddings from given ones, (tokens, width) float32.

    Rows are brought to the scale that the architecture's own initialisation has, so
    that the layers above meet what they were made for.
    """
    table = model.embeddings.tok_embeddings.weight
    if tuple(weights.shape) != tuple(table.shape):
        raise TrainingError(
            f"token embeddings of shape {tuple(weights.shape)} do not fit {tuple(table.shape)}"
        )
    with torch.no_grad():
        table.copy_(weights / weights.std() * 0.02)


def as_sentence_transformer(folder: Path, *, max_tokens: int, device: str) -> SentenceTransformer:
    """Return a saved model with mean pooling and vectors of length 1 on top."""
    transformer = Transformer(str(folder), max_seq_length=max_tokens)
    pooling = Pooling(transformer.get_embedding_dimension(), pooling_mode="mean")
    return SentenceTransformer(modules=[transformer, pooling, Normalize()], device=device)


def device() -> str:
    """Return the device that training runs on."""
    return "cuda" if torch.cuda.is_available() else "cpu"
