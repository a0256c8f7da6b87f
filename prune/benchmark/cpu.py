"""This CPU: its flags, its kind, and the number formats it multiplies in hardware."""

import platform
import re
from pathlib import Path

CPUINFO = Path("/proc/cpuinfo")
FLAGS: tuple[str, ...] = (
    *("avx2", "fma", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8"),
    *("asimd", "asimddp", "i8mm", "bf16", "sve"),
)
"""CPU flags that decide how fast a network runs, as Linux spells them."""
CPU_KINDS = {"amx_tile": "amx", "avx512_vnni": "avx512_vnni", "avx512f": "avx512", "avx2": "avx2"}
"""Kind of an x86 CPU by the best of its flags."""


def cpu_flags(cpuinfo: str | None) -> frozenset[str]:
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
    flags = cpu_flags(cpuinfo)
    architecture = platform.machine().lower() if cpuinfo is None else ""
    if "asimd" in flags or architecture in ("arm64", "aarch64"):
        return "arm64"
    return next((kind for flag, kind in CPU_KINDS.items() if flag in flags), architecture or "unknown")


def has_bf16(cpuinfo: str | None = None) -> bool:
    """Whether the CPU multiplies bfloat16 in hardware; emulated, it is over 40 times slower than float32."""
    return bool(cpu_flags(cpuinfo) & {"avx512_bf16", "amx_bf16", "bf16"})
