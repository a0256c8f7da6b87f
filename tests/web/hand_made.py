"""A network with hand-set weights: dark pixels are cracks."""

import json
from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

from prune.data.labels import CRACK
from prune.data.preprocessing import Preprocessing
from prune.inference.metadata import METADATA, VERSION


def dark_network(file: Path, below: float = 90.0) -> Path:
    """Write an ONNX file that calls pixels whose mean of R, G and B is below ``below`` (of 255) cracks, and return it.

    The logit of crack is a tenth of the difference, that of background 0.
    """
    preprocessing = Preprocessing()
    mean, std = np.asarray(preprocessing.mean), np.asarray(preprocessing.std)
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1, :, 0, 0] = -std * 255 / 30
    bias = np.array([0, (below - 255 * mean.mean()) / 10], np.float32)
    constants = [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")]
    shapes = [("image", ["n", 3, "h", "w"]), ("logits", ["n", 2, "h", "w"])]
    ends = [helper.make_tensor_value_info(name, 1, shape) for name, shape in shapes]
    node = helper.make_node("Conv", ["image", "weight", "bias"], ["logits"])
    graph = helper.make_graph([node], "dark", ends[:1], ends[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    card = {
        "version": VERSION,
        "size": None,
        "classes": CRACK.to_dict(),
        "preprocessing": preprocessing.to_dict(),
        "architecture": "dark",
        "history": ["set by hand"],
        "precision": "fp32",
        "parameters": 8,
        "macs": {"640x480": 6 * 480 * 640},
    }
    helper.set_model_props(model, {METADATA: json.dumps(card)})
    file.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, file)
    return file
