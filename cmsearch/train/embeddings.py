"""Token embeddings of an encoder that is there already, to start another one from."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import onnx
import torch
from onnx import numpy_helper
from safetensors import safe_open
from torch import Tensor

from cmsearch.encoder.onnx import MODEL_FILE
from cmsearch.errors import TrainingError

SHIPPED = "shipped"
_TABLE = "embeddings.tok_embeddings.weight"


def read_embeddings(name_or_path: str) -> Tensor:
    """Return the token embeddings of an encoder, (tokens, width) float32.

    Args:
        name_or_path: a folder with ``model.safetensors`` or with an exported
            ``model.onnx``, or ``shipped`` for the encoder of this package.

    Raises:
        TrainingError: there are none.
    """
    folder = Path(name_or_path)
    if name_or_path == SHIPPED:
        folder = Path(str(files("cmsearch.encoder").joinpath("model")))
    if (folder / "model.safetensors").is_file():
        with safe_open(folder / "model.safetensors", framework="pt") as stored:
            for name in stored.keys():  # noqa: SIM118
                if name.endswith(_TABLE):
                    found: Tensor = stored.get_tensor(name).float()
                    return found
    elif (folder / MODEL_FILE).is_file():
        graph = onnx.load(str(folder / MODEL_FILE)).graph
        tables = {item.name: item for item in graph.initializer}
        if {"embedding_rows", "embedding_scales"} <= tables.keys():
            rows = numpy_helper.to_array(tables["embedding_rows"]).astype("float32")
            return torch.from_numpy(rows * numpy_helper.to_array(tables["embedding_scales"]))
    raise TrainingError(
        f"{folder}: no token embeddings in a model.safetensors or an exported {MODEL_FILE}"
    )
