"""Facts and peaks of this machine, and the share of the peaks that a network reaches.

A network's rate is read against these peaks, so that figures of different machines can be compared.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from prune.benchmark.cpu import FLAGS, cpu_flags, cpu_kind
from prune.benchmark.peaks import NUMBERS, Peaks, measure_peaks
from prune.hardware import choose_device, has_torch, machine_facts
from prune.inference.metadata import thread_count

SAME = ("device", "cores", "threads", "system", "python", "kind")
"""Facts by which two measurements are taken to be of one machine; peaks differ from run to run."""


def machine_kind(device: str = "cpu") -> str:
    """``cpu_kind()``, or ``cuda_`` and the name of the GPU for a CUDA device; fit to be a folder's name."""
    if not device.startswith("cuda"):
        return cpu_kind()
    import torch

    return "cuda_" + re.sub(r"[^a-z0-9]+", "_", torch.cuda.get_device_name(device).lower()).strip("_")


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


def resolved_device(text: str) -> str:
    """The device that a flag means: ``cpu``, or ``cuda`` with its number; ``auto`` is the CPU where PyTorch is missing.

    Raises:
        UserError: for a device that is not there.
    """
    if text == "cpu" or (text == "auto" and not has_torch()):
        return "cpu"
    return str(choose_device(text))


def peak_facts(peaks: Peaks, device: str = "cpu") -> dict[str, Any]:
    """What every benchmark JSON says about the machine besides ``prune.hardware.machine_facts``.

    Keys: ``kind``, ``flags`` (of the CPU), ``peaks`` (GMACs/s by number format, None = none), ``peak_candidates`` (GMACs/s
    of each), ``copy_gb_per_second``.
    """
    flags = cpu_flags(None)
    return {
        "kind": machine_kind(device),
        "flags": [flag for flag in FLAGS if flag in flags],
        "peaks": peaks.best(),
        "peak_candidates": asdict(peaks)["rates"],
        "copy_gb_per_second": peaks.copy_gb_per_second,
    }


def facts(device: str, threads: int) -> dict[str, Any]:
    """``prune.hardware.machine_facts`` of a device; without PyTorch those of the CPU, as far as they are known."""
    if has_torch():
        return machine_facts(choose_device(device))
    return machine_facts(None) | {"threads": threads}


def measured_machine(device: str = "cpu", threads: int = 0) -> dict[str, Any]:
    """``facts`` and ``peak_facts`` of a device, measured now.

    Args:
        device: ``cpu`` or a CUDA device.
        threads: CPU threads where PyTorch is missing, 0 = all cores; where it is there, those it uses count.
    """
    used = thread_count(threads)
    if has_torch():
        import torch

        used = torch.get_num_threads()
    return facts(device, used) | peak_facts(measure_peaks(used, device), device)


def stored_rows(file: Path, key: str, machine: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The rows under ``key`` of an earlier benchmark's JSON; none when it is damaged or of another machine."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        same = all(content["machine"].get(name) == machine[name] for name in SAME)
        return list(content[key]) if same else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []
