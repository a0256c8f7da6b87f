"""Latency, memory and size of networks of any runtime, measured side by side; PyTorch is needed by its own files only."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from prune.benchmark.entries import open_network, split_name
from prune.benchmark.machine import gmacs_per_second, measured_machine, resolved_device, share_of_peak
from prune.benchmark.settings import TimingSettings
from prune.errors import UserError
from prune.files import file_mib, write_json
from prune.hardware import has_torch, set_threads, versions
from prune.inference.latency import time_predictors
from prune.inference.predictor import Predictor
from prune.progress import progress
from prune.tables import text_table, write_csv

HEADER = ("network", "runtime", "precision", "ms", "95% interval", "images/s", "speed-up", "% of peak", "peak MiB")
"""Columns on the screen; the files have more."""
NAME_WIDTH = 24
"""Characters of a network's name on the screen, at most."""


@dataclass(frozen=True)
class TimedNetwork:
    """What one network took; ``speedup`` is that over the first. Times in ms, sizes in MiB, ``None`` = unknown.

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

    def cells(self, name: str) -> list[str | None]:
        """Of the table on the screen, under a shorter ``name``."""
        return [
            name,
            self.runtime,
            self.precision,
            f"{self.ms_median:.1f}",
            f"{self.ms_low:.1f} to {self.ms_high:.1f}",
            f"{self.images_per_second:.2f}",
            f"{self.speedup:.2f}x",
            None if self.share_of_peak is None else f"{100 * self.share_of_peak:.0f}",
            f"{self.peak_mib:.0f}",
        ]


@dataclass(frozen=True)
class NetworkComparison:
    """Networks timed against each other on one machine.

    Args:
        rows: A row per network, the baseline first.
        machine: Facts of the machine, with its peaks in GMACs/s by number format.
        title: Of the chart.
    """

    rows: list[TimedNetwork]
    machine: Mapping[str, Any]
    title: str

    def __str__(self) -> str:
        peaks = ", ".join(f"{name} {value:.0f}" for name, value in self.machine["peaks"].items() if value is not None)
        says = f"peak of this machine in GMACs/s: {peaks} (a network may exceed it by Winograd convolutions)"
        names = short_names([row.name for row in self.rows])
        cells = [row.cells(name) for row, name in zip(self.rows, names, strict=True)]
        return f"{text_table(HEADER, cells)}\n{says if peaks else 'peak of this machine: not measured'}"

    def write(self, output: Path) -> list[Path]:
        """Write the rows as JSON to ``output``, as CSV beside it and, where Matplotlib is installed, a chart."""
        table = [asdict(row) for row in self.rows]
        files = [
            write_json(output, {"rows": table, "machine": dict(self.machine), "versions": versions()}),
            write_csv(list(table[0]), [list(row.values()) for row in table], output.with_suffix(".csv")),
        ]
        try:
            from prune.report.charts import latency_chart
        except ImportError:  # an edge device
            return files
        return [*files, latency_chart(table, output.with_suffix(".png"), title=self.title)]


def short_names(names: Sequence[str]) -> list[str]:
    """File names without folders, their middle left out where they are long; all of it where two would read the same."""
    found = [name.replace("\\", "/").rpartition("/")[2] for name in names]
    half = (NAME_WIDTH - 1) // 2
    found = [name if len(name) <= NAME_WIDTH else f"{name[:half]}…{name[-half:]}" for name in found]
    return [short if found.count(short) == 1 else name for short, name in zip(found, names, strict=True)]


def _measured_alone(name: str, size: tuple[int, int], batch: int, threads: int) -> dict[str, float]:
    """Seconds to load and peak memory of a process that does nothing else, see ``prune.benchmark.memory``."""
    words = [sys.executable, "-m", "prune.benchmark.memory", name, *map(str, (*size, batch, threads))]
    paths = [str(Path(__file__).parent.parent.parent), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    finished = subprocess.run(words, env=environment, capture_output=True, text=True)
    if finished.returncode:
        last = (finished.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{name}: a process of its own failed: {last[:160]}")
    return json.loads(finished.stdout.strip().splitlines()[-1])


def _counts(predictor: Predictor, size: tuple[int, int]) -> tuple[int | None, int | None]:
    """Parameters and MACs at a size."""
    network = getattr(predictor, "network", None)
    if network is not None and "compiled" not in predictor.card.precision:
        from prune.models.cost import count

        return count(network.model, size)
    return predictor.card.parameters, predictor.card.macs.get(f"{size[1]}x{size[0]}")


def time_networks(
    names: Sequence[str], size: tuple[int, int], repeats: int, *, batch: int = 1, threads: int = 0, device: str = "cpu"
) -> list[TimedNetwork]:
    """Time networks in interleaved runs, in random order per round, and measure memory and loading in separate processes.

    Args:
        names: Networks, see ``prune.benchmark.entries``; the first is the baseline of the speedups.
        size: Height and width of the input in px.
        repeats: Timed passes of each.
        batch: Images per pass.
        threads: CPU threads of every runtime, 0 = all cores.
        device: Of the networks PyTorch runs.

    Raises:
        UserError: for a missing file or runtime, and one that does not run.
    """
    twice = next((name for name in names if list(names).count(name) > 1), None)
    if twice:
        raise UserError(f"benchmark: {twice} is named twice")
    predictors = {name: open_network(name, threads, device) for name in names}
    alone = {name: _measured_alone(name, size, batch, threads) for name in progress(names, "memory", "process")}
    timed = time_predictors(predictors, size, repeats, batch=batch, warmup=2)
    base = timed[names[0]].median
    rows = []
    for name, predictor in predictors.items():
        timing, real = timed[name], predictor.card.size or size
        parameters, macs = _counts(predictor, real)
        rows.append(
            TimedNetwork(
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
                peak_mib=alone[name]["peak_mib"],
                load_s=alone[name]["load_s"],
                file_mib=file_mib(split_name(name)[0]),
                parameters=parameters,
                macs=macs,
                device=predictor.device or "cpu",
                gmacs_per_second=gmacs_per_second(None if macs is None else macs * batch, timing.median),
            )
        )
    return rows


def with_shares(rows: Sequence[TimedNetwork], peaks: Mapping[str, Mapping[str, float | None]]) -> list[TimedNetwork]:
    """The rows with their share of the peak of the device and the number format they ran in.

    Args:
        rows: Rows of ``time_networks``.
        peaks: GMACs/s by device (``cpu`` or the GPU's name) and number format, see ``prune.benchmark.machine``; the share on a device
            that is not among them is None.
    """
    return [
        replace(row, share_of_peak=share_of_peak(row.gmacs_per_second, row.precision, peaks.get(row.device, {})))
        for row in rows
    ]


def compare_networks(names: Sequence[str], settings: TimingSettings) -> NetworkComparison:
    """Time networks side by side and compare them with the peaks of this machine.

    Args:
        names: Networks, see ``prune.benchmark.entries``; the first is the baseline of the speedups.
        settings: How.

    Raises:
        UserError: for a missing file or runtime, and one that does not run.
    """
    size, threads, device = (settings.size, settings.size), settings.threads, resolved_device(settings.device)
    if has_torch():
        set_threads(threads)
    rows = time_networks(names, size, settings.passes, batch=settings.batch, threads=threads, device=device)
    machine = measured_machine(threads=threads)
    peaks = {"cpu": machine["peaks"]}
    if device != "cpu":  # the other runtimes stay on the CPU
        machine = measured_machine(device)
        peaks[machine["device"]] = machine["peaks"]
    title = f"Latency at {settings.size} px, {machine['device']}"
    return NetworkComparison(with_shares(rows, peaks), machine, title)
