"""ONNX files: float32 with batch norm folded away, and statically quantized ones."""

import copy
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from prune.deployment.fake_quantization import deployed
from prune.deployment.target import Batches, ExportTarget, metadata, optional_package, traced_program
from prune.inference.metadata import METADATA
from prune.models.checkpoint import Network

OPSET = 20
"""ONNX operator set: the newest that ONNX Runtime, OpenVINO and TensorRT 10 all document."""

CONVOLUTIONS = ("Conv", "ConvTranspose")
PERCENTILE = 99.99
"""Percent of the values of a tensor that its range holds with the means ``percentile``."""


def write_onnx(network: Network, target: ExportTarget, file: Path) -> None:
    """A checked float32 ONNX file with batch norm folded into the convolutions."""
    _write(network, target, file, metadata(network, target))


def write_rounded_onnx(network: Network, rounded: fx.GraphModule, target: ExportTarget, file: Path) -> None:
    """A checked ONNX file with integer weights and quantize/dequantize nodes: the INT8 network that ``rounded`` computes.

    Args:
        network: What the file is of.
        rounded: The network as ``prune.deployment.fake_quantization`` gave it, trained or not; it is not changed.
        target: What it is for.
        file: Where to.
    """
    source = replace(network, model=deployed(copy.deepcopy(rounded)))
    _write(source, target, file, metadata(network, target))


def _write(network: Network, target: ExportTarget, file: Path, about: str) -> None:
    onnx = optional_package("onnx", "export", "onnxscript")
    output = "class_map" if target.argmax else "logits"
    names: dict[str, Any] = {"input_names": ["image"], "output_names": [output]}
    program = torch.onnx.export(
        traced_program(network, target), dynamo=True, opset_version=OPSET, verbose=False, **names
    )
    assert program is not None
    program.save(str(file), external_data=False)
    model = onnx.load(str(file))
    _pool_globally(onnx, model)
    _annotate(model, about)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(file))


def _pool_globally(onnx: Any, model: Any) -> None:
    """Turn means over height and width into the pooling they were: ONNX Runtime's mean took a tenth of an INT8 pass."""
    constants = {entry.name: entry for entry in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type != "ReduceMean" or len(node.input) < 2 or node.input[1] not in constants:
            continue
        axes = sorted(onnx.numpy_helper.to_array(constants[node.input[1]]).tolist())
        if axes in ([-2, -1], [2, 3]) and any(a.name == "keepdims" and a.i == 1 for a in node.attribute):
            node.op_type = "GlobalAveragePool"
            del node.input[1:], node.attribute[:]
    used = {name for node in model.graph.node for name in node.input}
    for entry in [entry for name, entry in constants.items() if name not in used]:
        model.graph.initializer.remove(entry)


def _annotate(model: Any, text: str) -> None:
    """Store ``text``, and nothing else: the exporter notes at every node which line of which file made it on this machine."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, text


class _Reader:
    """Feeds calibration batches to ONNX Runtime's quantizer."""

    def __init__(self, batches: Batches) -> None:
        self.batches = iter(batches)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        batch = next(self.batches, None)
        return None if batch is None else {"image": batch}


def quantize_onnx(network: Network, target: ExportTarget, file: Path, batches: Batches) -> None:
    """Static quantization with quantize/dequantize nodes: activations 8 bits, weights 7 bits per channel.

    Seven bits, because CPUs without VNNI add two products in 16 bits and saturate with eight.
    """
    onnx = optional_package("onnx", "export", "onnxscript")
    quantization = optional_package("onnxruntime.quantization", "export")
    shapes = optional_package("onnxruntime.quantization.shape_inference", "export")
    with tempfile.TemporaryDirectory() as folder:
        dense, ready = Path(folder) / "dense.onnx", Path(folder) / "ready.onnx"
        write_onnx(network, target, dense)
        shapes.quant_pre_process(str(dense), str(ready), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(ready),
            str(file),
            _Reader(batches),
            quant_format=quantization.QuantFormat.QDQ,
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            per_channel=True,
            reduce_range=True,
            **_means(quantization, onnx.load(str(ready)), target.means),
        )
    model = onnx.load(str(file))
    _annotate(model, metadata(network, target))
    onnx.save(model, str(file))


def _without_successor(model: Any) -> list[str]:
    """The nodes whose results reach no convolution: the last convolutions and what follows them."""
    takers: dict[str, list[Any]] = {}
    for node in model.graph.node:
        for name in node.input:
            takers.setdefault(name, []).append(node)
    followed: set[str] = set()
    for node in reversed(model.graph.node):
        after = [taker for name in node.output for taker in takers.get(name, ())]
        if any(taker.op_type in CONVOLUTIONS or taker.name in followed for taker in after):
            followed.add(node.name)
    return [node.name for node in model.graph.node if node.name not in followed]


def _means(quantization: Any, model: Any, means: str) -> dict[str, Any]:
    """What ``quantize_static`` is told for an entry of ``prune.deployment.settings.INT8_MEANS``.

    What no convolution follows stays in float. Logits of one scale cannot tell classes apart that differ by less than a
    256th of their range, and networks do decide so: where a crack is the absence of every feature, the logits are the last
    biases, and equal after rounding.
    """
    method, bounded = quantization.CalibrationMethod, {"CalibMaxIntermediateOutputs": 1}
    first = [node.name for node in model.graph.node if node.op_type in CONVOLUTIONS][:1]
    kept = _without_successor(model)
    told: dict[str, dict[str, Any]] = {
        "minmax": {},
        "percentile": {
            "calibrate_method": method.Percentile,
            "extra_options": bounded | {"CalibPercentile": PERCENTILE},
        },
        "entropy": {"calibrate_method": method.Entropy, "extra_options": bounded},
        "convolutions": {"op_types_to_quantize": [*CONVOLUTIONS, "MaxPool", "Resize", "Concat"]},
        "float_first": {"nodes_to_exclude": first + kept},
    }
    return {"nodes_to_exclude": kept} | told[means]
