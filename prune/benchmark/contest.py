"""``python -m prune benchmark A B …``: networks of any runtime timed against each other."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.benchmark.compare import ContestRow, as_dicts, contest, with_shares
from prune.benchmark.entries import open_contender
from prune.benchmark.machine import machine_kind, measured_machine
from prune.cli.benchmark import BenchmarkOptions
from prune.files import BENCHMARKS, check_writable, write_json
from prune.hardware import choose_device, set_threads, versions
from prune.report.charts import latency_chart
from prune.tables import text_table, write_csv

HEADER = (
    "network",
    "runtime",
    "precision",
    "ms",
    "95 % interval",
    "p95",
    "images/s",
    "speed-up",
    "GMACs/s",
    "% of peak",
    "peak MiB",
    "load s",
    "MiB",
)


@dataclass(frozen=True)
class ContestResult:
    """The rows, the peak of the machine in GMACs/s by number format, and the files written."""

    rows: list[ContestRow]
    peaks: Mapping[str, float | None]
    files: list[Path]

    def __str__(self) -> str:
        peaks = ", ".join(f"{name} {value:.0f}" for name, value in self.peaks.items() if value is not None)
        says = f"peak of this machine in GMACs/s: {peaks} (a network may exceed it by Winograd convolutions)"
        return "\n".join(["", text_table(HEADER, [_cells(row) for row in self.rows]), says, "", *map(str, self.files)])


def _cells(row: ContestRow) -> list[Any]:
    return [
        row.name,
        row.runtime,
        row.precision,
        f"{row.ms_median:.1f}",
        f"{row.ms_low:.1f} to {row.ms_high:.1f}",
        f"{row.ms_p95:.1f}",
        f"{row.images_per_second:.2f}",
        f"{row.speedup:.2f}x",
        None if row.gmacs_per_second is None else f"{row.gmacs_per_second:.1f}",
        None if row.share_of_peak is None else f"{100 * row.share_of_peak:.0f}",
        f"{row.peak_mib:.0f}",
        f"{row.load_s:.2f}",
        f"{row.file_mib:.1f}",
    ]


def run_contest(config: BenchmarkOptions) -> ContestResult:
    """Time the named networks and write JSON, CSV and a chart.

    Raises:
        UserError: for a missing file or runtime, and one that does not run.
    """
    set_threads(config.threads)
    for name in config.files:
        open_contender(name, config.threads, config.device)
    device = choose_device(config.device)
    output = Path(config.output or BENCHMARKS / machine_kind(str(device)) / "latency.json")
    check_writable(output.parent)
    size = (config.size, config.size)
    rows = contest(config.files, size, config.passes, batch=config.batch, threads=config.threads, device=config.device)
    machine = measured_machine()
    peaks = {"cpu": machine["peaks"]}
    if device.type == "cuda":  # the other runtimes stay on the CPU
        machine = measured_machine(str(device))
        peaks[machine["device"]] = machine["peaks"]
    rows = with_shares(rows, peaks)
    table = as_dicts(rows)
    files = [
        write_json(output, {"rows": table, "machine": machine, "versions": versions()}),
        write_csv(list(table[0]), [list(row.values()) for row in table], output.with_suffix(".csv")),
        latency_chart(table, output.with_suffix(".png"), title=f"Latency at {config.size} px, {machine['device']}"),
    ]
    return ContestResult(rows, machine["peaks"], files)
