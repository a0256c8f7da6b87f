"""When, on what and by what an evaluation was made."""

import datetime
from collections.abc import Mapping
from typing import Any

from prune.hardware import choose_device, has_torch, machine_facts, versions


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def run_facts(
    arguments: Mapping[str, Any],
    data: Mapping[str, Any],
    seconds: Mapping[str, float],
    started: str,
    device: str = "cpu",
) -> dict[str, Any]:
    """Provenance of an evaluation as plain values.

    Args:
        arguments: What was asked for.
        data: Which images and labels.
        seconds: Spent on what.
        started: See ``now``.
        device: Where it was computed; without PyTorch always the CPU.
    """
    return {
        "started": started,
        "arguments": {name: list(v) if isinstance(v, tuple) else v for name, v in arguments.items()},
        "versions": versions(),
        "data": dict(data),
        "machine": machine_facts(choose_device(device) if has_torch() else None),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }
