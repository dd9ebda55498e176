"""From a tuned encoder to the files that ship: int8 ONNX, tokenizer, configuration."""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from sentence_transformers import SentenceTransformer
from torch import nn
from transformers import ModernBertModel

from cmsearch.encoder.onnx import (
    CONFIG_FILE,
    MODEL_FILE,
    TOKENIZER_FILE,
    OnnxEncoder,
    ShippedConfig,
    sha256_of,
)
from cmsearch.errors import TrainingError
from cmsearch.train.inference import OWN_OPERATORS, Inference

OPSET = 18


def export(model_folder: Path, out: Path, *, name: str, dim: int, max_tokens: int) -> Path:
    """Write the encoder's int8 ONNX, tokenizer and configuration; return the folder.

    Args:
        model_folder: a tuned model as ``tune`` leaves it.
        out: the folder to write; replaced as a whole.
        name: the encoder's name, with its version.
        dim: how many leading (Matryoshka) dimensions its vectors keep.
        max_tokens: where longer texts are cut.

    Raises:
        TrainingError: the folder holds no ModernBERT encoder with mean pooling and ``dim``
            dimensions, or ``out`` holds something else than an exported encoder.
    """
    core = open_tuned(model_folder)[0].auto_model
    if not 0 < dim <= core.config.hidden_size:
        raise TrainingError(
            f"{model_folder}: vectors have {core.config.hidden_size} dimensions; {dim} cannot be "
            "kept"
        )
    if out.exists() and not (out / CONFIG_FILE).is_file() and (out.is_file() or any(out.iterdir())):
        raise TrainingError(
            f"{out} holds something else than an exported encoder, and exporting replaces all "
            "of it; name a new folder"
        )
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / "out"
        staged.mkdir()
        write_int8(Inference(core, dim=dim).eval(), staged / MODEL_FILE)
        tokenizer = json.loads((model_folder / "tokenizer.json").read_text(encoding="utf-8"))
        tokenizer["padding"] = tokenizer["truncation"] = None
        (staged / TOKENIZER_FILE).write_text(
            json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8"
        )
        config = ShippedConfig(
            name=name,
            sha256=sha256_of(staged / MODEL_FILE, staged / TOKENIZER_FILE),
            pooling="mean",
            dim=dim,
            max_tokens=max_tokens,
            pad_id=core.config.pad_token_id,
        )
        (staged / CONFIG_FILE).write_text(json.dumps(asdict(config), indent=1), encoding="utf-8")
        shutil.rmtree(out, ignore_errors=True)
        shutil.copytree(staged, out)
    return out


def open_tuned(folder: Path) -> SentenceTransformer:
    """Return a tuned model, made sure that ``Inference`` computes the same.

    Raises:
        TrainingError: the folder holds no ModernBERT encoder with mean pooling.
    """
    if not folder.is_dir():
        raise TrainingError(
            f"{folder}: no such folder; name the one that tuning left, runs/X/model"
        )
    try:
        loaded = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
        core = loaded[0].auto_model.eval()
    except (OSError, ValueError, KeyError, AttributeError, IndexError) as error:
        raise TrainingError(f"{folder}: no encoder that can be opened ({error})") from error
    if not isinstance(core, ModernBertModel):
        raise TrainingError(f"{folder}: holds a {type(core).__name__}, not a ModernBERT")
    pooling = getattr(loaded[1], "pooling_mode", None) if len(loaded) > 1 else None
    if pooling != "mean":
        raise TrainingError(f"{folder}: pools by {pooling}; only mean pooling can be exported")
    return loaded


def write_int8(network: nn.Module, path: Path) -> None:
    """Write a network, token ids in and vectors out, as ONNX with int8 weights."""
    with tempfile.TemporaryDirectory() as scratch:
        raw = Path(scratch) / "fp32.onnx"
        write_fp32(network, raw)
        _quantise(raw, path)


def write_fp32(network: nn.Module, path: Path) -> None:
    """Write a network, token ids in and vectors out, as ONNX with weights as they are."""
    ids = torch.ones((2, 7), dtype=torch.int64)
    torch.onnx.export(
        network,
        (ids,),
        str(path),
        input_names=["input_ids"],
        output_names=["vectors"],
        dynamic_axes={"input_ids": {0: "batch", 1: "tokens"}, "vectors": {0: "batch"}},
        opset_version=OPSET,
        custom_opsets={OWN_OPERATORS: 1},
        dynamo=False,
    )


def _quantise(raw: Path, path: Path) -> None:
    """Write the model with int8 weights.

    Matrices: ONNX Runtime's dynamic quantisation, per channel, in seven bits, because
    eight overflow on processors without VNNI and would give another ranking there.
    The embedding table: int8 rows, each with its own scale.
    """
    from onnxruntime.quantization import QuantType, quantize_dynamic

    halfway = raw.with_name("int8.onnx")
    quantize_dynamic(
        raw,
        halfway,
        op_types_to_quantize=["MatMul"],
        per_channel=True,
        reduce_range=True,
        weight_type=QuantType.QInt8,
    )
    model = onnx.load(halfway)
    _quantise_embeddings(model)
    onnx.save(model, path)


def _quantise_embeddings(model: onnx.ModelProto) -> None:
    graph = model.graph
    tables = {item.name: item for item in graph.initializer}
    gather = next(
        node
        for node in graph.node
        if node.op_type == "Gather" and node.input[0] in tables and node.input[1] == "input_ids"
    )
    table = numpy_helper.to_array(tables[gather.input[0]])
    scale = np.abs(table).max(axis=1, keepdims=True) / 127.0
    scale[scale == 0] = 1.0
    rows = np.round(table / scale).astype(np.int8)
    graph.initializer.remove(tables[gather.input[0]])
    graph.initializer.extend(
        [
            numpy_helper.from_array(rows, "embedding_rows"),
            numpy_helper.from_array(scale.astype(np.float32), "embedding_scales"),
        ]
    )
    make = onnx.helper.make_node
    nodes = [
        make("Gather", ["embedding_rows", "input_ids"], ["embedding_int8"]),
        make("Cast", ["embedding_int8"], ["embedding_float"], to=onnx.TensorProto.FLOAT),
        make("Gather", ["embedding_scales", "input_ids"], ["embedding_scale"]),
        make("Mul", ["embedding_float", "embedding_scale"], [gather.output[0]]),
    ]
    place = list(graph.node).index(gather)
    graph.node.remove(gather)
    for offset, node in enumerate(nodes):
        graph.node.insert(place + offset, node)


def agreement(model_folder: Path, exported: Path, texts: list[str]) -> float:
    """Return the mean cosine between the tuned encoder's vectors and the exported one's.

    Texts without tokens, which have no vector in the tuned encoder, do not count.
    """
    encoder = OnnxEncoder.load(exported)
    texts = [text for text in texts if encoder.tokenize([text]) != [[encoder.config.pad_id]]]
    if not texts:
        return 1.0
    full = SentenceTransformer(str(model_folder), device="cpu")
    full.max_seq_length = encoder.identity.max_tokens
    ours = encoder.encode(texts)
    theirs = full.encode(texts, convert_to_numpy=True, show_progress_bar=False)
    theirs = theirs[:, : ours.shape[1]]
    theirs /= np.linalg.norm(theirs, axis=1, keepdims=True)
    return float((ours * theirs).sum(axis=1).mean())
