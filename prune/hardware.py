"""The machine: device, threads, and the facts a report must name; PyTorch is imported where it is needed."""

from __future__ import annotations

import importlib
import os
import platform
from typing import TYPE_CHECKING, Any

from prune.errors import UserError
from prune.version import VERSION

if TYPE_CHECKING:  # an edge device has no PyTorch
    import torch


def choose_device(text: str) -> torch.device:
    """The device called ``text``; ``auto`` is CUDA when there is one, else the CPU."""
    import torch

    if text == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(text)
    except RuntimeError:
        raise UserError(f"--device: expected auto, cpu, cuda or cuda:N, found {text!r}") from None
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise UserError(f"--device {text}: this machine has {torch.cuda.device_count()} CUDA devices")
    return device


def set_threads(threads: int) -> None:
    """Use ``threads`` CPU threads and treat denormals as zero: they make CPU kernels ten times slower.

    0 means what the environment variable OMP_NUM_THREADS says, else all cores.
    """
    import torch

    wished = os.environ.get("OMP_NUM_THREADS", "")
    torch.set_num_threads(threads or (int(wished) if wished.isdigit() else 0) or os.cpu_count() or 1)
    torch.set_flush_denormal(True)


def exact_float32() -> None:
    """Compute float32 in float32: no TF32 on GPUs, which cuDNN's convolutions take by default, no bfloat16 inside oneDNN.

    Both interfaces are set: PyTorch raises when the older one is read while it disagrees with the newer one.
    """
    import torch

    torch.set_float32_matmul_precision("highest")
    torch.backends.cudnn.allow_tf32 = False
    backends: Any = torch.backends  # these settings lack type hints
    mkldnn, cudnn = backends.mkldnn, backends.cudnn
    for operators in (mkldnn.matmul, mkldnn.conv, mkldnn.rnn, cudnn.conv, cudnn.rnn, backends.cuda.matmul):
        operators.fp32_precision = "ieee"


def _cpu_name() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def device_name(device: torch.device) -> str:
    """The name of the device, for tables: the GPU's name, or the CPU's with its vector instructions."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{_cpu_name()} ({torch.backends.cpu.get_cpu_capability()})"


def machine_facts(device: torch.device | None) -> dict[str, Any]:
    """What a measurement depends on: device, cores, threads, operating system.

    Args:
        device: Where it was computed; None = on the CPU by a program without PyTorch.
    """
    if device is None:
        name, threads = _cpu_name(), 1
    else:
        import torch

        name, threads = device_name(device), torch.get_num_threads()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
    }


def has_torch() -> bool:
    """Whether PyTorch is installed; an edge device does without."""
    try:
        import torch  # noqa: F401
    except ImportError:
        return False
    return True


def versions() -> dict[str, str]:
    """Versions of this project and of the libraries that determine a result, as plain strings.

    What is not installed is left out.
    """
    found = {"prune": VERSION}
    for package in ("torch", "torchvision"):
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        found[package] = str(module.__version__)
    return found
