"""The peak rate of a device in every number format, and its memory bandwidth, measured now."""

import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any

import numpy as np

from prune.benchmark.cpu import has_bf16
from prune.hardware import has_torch
from prune.inference.latency import time_in_turns
from prune.inference.openvino import openvino_core, openvino_settings

NUMBERS = ("fp32", "bf16", "int8")
"""Number formats that a peak is measured in."""


@dataclass(frozen=True)
class PeakSettings:
    """How the peaks are measured.

    Args:
        rounds: Timed passes of each candidate; the median counts.
        matrix: Side of the matrix product.
        pointwise: Channels and side in px of the 1x1 convolutions.
        square: Channels and side in px of the 3x3 convolutions.
        depth: Convolutions in a row in an OpenVINO candidate.
        copied_mib: Size of the array that is copied, in MiB; far beyond every cache.
    """

    rounds: int = 11
    matrix: int = 1024
    pointwise: tuple[int, int] = (512, 64)
    square: tuple[int, int] = (512, 32)
    depth: int = 4
    copied_mib: int = 256


@dataclass(frozen=True)
class Peaks:
    """The peak rates of a device.

    Args:
        rates: Billions of multiply-accumulates per second (GMACs/s) by number format and candidate, such as
            ``{"fp32": {"torch matrix product": 93.0}}``; a format without hardware has no candidate.
        copy_gb_per_second: Memory bandwidth of a copy in GB/s, bytes read and bytes written both counted.
    """

    rates: Mapping[str, Mapping[str, float]]
    copy_gb_per_second: float

    def best(self) -> dict[str, float | None]:
        """GMACs/s of the fastest candidate of every number format; None where none was measured."""
        return {number: max(rates.values(), default=None) for number, rates in self.rates.items()}


@dataclass(frozen=True)
class _Candidate:
    """Work of a known number of multiply-accumulates in a number format; ``run`` returns when it is done."""

    number: str
    name: str
    macs: int
    run: Callable[[], object]


def _numpy_candidates(settings: PeakSettings) -> list[_Candidate]:
    """A float32 matrix product in NumPy, where there is no PyTorch."""
    left, right = np.random.default_rng(0).standard_normal((2, settings.matrix, settings.matrix)).astype(np.float32)
    return [_Candidate("fp32", "numpy matrix product", settings.matrix**3, partial(np.matmul, left, right))]


def _torch_candidates(device: str, settings: PeakSettings) -> list[_Candidate]:
    """A matrix product and a 3x3 convolution in PyTorch, in float32 and, where there is hardware for it, in bfloat16."""
    import torch

    types = {"fp32": torch.float32}
    if torch.cuda.is_bf16_supported(including_emulation=False) if device != "cpu" else has_bf16():
        types["bf16"] = torch.bfloat16
    side, (channels, pixels) = settings.matrix, settings.square
    candidates = []

    def finished(work: Callable[..., object], *operands: torch.Tensor) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                work(*operands)
            if device != "cpu":
                torch.cuda.synchronize(device)

        return run

    for number, kind in types.items():
        left, right = torch.randn(2, side, side, device=device).to(kind)
        image = torch.randn(1, channels, pixels, pixels, device=device).to(kind, memory_format=torch.channels_last)
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1, bias=False).to(device, kind)
        layer = layer.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        macs = 9 * channels**2 * pixels**2
        candidates.append(_Candidate(number, "torch matrix product", side**3, finished(torch.matmul, left, right)))
        candidates.append(_Candidate(number, "torch 3x3 convolution", macs, finished(layer, image)))
    return candidates


def _convolutions(channels: int, side: int, kernel: int, depth: int, quantized: bool) -> Any:
    """An OpenVINO model of ``depth`` equal convolutions with ReLU on (1, channels, side, side).

    Quantized means 8-bit activations and weights by FakeQuantize, as NNCF would place it. The mean at the end keeps the
    result from being copied.
    """
    import openvino
    from openvino import opset13 as ops

    rng = np.random.default_rng(0)
    image = ops.parameter([1, channels, side, side], np.float32)
    node = image
    for _ in range(depth):
        drawn = rng.standard_normal((channels, channels, kernel, kernel)) / (kernel * channels**0.5)
        weights = ops.constant(drawn.astype(np.float32))
        if quantized:
            low, high, most = np.float32(0), np.float32(4), np.float32(1)
            node = ops.fake_quantize(node, low, high, low, high, 256)
            weights = ops.fake_quantize(weights, -most, most, -most, most, 255)
        pads = [kernel // 2] * 2
        node = ops.relu(ops.convolution(node, weights, [1, 1], pads, pads, [1, 1]))
    return openvino.Model([ops.reduce_mean(node, np.array([2, 3]), False)], [image], "peak")


def _openvino_candidates(threads: int, settings: PeakSettings) -> list[_Candidate]:
    """1x1 and 3x3 convolutions in OpenVINO, in every number format the CPU has; none without OpenVINO."""
    try:
        core = openvino_core()
    except ImportError:
        return []
    known = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    candidates = []
    for number in ("fp32", *(number for number in ("bf16", "int8") if number.upper() in known)):
        options = openvino_settings(number, threads)
        for kernel, (channels, side) in ((1, settings.pointwise), (3, settings.square)):
            model = _convolutions(channels, side, kernel, settings.depth, number == "int8")
            request = core.compile_model(model, "CPU", options).create_infer_request()
            image = np.random.default_rng(1).random((1, channels, side, side), np.float32)
            macs = settings.depth * (kernel * channels * side) ** 2
            name = f"openvino {kernel}x{kernel} convolution"
            candidates.append(_Candidate(number, name, macs, partial(request.infer, [image])))
    return candidates


def _copy_speed(device: str, settings: PeakSettings) -> float:
    """GB/s of a copy from one array to another on all threads: bytes read plus bytes written, medians."""
    if not has_torch():
        return _numpy_copy_speed(settings)
    import torch

    source, target = torch.ones(2, settings.copied_mib * 2**18, device=device)
    seconds = []
    for _ in range(settings.rounds):
        start = time.perf_counter()
        target.copy_(source)
        if device != "cpu":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / median(seconds) / 1e9


def _numpy_copy_speed(settings: PeakSettings) -> float:
    """GB/s of a copy in NumPy, in as many parts as there are cores, see ``_copy_speed``."""
    workers = os.cpu_count() or 1
    source, target = np.ones((2, settings.copied_mib * 2**18), np.float32)
    parts = list(zip(np.array_split(target, workers), np.array_split(source, workers), strict=True))
    seconds = []
    with ThreadPoolExecutor(workers) as pool:
        for _ in range(settings.rounds):
            start = time.perf_counter()
            list(pool.map(lambda part: np.copyto(*part), parts))
            seconds.append(time.perf_counter() - start)
    return 2 * source.nbytes / median(seconds) / 1e9


def measure_peaks(threads: int, device: str = "cpu", settings: PeakSettings | None = None) -> Peaks:
    """Measure the peak rates and the memory bandwidth of a device: ten seconds on two cores.

    Candidates are interleaved, see ``time_in_turns``.

    Args:
        threads: CPU threads of OpenVINO; PyTorch uses those it was told to use.
        device: ``cpu`` or a CUDA device; what only OpenVINO can do (INT8) is measured on the CPU alone.
        settings: None = the defaults.
    """
    settings = settings or PeakSettings()
    others = _openvino_candidates(threads, settings) if device == "cpu" else []
    own = _torch_candidates(device, settings) if has_torch() else _numpy_candidates(settings)
    candidates = {f"{candidate.number} {candidate.name}": candidate for candidate in (*own, *others)}
    passes = {name: candidate.run for name, candidate in candidates.items()}
    timed = time_in_turns(passes, settings.rounds, label="peak of this machine")
    rates: dict[str, dict[str, float]] = {number: {} for number in NUMBERS}
    for name, candidate in candidates.items():
        rates[candidate.number][candidate.name] = candidate.macs / timed[name].median / 1e6
    return Peaks(rates, _copy_speed(device, settings))
