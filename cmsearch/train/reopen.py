"""From the files that ship back to a model folder: for other tools, probing, tuning on.

Weights come back as they were rounded for shipping; exporting them again rounds nothing
further, because every row has its largest weight on the scale's end already.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from transformers import ModernBertModel

from cmsearch.encoder.onnx import CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE, OnnxEncoder
from cmsearch.errors import TrainingError
from cmsearch.train.embeddings import SHIPPED
from cmsearch.train.export import open_tuned
from cmsearch.train.model import (
    SIZES,
    Shape,
    as_sentence_transformer,
    load_tokenizer,
    new_model,
)

# The products of a layer, in the order in which the graph has them.
_PRODUCTS = ("attn.Wqkv", "attn.Wo", "mlp.Wi", "mlp.Wo")
_PROBES = ("chest pain", "fracture of the lower end of the left radius", "htn", "type 2 diabetes")
_LEAST = 0.99


def exported_folder(source: str) -> Path | None:
    """Return the exported encoder that a path or ``shipped`` names, None if it is none."""
    folder = OnnxEncoder.load().folder if source == SHIPPED else Path(source).expanduser()
    return folder if (folder / CONFIG_FILE).is_file() else None


def export_folder(source: str, out: Path, *, max_tokens: int) -> Path:
    """Write an encoder as a folder for sentence-transformers and transformers; return it.

    Args:
        source: ``shipped``, a folder that ``export`` wrote, or a tuned model.
        out: the folder to write, which must not exist.
        max_tokens: where the texts of a tuned model are cut.

    Raises:
        TrainingError: there is no encoder of ours, or ``out`` exists.
    """
    exported = exported_folder(source)
    if exported is not None:
        return reopen(exported, out)
    if out.exists():
        raise TrainingError(f"{out} exists; name a new folder")
    model = open_tuned(Path(source).expanduser())
    model.max_seq_length = max_tokens
    model.save_pretrained(str(out))
    return out


def reopen(exported: Path, out: Path) -> Path:
    """Write an exported encoder as a sentence-transformers folder; return the folder.

    Args:
        exported: a folder that ``export`` wrote, of one of our sizes.
        out: the folder to write, which must not exist.

    Raises:
        TrainingError: the graph is none of ours, the folder does not compute what the
            exported encoder does, or ``out`` exists.
    """
    encoder = OnnxEncoder.load(exported)
    if out.exists():
        raise TrainingError(f"{out} exists; name a new folder")
    model = _model(exported)
    with tempfile.TemporaryDirectory() as scratch:
        core = Path(scratch) / "core"
        model.save_pretrained(core)
        load_tokenizer(exported / TOKENIZER_FILE).save_pretrained(core)
        whole = as_sentence_transformer(core, max_tokens=encoder.config.max_tokens, device="cpu")
        made = whole.encode(list(_PROBES), convert_to_numpy=True, show_progress_bar=False)
        made = made[:, : encoder.config.dim]
        made /= np.linalg.norm(made, axis=1, keepdims=True)
        agreed = float((made * encoder.encode(_PROBES)).sum(axis=1).min())
        if agreed < _LEAST:
            raise TrainingError(
                f"{exported / MODEL_FILE}: as a ModernBERT it computes something else (cosine "
                f"{agreed:.3f}); it is no encoder that cmsearch train export wrote"
            )
        whole.save_pretrained(str(out))
    return out


def _model(exported: Path) -> ModernBertModel:
    """Return the network with the weights of the graph."""
    graph = onnx.load(exported / MODEL_FILE).graph
    tables = {item.name: numpy_helper.to_array(item) for item in graph.initializer}
    try:
        state = _state(graph, tables)
        vocabulary, width = state["embeddings.tok_embeddings.weight"].shape
        inner = state["layers.0.mlp.Wo.weight"].shape[1]
    except (KeyError, ValueError) as error:
        raise TrainingError(
            f"{exported / MODEL_FILE}: {error} is not where an exported encoder has it"
        ) from error
    layers = sum(name.endswith("mlp.Wo.weight") for name in state)
    tokenizer = load_tokenizer(exported / TOKENIZER_FILE)
    model = new_model(_shape(layers, width, inner), tokenizer)
    if vocabulary != model.config.vocab_size:
        raise TrainingError(
            f"{exported}: {vocabulary} word pieces, the tokenizer has another number"
        )
    model.load_state_dict(state)
    return model.eval()


def _state(graph: onnx.GraphProto, tables: dict[str, NDArray[Any]]) -> dict[str, torch.Tensor]:
    rows = tables["embedding_rows"].astype(np.float32) * tables["embedding_scales"]
    state = {"embeddings.tok_embeddings.weight": rows}
    norms = [node.input[1] for node in graph.node if node.op_type == "LayerNormalization"]
    products = [node.input[1] for node in graph.node if node.op_type == "MatMulInteger"]
    if not products or len(products) % len(_PRODUCTS):
        raise ValueError(f"a multiple of {len(_PRODUCTS)} int8 products ({len(products)})")
    # Of equal tables the exporter keeps one, and the others as its names.
    same = {node.output[0]: node.input[0] for node in graph.node if node.op_type == "Identity"}
    # The first layer has no norm before its attention: that of the embeddings is one.
    names = [f"layers.{at // 2}.{('attn_norm', 'mlp_norm')[at % 2]}"
             for at in range(1, len(products) // 2)]  # fmt: skip
    for name, table in zip(["embeddings.norm", *names, "final_norm"], norms, strict=True):
        state[f"{name}.weight"] = tables[same.get(table, table)]
    for number, name in enumerate(products):
        layer, product = divmod(number, len(_PRODUCTS))
        stem = name.removesuffix("_quantized")
        shift = tables[f"{stem}_zero_point"].astype(np.float32)
        weight = (tables[name].astype(np.float32) - shift) * tables[f"{stem}_scale"]
        state[f"layers.{layer}.{_PRODUCTS[product]}.weight"] = weight.T
    return {name: torch.tensor(np.ascontiguousarray(table)) for name, table in state.items()}


def _shape(layers: int, width: int, inner: int) -> Shape:
    for shape in SIZES.values():
        if (shape.layers, shape.width, shape.inner) == (layers, width, inner):
            return shape
    raise TrainingError(
        f"{layers} layers of width {width} and {inner} inside are none of our sizes "
        f"({', '.join(SIZES)})"
    )
