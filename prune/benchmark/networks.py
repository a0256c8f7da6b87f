"""``python -m prune benchmark --suite networks``: the speed of every network, dense and pruned, on every runtime."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch

from prune.benchmark.deploy import LARGE_MACS, SHARE_BOUND
from prune.benchmark.entries import open_network, split_name
from prune.benchmark.figures import Figure
from prune.benchmark.machine import gmacs_per_second, share_of_peak, stored_rows
from prune.benchmark.throughput import throughput
from prune.data.labels import CRACK
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.files import file_mib, write_json
from prune.inference.latency import time_predictors
from prune.inference.torch import TorchPredictor
from prune.models import ARCHITECTURES, architecture, build_model
from prune.models.checkpoint import Network
from prune.models.cost import count
from prune.progress import progress, tell
from prune.pruning.pruner import prune_model
from prune.pruning.settings import PruneSettings
from prune.report.network_charts import speed_chart
from prune.tables import text_table, write_csv

RATIO = 50
"""Percent of the channels removed from the pruned networks."""
THROUGHPUT_ROUNDS = 15
"""Rounds in which images per second with one per core are measured."""
FASTEST = "hrsegnet_b16"
"""The small network that must reach ``SHARE_BOUND`` of the float32 peak, with one image per core where that is faster."""


def _network(name: str, ratio: int) -> Network:
    """A network for background and crack with random weights, which decide accuracy, not time."""
    torch.manual_seed(0)
    model = build_model(name, len(CRACK), auxiliary=False)
    if ratio:
        prune_model(
            model, PruneSettings(pruning_ratio=ratio, importance_type="Magnitude", p_value=1, recalibrate=False)
        )
    return Network(model.eval(), name, CRACK)


@dataclass(frozen=True)
class _Variant:
    """A network on one runtime.

    Args:
        ratio: Percent of the channels removed.
        runtime: What runs it.
        precision: Its numbers.
        name: How ``open_network`` calls the export; empty = the network itself in eager PyTorch.
    """

    ratio: int
    runtime: str
    precision: str
    name: str = ""

    @property
    def label(self) -> str:
        """Of the row."""
        return f"{self.ratio}|{self.runtime}|{self.precision}"


def _exported(network: Network, ratio: int, folder: Path, size: tuple[int, int]) -> list[_Variant]:
    """The network in PyTorch and as files of every other runtime."""
    noise = list(np.random.default_rng(0).standard_normal((2, 1, 3, *size)).astype(np.float32))
    onnx = export(network, ExportTarget("onnx", size=size), folder / "fp32.onnx")
    openvino = export(network, ExportTarget("openvino", "int8", size), folder / "int8.xml", batches=noise)
    ncnn = export(network, ExportTarget("ncnn", size=size), folder / "fp32.ncnn.param")
    return [
        _Variant(ratio, "pytorch", "fp32"),
        _Variant(ratio, "onnx", "fp32", str(onnx)),
        _Variant(ratio, "openvino", "fp32", f"{onnx}:openvino"),
        _Variant(ratio, "openvino", "int8", str(openvino)),
        _Variant(ratio, "ncnn", "fp32", str(ncnn)),
    ]


def _rows(name: str, passes: int) -> list[dict[str, Any]]:
    """Every runtime of one network, dense and pruned; the dense one in eager PyTorch is the baseline."""
    side = architecture(name).size
    size, networks = (side, side), {ratio: _network(name, ratio) for ratio in (0, RATIO)}
    costs = {ratio: count(network.model, size) for ratio, network in networks.items()}
    small = (
        costs[0][1] < LARGE_MACS
    )  # short passes, and cores that share one of their layers mostly wait for each other
    with tempfile.TemporaryDirectory() as folder:
        variants = [
            variant
            for ratio, network in networks.items()
            for variant in _exported(network, ratio, Path(folder) / str(ratio), size)
        ]
        predictors = {
            c.label: open_network(c.name) if c.name else TorchPredictor(networks[c.ratio], torch.device("cpu"))
            for c in variants
        }
        times = time_predictors(predictors, size, passes * 6 if small else passes)
        rates: dict[str, float] = {}
        if small:
            copies = range(os.cpu_count() or 1)
            parallel = {c.label: [open_network(c.name, 1) for _ in copies] for c in variants if c.name}
            rates = throughput(parallel, size, THROUGHPUT_ROUNDS)
        sizes = {c.label: file_mib(split_name(c.name)[0]) for c in variants if c.name}
    base = times[variants[0].label].median
    rows = []
    for variant in variants:
        timing = times[variant.label]
        low, high = timing.interval()
        parameters, macs = costs[variant.ratio]
        row = {"name": name, "channel_ratio": variant.ratio / 100, "runtime": variant.runtime}
        row |= {"precision": variant.precision, "size": f"{side}x{side}"}
        row |= {"ms_median": timing.median, "ms_p95": timing.p95, "ms_low": low, "ms_high": high}
        row |= {"images_per_second": 1e3 / timing.median, "images_per_second_one_per_core": rates.get(variant.label)}
        row |= {"speedup": base / timing.median, "file_mib": sizes.get(variant.label)}
        rows.append(row | {"parameters": parameters, "macs": macs})
    return rows


def with_shares(rows: Sequence[dict[str, Any]], peaks: Mapping[str, float | None]) -> list[dict[str, Any]]:
    """The rows with their GMACs/s and their share of the peak of their number format, alone and with one per core.

    Args:
        rows: Rows with ``macs``, ``ms_median``, ``precision`` and ``images_per_second_one_per_core`` (None = not measured).
        peaks: GMACs/s by number format.
    """
    result = []
    for row in rows:
        rate, per_core = gmacs_per_second(row["macs"], row["ms_median"]), row["images_per_second_one_per_core"]
        crowded = None if per_core is None else row["macs"] * per_core / 1e9
        shares = [share_of_peak(value, row["precision"], peaks) for value in (rate, crowded)]
        result.append(
            row | {"gmacs_per_second": rate, "share_of_peak": shares[0], "share_of_peak_one_per_core": shares[1]}
        )
    return result


def _fastest(row: dict[str, Any]) -> float:
    """Images per second, one after the other or one per core, whichever is more."""
    return max(row["images_per_second"], row.get("images_per_second_one_per_core") or 0.0)


def _best_share(row: dict[str, Any]) -> float | None:
    """Share of the peak, one after the other or one per core, whichever is more; None in rows of older versions."""
    known = [row.get(key) for key in ("share_of_peak", "share_of_peak_one_per_core")]
    return max((share for share in known if share is not None), default=None)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Milliseconds of every runtime, a line per network and channel ratio; empty where one was not measured."""
    kinds = list(dict.fromkeys((row["runtime"], row["precision"]) for row in rows))
    lines: dict[tuple[str, float], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row["name"], row["channel_ratio"]), {})[row["runtime"], row["precision"]] = row
    cells = []
    for (name, ratio), found in lines.items():
        best = max((row for row in found.values() if row["precision"] == "fp32"), key=_fastest)
        times = (f"{found[kind]['ms_median']:.1f}" if kind in found else "" for kind in kinds)
        share = _best_share(best)
        cells.append([name, f"{ratio:.0%}", *times, "" if share is None else f"{100 * share:.0f}"])
    titles = (runtime if precision == "fp32" else f"{runtime} {precision}" for runtime, precision in kinds)
    note = "ms per pass, float32 unless stated otherwise"
    return f"{text_table(['network', 'removed', *titles, '% of peak'], cells)}\n{note}"


def _write(output: Path, rows: Sequence[dict[str, Any]], machine: dict[str, Any]) -> None:
    write_json(output, {"rows": rows, "machine": machine})
    keys = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(keys, [[row.get(key) for key in keys] for row in rows], output.with_suffix(".csv"))
    speed_chart(rows, output.with_suffix(".png"), title=f"Every network at the size of its recipe, {machine['device']}")


def networks_speed(output: Path, passes: int, names: Sequence[str], machine: dict[str, Any]) -> list[Figure]:
    """Time every network at the size of its recipe, batch 1; writes the rows to ``output``, a CSV and a chart beside it.

    Runtimes of one network are interleaved; rows of other networks in the file stay when they are of the same machine.

    Args:
        output: The JSON file.
        passes: Timed passes of each of them, six times as many of small networks.
        names: Networks.
        machine: See ``prune.benchmark.machine.measured_machine``.
    """
    order, rows = list(ARCHITECTURES), stored_rows(output, "rows", machine)
    for name in progress(names, "networks", "network"):
        measured = with_shares(_rows(name, passes), machine["peaks"])
        rows = [row for row in rows if row["name"] != name] + measured
        rows.sort(key=lambda row: order.index(row["name"]))
        _write(output, rows, machine)
    tell(f"\n{table(rows)}\n% of peak: a runtime that needs fewer multiplications (Winograd) may exceed 100\n")
    return speed_bounds(rows)


def speed_bounds(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """What must be reached on any CPU: of its float32 peak by every large network, and by the small one.

    Args:
        rows: Rows of ``networks_speed``; those without a share, of older versions, are left out.
    """
    fastest: dict[tuple[str, float], dict[str, Any]] = {}
    for row in rows:
        key = row["name"], row["channel_ratio"]
        if row["precision"] == "fp32" and _best_share(row) is not None:
            fastest[key] = max(fastest.get(key, row), row, key=_fastest)
    figures = []
    large = {f"{name} {ratio:.0%} removed": row for (name, ratio), row in fastest.items() if row["macs"] > LARGE_MACS}
    if large:
        shares = {name: row["share_of_peak"] for name, row in large.items()}
        lowest = min(shares, key=lambda name: shares[name])
        below = [name for name, share in shares.items() if share < SHARE_BOUND]
        detail = f"{lowest}, {large[lowest]['runtime']}; {len(below)} of {len(large)} below the bound; "
        detail += f"median {median(shares.values()):.2f}"
        name = "share of the float32 peak: lowest of the networks over 5 GMACs"
        figures.append(Figure(name, shares[lowest], "", ">=", SHARE_BOUND, detail))
    if best := fastest.get((FASTEST, 0)):
        detail = f"{best['runtime']}, {best['size']}, batch 1: {best['images_per_second']:.0f} images/s one after the "
        detail += f"other, {best['images_per_second_one_per_core'] or 0:.0f} with one per core"
        share = _best_share(best) or 0.0
        figures.append(Figure(f"share of the float32 peak: {FASTEST}", share, "", ">=", SHARE_BOUND, detail))
    return figures
