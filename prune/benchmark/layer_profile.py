"""Where the time of an exported network goes, by the operators that OpenVINO and ONNX Runtime report."""

import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError
from prune.inference.onnx import FULL_PRECISION
from prune.inference.openvino import openvino_core, openvino_settings

WARMUP = 2
"""Passes before those that count."""


@dataclass(frozen=True)
class OperatorTime:
    """All layers of one operator in one forward pass.

    Args:
        operator: As the runtime calls it, such as Convolution or QLinearConv.
        kernel: How it was computed (OpenVINO: instructions and number format), empty where the runtime does not say.
        layers: How many of them.
        ms: Their mean time per pass in ms.
        share: Of the time of all layers, 0 to 1.
    """

    operator: str
    kernel: str
    layers: int
    ms: float
    share: float


def by_operator(layers: Iterable[tuple[str, str, str, float]]) -> list[OperatorTime]:
    """Group layers by operator and kernel, the slowest group first.

    Args:
        layers: Name, operator, kernel and mean ms per pass of every layer that ran; a name that occurs again adds time to
            the same layer.
    """
    names: dict[tuple[str, str], set[str]] = {}
    times: dict[tuple[str, str], float] = {}
    for name, operator, kernel, ms in layers:
        names.setdefault((operator, kernel), set()).add(name)
        times[operator, kernel] = times.get((operator, kernel), 0.0) + ms
    total = sum(times.values()) or 1.0
    groups = [OperatorTime(*key, len(names[key]), ms, ms / total) for key, ms in times.items()]
    return sorted(groups, key=lambda group: -group.ms)


def _image(size: tuple[int, int]) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((1, 3, *size)).astype(np.float32)


def _openvino(file: Path, size: tuple[int, int], threads: int, passes: int) -> list[OperatorTime]:
    import openvino

    core = openvino_core()
    options = openvino_settings("fp32", threads) | {"PERF_COUNT": True}
    request = core.compile_model(core.read_model(str(file)), "CPU", options).create_infer_request()
    image, layers = _image(size), []
    for turn in range(WARMUP + passes):
        request.infer([image])
        if turn >= WARMUP:
            layers += [
                (node.node_name, node.node_type, node.exec_type, node.real_time.total_seconds() * 1e3 / passes)
                for node in request.profiling_info
                if node.status == openvino.ProfilingInfo.Status.EXECUTED
            ]
    return by_operator(layers)


def _onnx(file: Path, size: tuple[int, int], threads: int, passes: int) -> list[OperatorTime]:
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 3
        options.enable_profiling, options.profile_file_prefix = True, str(Path(folder) / "profile")
        for key, value in FULL_PRECISION.items():
            options.add_session_config_entry(key, value)
        session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
        feed = {session.get_inputs()[0].name: _image(size)}
        for _ in range(WARMUP + passes):
            session.run(None, feed)
        events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    return by_operator(onnx_layers(events, passes))


def onnx_layers(events: Sequence[Mapping[str, Any]], passes: int) -> list[tuple[str, str, str, float]]:
    """Name, operator, kernel (empty) and mean ms of the layers in ONNX Runtime's profile, of its last ``passes`` passes."""
    runs = sorted(event["ts"] for event in events if event["name"] == "model_run")
    return [
        (event["name"], event["args"]["op_name"], "", event["dur"] / 1e3 / passes)
        for event in events
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time") and event["ts"] >= runs[-passes]
    ]


def profile(file: Path, size: tuple[int, int], *, threads: int, passes: int = 5) -> list[OperatorTime]:
    """Time of every kind of operator of a network on the CPU, mean of some passes on one random image.

    Float layers are computed in float32. The runtime's own counters cost some percent of the time themselves.

    Args:
        file: An OpenVINO file (.xml) or an ONNX file (.onnx, run by ONNX Runtime).
        size: Height and width of the image in px.
        threads: CPU threads.
        passes: Passes that count, after two that do not.

    Raises:
        UserError: for a file of another kind.
    """
    if file.suffix == ".xml":
        return _openvino(file, size, threads, passes)
    if file.suffix == ".onnx":
        return _onnx(file, size, threads, passes)
    raise UserError(f"{file}: expected an OpenVINO (.xml) or ONNX (.onnx) file to profile, found {file.suffix!r}")
