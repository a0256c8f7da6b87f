"""What this machine gives: the kind of its CPU, the peak rate of every number format, the memory bandwidth.

A network's rate is read against these peaks, so that figures of different machines can be compared.
"""

import json
import platform
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from tqdm import tqdm

from prune.inference.openvino import openvino_core, openvino_settings

NUMBERS = ("fp32", "bf16", "int8")
"""Number formats that a peak is measured in."""
CPUINFO = Path("/proc/cpuinfo")
FLAGS: tuple[str, ...] = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""CPU flags that decide how fast a network runs, as Linux spells them."""
SAME = ("device", "cores", "threads", "system", "python", "kind")
"""Facts by which two measurements are taken to be of one machine; peaks differ from run to run."""
CPU_KINDS = {"amx_tile": "amx", "avx512_vnni": "avx512_vnni", "avx512f": "avx512", "avx2": "avx2"}
"""Kind of an x86 CPU by the best of its flags."""


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
    """What a device gives.

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


def _flags(cpuinfo: str | None) -> frozenset[str]:
    """Lower-case CPU flags out of Linux's text, or as PyTorch knows them where there is no such text."""
    if cpuinfo is None and CPUINFO.is_file():
        cpuinfo = CPUINFO.read_text(encoding="utf-8", errors="replace")
    if cpuinfo is not None:
        found = re.search(r"^(?:flags|Features)\s*:(.*)$", cpuinfo, flags=re.MULTILINE)
        return frozenset(found[1].lower().split()) if found else frozenset()
    try:
        import torch
    except ImportError:
        return frozenset()
    known = {name for name, present in torch.cpu.get_capabilities().items() if present is True}
    return frozenset(known | ({"avx512f"} if "avx512_f" in known else set()))


def cpu_kind(cpuinfo: str | None = None) -> str:
    """The kind of a CPU: ``avx2``, ``avx512``, ``avx512_vnni``, ``amx``, ``arm64``, else the name of its architecture.

    Args:
        cpuinfo: The text of Linux's /proc/cpuinfo, None = of this machine.
    """
    flags = _flags(cpuinfo)
    architecture = platform.machine().lower() if cpuinfo is None else ""
    if "asimd" in flags or architecture in ("arm64", "aarch64"):
        return "arm64"
    return next((kind for flag, kind in CPU_KINDS.items() if flag in flags), architecture or "unknown")


def machine_kind(device: str = "cpu") -> str:
    """``cpu_kind()``, or ``cuda_`` and the name of the GPU for a CUDA device; fit to be a folder's name."""
    if not device.startswith("cuda"):
        return cpu_kind()
    import torch

    return "cuda_" + re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name(device).lower()).strip("_")


def has_bf16(cpuinfo: str | None = None) -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; emulated, it is over 40 times slower than float32."""
    return bool(_flags(cpuinfo) & {"avx512_bf16", "amx_bf16", "bf16"})


def peak_number(precision: str) -> str:
    """The format of ``NUMBERS`` whose peak a network of ``precision`` is held against.

    fp16 files hold their weights in half the bytes and are computed in float32 on CPUs.
    """
    first = precision.split(" ")[0]
    return first if first in NUMBERS else "fp32"


def gmacs_per_second(macs: int | None, milliseconds: float) -> float | None:
    """Billions of multiply-accumulates per second; None where the number of MACs is unknown."""
    return None if macs is None else macs / milliseconds / 1e6


def share_of_peak(rate: float | None, precision: str, peaks: Mapping[str, float | None]) -> float | None:
    """A network's GMACs/s over the peak of its number format; None where one of the two is unknown.

    MACs are counted as of the direct convolution: runtimes that need fewer multiplications (Winograd) may exceed 1.
    """
    peak = peaks.get(peak_number(precision))
    return rate / peak if rate is not None and peak else None


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


def measure_peaks(threads: int, device: str = "cpu", settings: PeakSettings | None = None) -> Peaks:
    """Measure the peak rates and the memory bandwidth of a device: ten seconds on two cores.

    Candidates take turns, in random order per round, so that a noisy machine disturbs all of them alike; each runs once
    untimed before it is timed.

    Args:
        threads: CPU threads of OpenVINO; PyTorch uses those it was told to use.
        device: ``cpu`` or a CUDA device; what only OpenVINO can do (INT8) is measured on the CPU alone.
        settings: None = the defaults.
    """
    settings = settings or PeakSettings()
    others = _openvino_candidates(threads, settings) if device == "cpu" else []
    candidates = [*_torch_candidates(device, settings), *others]
    seconds: list[list[float]] = [[] for _ in candidates]
    rng = np.random.default_rng(0)
    for _ in tqdm(range(settings.rounds), desc="peak of this machine", unit="round", leave=False):
        for number in rng.permutation(len(candidates)).tolist():
            candidates[number].run()
            start = time.perf_counter()
            candidates[number].run()
            seconds[number].append(time.perf_counter() - start)
    rates: dict[str, dict[str, float]] = {number: {} for number in NUMBERS}
    for candidate, taken in zip(candidates, seconds, strict=True):
        rates[candidate.number][candidate.name] = candidate.macs / median(taken) / 1e9
    return Peaks(rates, _copy_speed(device, settings))


def peak_facts(peaks: Peaks, device: str = "cpu") -> dict[str, Any]:
    """What every benchmark JSON says about the machine besides ``prune.hardware.machine_facts``.

    Keys: ``kind``, ``flags`` (of the CPU), ``peaks`` (GMACs/s by number format, None = none), ``peak_candidates`` (GMACs/s
    of each), ``copy_gb_per_second``.
    """
    flags = _flags(None)
    return {
        "kind": machine_kind(device),
        "flags": [flag for flag in FLAGS if flag in flags],
        "peaks": peaks.best(),
        "peak_candidates": asdict(peaks)["rates"],
        "copy_gb_per_second": peaks.copy_gb_per_second,
    }


def measured_machine(device: str = "cpu") -> dict[str, Any]:
    """``prune.hardware.machine_facts`` and ``peak_facts`` of a device, measured now with the threads PyTorch uses."""
    import torch

    from prune.hardware import choose_device, machine_facts

    peaks = measure_peaks(torch.get_num_threads(), device)
    return machine_facts(choose_device(device)) | peak_facts(peaks, device)


def stored_rows(file: Path, key: str, machine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows under ``key`` of an earlier benchmark's JSON; none when it is damaged or of another machine."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        same = all(content["machine"].get(name) == machine[name] for name in SAME)
        return list(content[key]) if same else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
