"""The number format a network is computed in: the one asked for, or the fastest that is measured on this machine.

CPU flags are no guide: the same flag (``avx512_bf16``) makes training twice as fast on one CPU and half as fast on another.
"""

import math
import sys
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prune.errors import UserError

Candidate = tuple[torch.dtype, bool]
"""Autocast type (float32 = none) and whether the memory format is channels_last."""
REFERENCE: Candidate = (torch.float32, True)
"""Taken unless another is clearly faster; speeds are relative to it."""
CLEARLY = 1.1
"""How many times as fast as the reference another candidate must be: noise must not change the choice from run to run."""
DTYPES = {"off": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
"""What ``--amp`` may ask for, besides auto."""
NAMES = {str(dtype).removeprefix("torch."): dtype for dtype in DTYPES.values()}


@dataclass(frozen=True)
class NumberFormat:
    """The number format a network is computed in, and why.

    Args:
        autocast: Autocast type, None = float32.
        channels_last: Whether images and weights have that memory format; else they are contiguous (NCHW).
        reason: Why, for the screen.
    """

    autocast: torch.dtype | None = None
    channels_last: bool = True
    reason: str = "asked for"

    @property
    def name(self) -> str:
        """float32, bfloat16 or float16."""
        return str(self.autocast or torch.float32).removeprefix("torch.")

    @property
    def memory_format(self) -> torch.memory_format:
        """The memory format as PyTorch calls it."""
        return torch.channels_last if self.channels_last else torch.contiguous_format

    def __str__(self) -> str:
        return f"{self.name} {_layout(self.channels_last)}, {self.reason}"

    def record(self) -> dict[str, Any]:
        """Plain values for a run's files: ``autocast``, ``channels_last``, ``reason`` and the CPU ``threads`` in use."""
        choice = {"autocast": self.name, "channels_last": self.channels_last, "reason": self.reason}
        return choice | {"threads": torch.get_num_threads()}

    @classmethod
    def recorded(cls, record: Mapping[str, Any], file: Path) -> "NumberFormat":
        """The number format of a ``record`` that was read from ``file``.

        Raises:
            UserError: for a record that names no number format.
        """
        dtype = NAMES.get(str(record.get("autocast")))
        if dtype is None or not isinstance(record.get("channels_last"), bool):
            raise UserError(f"{file}: expected the number format {', '.join(NAMES)}, found {dict(record)}")
        return cls(_autocast(dtype), record["channels_last"], str(record.get("reason", "")))


Measure = Callable[[tuple[Candidate, ...]], Mapping[Candidate, float]]
"""Gives the speed of candidates, ``REFERENCE`` among them, relative to ``REFERENCE``."""


def _layout(channels_last: bool) -> str:
    return "channels_last" if channels_last else "contiguous"


def _autocast(dtype: torch.dtype) -> torch.dtype | None:
    return None if dtype == torch.float32 else dtype


def number_format(
    amp: str, channels_last: bool | str, device: torch.device, measure: Measure | None = None
) -> NumberFormat:
    """The number format for ``--amp`` and ``--channels_last``; what is auto is measured on CPUs and follows a rule on GPUs.

    On a CPU float32 channels_last is taken unless another candidate is at least 10% faster. GPUs: bfloat16 where they
    compute it in hardware, else float16, both channels_last.

    Args:
        amp: auto, off (float32), bf16 or fp16.
        channels_last: auto, True or False.
        device: Where the network runs.
        measure: Gives the speeds; None: ``measured_speeds``.
    """
    if device.type != "cpu":
        return _by_rule(amp, channels_last, device)
    layouts = (True, False) if channels_last == "auto" else (bool(channels_last),)
    if amp == "auto":
        # Contiguous bfloat16 is slower than channels_last wherever it was measured: no time is spent on it.
        allowed = [(torch.float32, layout) for layout in layouts] + [(torch.bfloat16, layouts[0])]
    else:
        allowed = [(DTYPES[amp], layout) for layout in layouts[: 2 if amp == "off" else 1]]
    if allowed == [(torch.float32, layouts[0])]:
        return NumberFormat(None, layouts[0])
    plain = (torch.float32, layouts[0])
    speeds = (measure or measured_speeds)(tuple(dict.fromkeys([REFERENCE, plain, *allowed])))
    dtype, layout = chosen = choose(speeds, allowed)
    if amp not in ("auto", "off"):
        return NumberFormat(dtype, layout, f"asked for{_how_slow(amp, speeds[chosen] / speeds[plain])}")
    return NumberFormat(_autocast(dtype), layout, _reason(chosen, allowed, speeds))


def evaluation_format(amp: str, channels_last: bool | str, device: torch.device) -> NumberFormat:
    """``number_format`` for scoring and pictures: nothing is measured unless ``amp`` asks for it.

    Sums of float32 numbers depend on the memory format in the last digits, and scores must not change from run to run.
    """
    if amp == "off":
        return NumberFormat(None, True if channels_last == "auto" else bool(channels_last))
    return number_format(amp, channels_last, device)


def choose(speeds: Mapping[Candidate, float], allowed: Collection[Candidate]) -> Candidate:
    """The fastest of ``allowed``, but the first of them unless that one is at least ``CLEARLY`` times as fast.

    Args:
        speeds: Of every candidate, relative to any one of them.
        allowed: What may be chosen, the preferred one first.
    """
    preferred = next(iter(allowed))
    fastest = max(allowed, key=lambda candidate: speeds[candidate])
    return fastest if speeds[fastest] >= CLEARLY * speeds[preferred] else preferred


def _reason(chosen: Candidate, allowed: Collection[Candidate], speeds: Mapping[Candidate, float]) -> str:
    preferred = next(iter(allowed))
    if chosen != preferred:
        other = "float32" if chosen[0] != preferred[0] else _layout(preferred[1])
        return f"measured {speeds[chosen] / speeds[preferred]:.1f}x {other}"
    rest = [
        f"{_layout(layout) if dtype == preferred[0] else str(dtype).removeprefix('torch.')} "
        f"{speeds[dtype, layout] / speeds[preferred]:.2g}x"
        for dtype, layout in allowed
        if (dtype, layout) != preferred
    ]
    return f"measured ({', '.join(rest)})"


def _how_slow(amp: str, speed: float) -> str:
    return f"; {amp} is {speed:.2g}x as fast as float32 on this CPU" if speed < 1 / CLEARLY else ""


def _by_rule(amp: str, channels_last: bool | str, device: torch.device) -> NumberFormat:
    if amp != "auto":
        dtype, reason = DTYPES[amp], "asked for"
    elif device.type == "cuda":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        dtype, reason = (torch.bfloat16 if native else torch.float16), "by rule for GPUs"
    else:
        dtype, reason = torch.float32, f"by rule for {device.type}"
    return NumberFormat(_autocast(dtype), True if channels_last == "auto" else bool(channels_last), reason)


@dataclass(frozen=True)
class ProbeSettings:
    """How candidates are measured.

    Args:
        channels: Channels of the probe network.
        side: Side of its input in px, even.
        batch: Images per pass.
        rounds: Timed passes of each candidate; the fastest counts, because a disturbance only ever slows one down.
        limit_s: No further round starts after so many seconds.
    """

    channels: int = 32
    side: int = 48
    batch: int = 2
    rounds: int = 5
    limit_s: float = 0.4


TINY = ProbeSettings(channels=8, side=16, rounds=3, limit_s=0.2)
"""A shape that takes a millisecond shows which number formats are emulated, over 40 times slower."""
EMULATED = 4.0
"""A candidate so many times slower than the reference on that shape is not measured on a larger one."""
CLOCK = time.perf_counter if sys.platform == "win32" else time.thread_time
"""CPU time leaves out the time other programs take; that of Windows is too coarse."""


@lru_cache
def measured_speeds(candidates: tuple[Candidate, ...]) -> Mapping[Candidate, float]:
    """Speeds of a training step in each candidate on the CPU relative to ``REFERENCE``, which is one of them.

    Measured once per process, in under a second. One thread does it: on a busy machine several wait for each other, and
    the choice would be left to chance. PyTorch's threads and random state are as before.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = fastest_seconds({c: probe(c, TINY) for c in candidates}, TINY)
        hardware = [c for c in candidates if seconds[c] < EMULATED * seconds[REFERENCE]]
        full = ProbeSettings()
        larger = fastest_seconds({c: probe(c, full) for c in hardware}, full)
    finally:
        torch.set_num_threads(threads)
    return {c: larger[REFERENCE] / larger[c] if c in larger else seconds[REFERENCE] / seconds[c] for c in candidates}


def fastest_seconds(probes: Mapping[Candidate, Callable[[], float]], settings: ProbeSettings) -> dict[Candidate, float]:
    """Interleave the probes, each once untimed first, and return the fastest pass of each in seconds.

    Args:
        probes: Each does one pass and gives its seconds.
        settings: ``rounds`` and ``limit_s`` count here; at least one round is timed.
    """
    spent = sum(run() for run in probes.values())
    best = dict.fromkeys(probes, math.inf)
    for number in range(settings.rounds):
        if number and spent > settings.limit_s:
            break
        for candidate, run in probes.items():
            seconds = run()
            spent += seconds
            best[candidate] = min(seconds, best[candidate])
    return best


def probe(candidate: Candidate, settings: ProbeSettings) -> Callable[[], float]:
    """One forward and backward pass of a representative network as a function that gives its CPU seconds.

    Convolutions with batch norm and ReLU: 3x3 with few channels at high resolution (HrSegNet, decoders), 3x3 with more
    at half of it, and the 1x1 with many channels of ResNet's bottlenecks.
    """
    dtype, channels_last = candidate
    memory_format = NumberFormat(None, channels_last).memory_format
    c = settings.channels
    with torch.random.fork_rng(devices=[]):
        layers = [_unit(c, 2 * c, 3), nn.MaxPool2d(2), _unit(2 * c, 4 * c, 3), _unit(4 * c, 16 * c, 1)]
        model = nn.Sequential(*layers, _unit(16 * c, 4 * c, 1)).to(memory_format=memory_format)  # type: ignore[call-overload]
        image = torch.randn(settings.batch, c, settings.side, settings.side).contiguous(memory_format=memory_format)

    def run() -> float:
        start = CLOCK()
        with torch.enable_grad():
            with torch.autocast("cpu", _autocast(dtype), enabled=dtype != torch.float32):
                output = model(image)
            output.float().square().mean().backward()
        return CLOCK() - start

    return run


def _unit(inputs: int, outputs: int, kernel: int) -> nn.Module:
    convolution = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(outputs), nn.ReLU())
