"""Latency of a network on a runtime it has not been exported to yet."""

import tempfile
from pathlib import Path

import numpy as np
import torch

from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.inference.latency import time_predictors
from prune.inference.load import load_predictor
from prune.models.checkpoint import Network


def runtime_latency(network: Network, size: tuple[int, int], runtime: str, repeats: int = 5) -> float:
    """Median latency in ms of a network on another runtime at a size in px, on this machine.

    The network is exported at that one size; INT8 is calibrated with noise, which does not matter for time.

    Args:
        network: What to time.
        size: Height and width of the input in px.
        runtime: ``onnx``, ``onnx-int8``, ``openvino``, ``openvino-int8`` or ``ncnn``.
        repeats: Timed passes.

    Raises:
        UserError: when the runtime is unknown or not installed, or the network cannot be exported.
    """
    name, _, precision = runtime.partition("-")
    target = ExportTarget(name, precision or "fp32", size)
    noise = np.random.default_rng(0).standard_normal((2, 1, 3, *size)).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        file = export(network, target, Path(folder) / f"network{target.suffix}", batches=list(noise))
        predictor = load_predictor(file, threads=torch.get_num_threads())
        return time_predictors({"network": predictor}, size, repeats)["network"].median
