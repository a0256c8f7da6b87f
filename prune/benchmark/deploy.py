"""``python -m prune benchmark --suite deploy``: what pruning, quantization and the runtime gain, all in one run."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch

from prune.benchmark.compare import time_networks, with_shares
from prune.benchmark.figures import Figure
from prune.benchmark.layer_profile import OperatorTime, profile
from prune.data.labels import S2DS
from prune.deployment.export import export
from prune.deployment.settings import FORMATS
from prune.deployment.target import ExportTarget
from prune.files import write_json, write_text
from prune.hardware import versions
from prune.inference.openvino import has_openvino_bf16
from prune.models import build_model
from prune.models.checkpoint import Network, save_checkpoint
from prune.progress import Bar, progress
from prune.pruning.pruner import prune_model
from prune.pruning.settings import PruneSettings
from prune.report.charts import latency_chart
from prune.tables import markdown_table, write_csv

ROUND_TO = 16
"""Widths of the networks of the deployment figures are multiples of this."""
LARGE_MACS = 5e9
"""Networks above this many MACs keep the CPU busy enough to be held to a share of its peak."""
SHARE_BOUND = 0.8
"""Share of the measured peak that a large network must reach."""
GAIN_BOUNDS = {"amx": 9.0, "avx512_vnni": 4.0}
"""How many times as fast as the pruned network in eager PyTorch its best file must be, by the kind of the CPU."""
GAIN_BOUND = 1.5
"""The same on CPUs that cannot multiply INT8 in hardware."""
PROFILED = (("openvino", "int8"), ("openvino", "fp32"), ("onnx", "int8"), ("onnx", "fp32"))
"""Files of the 50% network whose layers are timed."""
SHOWN_SHARE = 0.002
"""Operators below this share of the time are left out of the profile's table; the JSON has them all."""

Row = Mapping[str, Any]


def _network(channel_ratio: int) -> Network:
    """A DeepLabV3-ResNet101 with random weights, ``channel_ratio`` percent of its channels removed."""
    torch.manual_seed(0)
    model = build_model("deeplabv3_resnet101", len(S2DS), auxiliary=False)
    if channel_ratio:
        settings = PruneSettings(
            pruning_ratio=channel_ratio, importance_type="Magnitude", p_value=1, round_to=ROUND_TO, recalibrate=False
        )
        prune_model(model, settings)
    return Network(model.eval(), "deeplabv3_resnet101")


def _plans(bf16: bool) -> dict[int, list[tuple[str, str]]]:
    """Runtime and precision of the files of every channel ratio; the dense and the 50% network in bf16 too if asked."""
    plans = {
        0: [("openvino", "fp32"), ("openvino", "int8")],
        50: [("onnx", "fp32"), ("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8")],
        70: [("onnx", "int8"), ("openvino", "fp32"), ("openvino", "int8")],
    }
    for ratio in (0, 50) if bf16 else ():
        plans[ratio].append(("openvino", "bf16"))
    return plans


def _files(folder: Path, size: int) -> dict[str, int]:
    """The networks of the deployment figures with their channel ratios, the dense checkpoint first."""
    made: dict[str, int] = {}
    noise = list(np.random.default_rng(0).standard_normal((4, 1, 3, size, size)).astype(np.float32))
    plans = _plans(has_openvino_bf16())
    with Bar(total=len(plans) + sum(map(len, plans.values())), desc="exporting", unit="file", leave=False) as bar:
        for ratio, targets in plans.items():
            network = _network(ratio)
            name = f"pruned_{ratio}" if ratio else "dense"
            made[str(save_checkpoint(network, folder / f"{name}.pth"))] = ratio
            bar.update()
            for runtime, precision in targets:
                target = ExportTarget(runtime, precision, (size, size))
                file = folder / f"{name}_{precision}{target.suffix}"
                made[str(export(network, target, file, batches=noise))] = ratio
                bar.update()
    return made


def deploy(output: Path, size: int, passes: int, machine: dict[str, Any]) -> list[Figure]:
    """What pruning, quantization and the runtime gain over the dense network in eager float32, all in one run.

    Weights are random: they decide accuracy, not time. Writes the rows to ``output``, a CSV and a chart beside it, and
    where the time of the 50% network goes (``deploy_profile.json`` and ``.md``).

    Args:
        output: The JSON file.
        size: Side of the image in px.
        passes: Timed passes of each network.
        machine: See ``prune.benchmark.machine.measured_machine``.
    """
    with tempfile.TemporaryDirectory() as name:
        made = _files(Path(name), size)
        found = with_shares(time_networks(list(made), (size, size), passes), {"cpu": machine["peaks"]})
        rows = [
            {"name": Path(row["name"]).stem, "channel_ratio": made[str(row["name"])] / 100}
            | {key: value for key, value in row.items() if key != "name"}
            for row in map(asdict, found)
        ]
        _write_profile(output.with_name(f"{output.stem}_profile.json"), Path(name), size, machine["threads"])
    write_json(output, {"rows": rows, "machine": machine, "versions": versions()})
    write_csv(list(rows[0]), [list(row.values()) for row in rows], output.with_suffix(".csv"))
    latency_chart(rows, output.with_suffix(".png"), title=f"DeepLabV3-ResNet101 at {size} px, {machine['device']}")
    return deploy_bounds(rows, machine["kind"])


def _write_profile(output: Path, folder: Path, size: int, threads: int) -> None:
    """Time the layers of the files of the 50% network in ``folder``; write them as JSON and as a Markdown table."""
    profiles: dict[tuple[str, str], list[OperatorTime]] = {}
    for runtime, precision in progress(PROFILED, "layer profiles", "file"):
        file = folder / f"pruned_50_{precision}{FORMATS[runtime][0]}"
        profiles[runtime, precision] = profile(file, (size, size), threads=threads)
    content = [
        {"name": "pruned_50", "runtime": runtime, "precision": precision, "operators": [asdict(o) for o in found]}
        for (runtime, precision), found in profiles.items()
    ]
    write_json(output, content)
    write_text(output.with_suffix(".md"), profile_table(content) + "\n")


def profile_table(profiles: Sequence[Row]) -> str:
    """Where the time of each profiled file goes, a line per operator, as a Markdown table."""
    cells = []
    for entry in profiles:
        for operator in entry["operators"]:
            if operator["share"] >= SHOWN_SHARE:
                file, share = f"{entry['runtime']} {entry['precision']}", f"{100 * operator['share']:.1f}"
                layers = operator["operator"], operator["kernel"], operator["layers"]
                cells.append([file, *layers, f"{operator['ms']:.1f}", share])
    return markdown_table(["file", "operator", "kernel", "layers", "ms", "% of the time"], cells)


def deploy_bounds(rows: Sequence[Row], kind: str) -> list[Figure]:
    """What the rows must reach on any CPU: shares of its measured peak, and ratios between rows of the same run.

    Args:
        rows: Rows of ``deploy``, the dense network in eager PyTorch first.
        kind: Of the CPU, see ``prune.benchmark.cpu.cpu_kind``.
    """
    halved = [row for row in rows if row["channel_ratio"] == 0.5]
    eager = next(row for row in halved if row["runtime"] == "pytorch")
    quantized = next(row for row in halved if (row["runtime"], row["precision"]) == ("openvino", "int8"))
    fastest = min(halved, key=lambda row: row["ms_median"])
    figures = [_share("50 % channels, OpenVINO INT8", quantized)]
    for ratio in dict.fromkeys(row["channel_ratio"] for row in rows):
        floats = [row for row in rows if row["channel_ratio"] == ratio and row["precision"] == "fp32"]
        if floats[0]["macs"] > LARGE_MACS:
            name = f"{100 * ratio:.0f} % channels" if ratio else "dense"
            figures.append(_share(f"{name}, best float32", min(floats, key=lambda row: row["ms_median"])))
    detail = f"{fastest['runtime']} {fastest['precision']} {fastest['ms_median']:.0f} ms, "
    detail += f"eager {eager['ms_median']:.0f} ms; bound of the CPU kind {kind}"
    gain, bound = eager["ms_median"] / fastest["ms_median"], GAIN_BOUNDS.get(kind, GAIN_BOUND)
    figures.append(Figure("50 % channels, best file over eager PyTorch", gain, "x", ">=", bound, detail))
    memory = quantized["peak_mib"] / rows[0]["peak_mib"]
    detail = f"OpenVINO, the dense eager process takes {rows[0]['peak_mib']:.0f} MiB"
    return [*figures, Figure("peak memory, 50 % INT8 over dense eager", memory, "x", "<=", 0.25, detail)]


def _share(name: str, row: Row) -> Figure:
    """The share of the peak a row reaches, as a figure."""
    detail = f"{row['runtime']} {row['precision']}, {row['ms_median']:.0f} ms, {row['gmacs_per_second']:.0f} GMACs/s, "
    detail += f"peak {row['gmacs_per_second'] / row['share_of_peak']:.0f}"
    return Figure(f"share of the peak: {name}", row["share_of_peak"], "", ">=", SHARE_BOUND, detail)
