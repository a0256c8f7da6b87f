"""``python -m prune benchmark A B …``: networks of any runtime timed against each other, and what deployment gains."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from prune.benchmark import Figure
from prune.checkpoint import Network, save_checkpoint
from prune.config import BenchmarkConfig, PruneConfig
from prune.contenders import open_contender
from prune.contest import ContestRow, as_dicts, contest
from prune.data.labels import S2DS
from prune.export import Target, export
from prune.files import BENCHMARKS, check_writable, write_json
from prune.hardware import choose_device, machine_facts, set_threads, versions
from prune.models import build_model
from prune.pruning.pruner import prune_model
from prune.report.charts import latency_chart
from prune.report.tables import text_table, write_csv

HEADER = (
    "network",
    "runtime",
    "precision",
    "ms",
    "95 % interval",
    "p95",
    "images/s",
    "speed-up",
    "peak MiB",
    "load s",
    "MiB",
)
ROUND_TO = 16
"""Widths of the networks of the deployment figures are multiples of this."""


@dataclass(frozen=True)
class ContestResult:
    """The rows and the files written."""

    rows: list[ContestRow]
    files: list[Path]

    def __str__(self) -> str:
        return "\n".join(["", text_table(HEADER, [_cells(row) for row in self.rows]), "", *map(str, self.files)])


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
        f"{row.peak_mib:.0f}",
        f"{row.load_s:.2f}",
        f"{row.file_mib:.1f}",
    ]


def run_contest(config: BenchmarkConfig) -> ContestResult:
    """Time the named networks and write JSON, CSV and a chart.

    Raises:
        UserError: for a missing file or runtime, and one that does not run.
    """
    set_threads(config.threads)
    for name in config.files:
        open_contender(name, config.threads, config.device)
    output = Path(config.output or BENCHMARKS / "latency.json")
    check_writable(output.parent)
    size = (config.size, config.size)
    rows = contest(config.files, size, config.passes, batch=config.batch, threads=config.threads, device=config.device)
    machine = machine_facts(choose_device(config.device))
    files = [
        write_json(output, {"rows": as_dicts(rows), "machine": machine, "versions": versions()}),
        write_csv(list(as_dicts(rows)[0]), [list(row.values()) for row in as_dicts(rows)], output.with_suffix(".csv")),
        latency_chart(
            as_dicts(rows), output.with_suffix(".png"), title=f"Latency at {config.size} px, {machine['device']}"
        ),
    ]
    return ContestResult(rows, files)


def _network(channel_ratio: int) -> Network:
    """A DeepLabV3-ResNet101 with random weights, ``channel_ratio`` percent of its channels removed."""
    torch.manual_seed(0)
    model = build_model("deeplabv3_resnet101", len(S2DS), auxiliary=False)
    if channel_ratio:
        settings = PruneConfig(
            pruning_ratio=channel_ratio, importance_type="Magnitude", p_value=1, round_to=ROUND_TO, recalibrate=False
        )
        prune_model(model, settings)
    return Network(model.eval(), "deeplabv3_resnet101")


def _files(folder: Path, size: int) -> dict[str, int]:
    """The contenders of the deployment figures with their channel ratios, the dense checkpoint first."""
    made: dict[str, int] = {}
    noise = list(np.random.default_rng(0).standard_normal((4, 1, 3, size, size)).astype(np.float32))
    plans = {
        0: (("openvino", "fp32"), ("openvino", "int8")),
        50: (("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8")),
        70: (("onnx", "int8"), ("openvino", "int8")),
    }
    with tqdm(total=3 + sum(map(len, plans.values())), desc="exporting", unit="file", leave=False) as bar:
        for ratio, targets in plans.items():
            network = _network(ratio)
            name = f"pruned_{ratio}" if ratio else "dense"
            made[str(save_checkpoint(network, folder / f"{name}.pth"))] = ratio
            bar.update()
            for runtime, precision in targets:
                target = Target(runtime, precision, (size, size))
                file = folder / f"{name}_{precision}{target.suffix}"
                made[str(export(network, target, file, batches=noise))] = ratio
                bar.update()
    return made


def deploy(output: Path, size: int, passes: int) -> list[Figure]:
    """What pruning, quantization and the runtime gain over the dense network in eager float32, all in one run.

    Weights are random: they decide accuracy, not time. Writes the rows to ``output``, a CSV and a chart beside it.
    """
    with tempfile.TemporaryDirectory() as name:
        made = _files(Path(name), size)
        rows = contest(list(made), (size, size), passes)
        named = [
            {"name": Path(row["name"]).stem, "channel_ratio": made[str(row["name"])] / 100}
            | {key: value for key, value in row.items() if key != "name"}
            for row in as_dicts(rows)
        ]
    machine = machine_facts(choose_device("cpu"))
    write_json(output, named)
    write_csv(list(named[0]), [list(row.values()) for row in named], output.with_suffix(".csv"))
    latency_chart(named, output.with_suffix(".png"), title=f"DeepLabV3-ResNet101 at {size} px, {machine['device']}")
    return _bounds(named)


def _bounds(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """The figures to reach, with what was found."""

    def best(ratio: float, precision: str, runtime: str = "") -> dict[str, Any]:
        fitting = [r for r in rows if r["channel_ratio"] == ratio and r["precision"].startswith(precision)]
        return max((r for r in fitting if runtime in r["runtime"]), key=lambda r: r["speedup"])

    found = (
        ("50 % channels, OpenVINO INT8", best(0.5, "int8", "openvino"), 40.0),
        ("50 % channels, ONNX Runtime INT8", best(0.5, "int8", "onnx"), 18.0),
        ("dense, OpenVINO INT8", best(0, "int8", "openvino"), 3.5),
        ("70 % channels, best file", best(0.7, ""), 80.0),
    )
    detail = "over the dense network in eager float32"
    figures = [
        Figure(f"speed-up: {name}", row["speedup"], "x", ">=", bound, f"{row['ms_median']:.0f} ms, {detail}")
        for name, row, bound in found
    ]
    share = best(0.5, "int8", "openvino")["peak_mib"] / rows[0]["peak_mib"]
    detail = f"OpenVINO, the dense eager process takes {rows[0]['peak_mib']:.0f} MiB"
    return [*figures, Figure("peak memory, 50 % INT8 over dense eager", share, "x", "<=", 0.25, detail)]
