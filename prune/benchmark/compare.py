"""Latency, memory and size of networks of any runtime, measured side by side."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tqdm import tqdm

from prune.benchmark.entries import open_contender, split_name
from prune.benchmark.latency import time_predictors
from prune.benchmark.machine import gmacs_per_second, share_of_peak
from prune.errors import UserError
from prune.files import file_mib
from prune.inference.predictor import Predictor
from prune.inference.torch import TorchPredictor
from prune.models.cost import count


@dataclass(frozen=True)
class ContestRow:
    """One contender; ``speedup`` is that over the first. Times in ms, sizes in MiB, ``None`` = unknown.

    ``device`` is what PyTorch ran it on: ``cpu`` or the GPU's name. ``gmacs_per_second`` counts all images of a pass;
    ``share_of_peak`` (1 = all of it) is that over the peak of its number format, see ``with_shares``.
    """

    name: str
    runtime: str
    precision: str
    size: str
    batch: int
    ms_median: float
    ms_p95: float
    ms_low: float
    ms_high: float
    images_per_second: float
    speedup: float
    peak_mib: float
    load_s: float
    file_mib: float
    parameters: int | None
    macs: int | None
    device: str
    gmacs_per_second: float | None
    share_of_peak: float | None = None


def _probe(name: str, size: tuple[int, int], batch: int, threads: int) -> dict[str, float]:
    """Seconds to load and peak memory of a process that does nothing else."""
    words = [sys.executable, "-m", "prune.benchmark.memory", name, *map(str, (*size, batch, threads))]
    root = str(Path(__file__).parent.parent.parent)
    environment = {**os.environ, "PYTHONPATH": root}
    finished = subprocess.run(words, env=environment, capture_output=True, text=True)
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{name}: a process of its own failed: {last[:160]}")
    return json.loads(finished.stdout.strip().splitlines()[-1])


def _counts(predictor: Predictor, size: tuple[int, int]) -> tuple[int | None, int | None]:
    """Parameters and MACs at a size."""
    if isinstance(predictor, TorchPredictor) and "compiled" not in predictor.card.precision:
        return count(predictor.network.model, size)
    return predictor.card.parameters, predictor.card.macs.get(f"{size[1]}x{size[0]}")


def contest(
    names: Sequence[str], size: tuple[int, int], repeats: int, *, batch: int = 1, threads: int = 0, device: str = "cpu"
) -> list[ContestRow]:
    """Time contenders in turns, in random order per round, and measure memory and loading in processes of their own.

    Args:
        names: Contenders, see ``prune.benchmark.entries``; the first is the baseline of the speedups.
        size: Height and width of the input in px.
        repeats: Timed passes of each.
        batch: Images per pass.
        threads: CPU threads of every runtime, 0 = all cores.
        device: Of the contenders PyTorch runs.

    Raises:
        UserError: for a missing file or runtime, and one that does not run.
    """
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice:
        raise UserError(f"benchmark: {twice} is named twice")
    predictors = {name: open_contender(name, threads, device) for name in names}
    probed = {n: _probe(n, size, batch, threads) for n in tqdm(names, desc="memory", unit="process", leave=False)}
    timed = time_predictors(predictors, size, repeats, batch=batch, warmup=2)
    base = timed[names[0]].median
    rows = []
    for name, predictor in predictors.items():
        timing, real = timed[name], predictor.card.size or size
        parameters, macs = _counts(predictor, real)
        rows.append(
            ContestRow(
                name=name,
                runtime="openvino" if name.endswith(":openvino") else predictor.card.runtime,
                precision=predictor.card.precision,
                size=f"{real[1]}x{real[0]}",
                batch=batch,
                ms_median=timing.median,
                ms_p95=timing.p95,
                ms_low=timing.interval()[0],
                ms_high=timing.interval()[1],
                images_per_second=1e3 * batch / timing.median,
                speedup=base / timing.median,
                peak_mib=probed[name]["peak_mib"],
                load_s=probed[name]["load_s"],
                file_mib=file_mib(split_name(name)[0]),
                parameters=parameters,
                macs=macs,
                device=predictor.device or "cpu",
                gmacs_per_second=gmacs_per_second(None if macs is None else macs * batch, timing.median),
            )
        )
    return rows


def with_shares(rows: Sequence[ContestRow], peaks: Mapping[str, Mapping[str, float | None]]) -> list[ContestRow]:
    """The rows with their share of the peak of the device and the number format they ran in.

    Args:
        rows: Rows of ``contest``.
        peaks: GMACs/s by device (``cpu`` or the GPU's name) and number format, see ``prune.benchmark.machine``; the share on a device
            that is not among them is None.
    """
    return [
        replace(row, share_of_peak=share_of_peak(row.gmacs_per_second, row.precision, peaks.get(row.device, {})))
        for row in rows
    ]


def as_dicts(rows: Sequence[ContestRow]) -> list[dict[str, Any]]:
    """Plain values."""
    return [asdict(row) for row in rows]
