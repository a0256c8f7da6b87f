"""``python -m prune benchmark --suite networks``: the speed of every network, dense and pruned, on every runtime."""

import json
import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from prune.benchmark import Figure
from prune.checkpoint import Network
from prune.config import PruneConfig
from prune.contenders import open_contender, split_name
from prune.data.labels import CRACK
from prune.export import Target, export
from prune.files import file_mib, write_json
from prune.hardware import choose_device, machine_facts
from prune.latency import throughput, time_predictors
from prune.models import ARCHITECTURES, architecture, build_model
from prune.models.cost import count
from prune.predict_torch import TorchPredictor
from prune.pruning.pruner import prune_model
from prune.report.network_charts import speed_chart
from prune.report.tables import text_table, write_csv

RATIO = 50
"""Percent of the channels removed from the pruned contenders."""
SMALL_MACS = 5e9
"""Networks below this many MACs are timed six times as often, and with one image per core at a time: their passes are
short, and cores that share one of their layers mostly wait for each other."""
THROUGHPUT_ROUNDS = 15
"""Rounds in which images per second with one per core are measured."""
FASTEST, BOUND = "hrsegnet_b16", 120.0
"""The network that must reach this many images per second in float32."""


MATRIX_SIDE, MATRIX_REPEATS = 1024, 30
"""Of the matrix product that says what this machine gives."""


def matrix_speed() -> float:
    """Billions of multiply-accumulates per second in a float32 matrix product: what this machine gives right now.

    A network that must run faster than its MACs at this rate cannot, without fewer of them or other numbers.
    """
    left, right = torch.randn(2, MATRIX_SIDE, MATRIX_SIDE)
    seconds = []
    for _ in range(MATRIX_REPEATS):
        start = time.perf_counter()
        left @ right
        seconds.append(time.perf_counter() - start)
    return MATRIX_SIDE**3 / median(seconds) / 1e9


def _network(name: str, ratio: int) -> Network:
    """A network for background and crack with random weights, which decide accuracy, not time."""
    torch.manual_seed(0)
    model = build_model(name, len(CRACK), auxiliary=False)
    if ratio:
        prune_model(model, PruneConfig(pruning_ratio=ratio, importance_type="Magnitude", p_value=1, recalibrate=False))
    return Network(model.eval(), name, CRACK)


@dataclass(frozen=True)
class _Contender:
    """A network on one runtime.

    Args:
        ratio: Percent of the channels removed.
        runtime: What runs it.
        precision: Its numbers.
        name: How ``open_contender`` calls the export; empty = the network itself in eager PyTorch.
    """

    ratio: int
    runtime: str
    precision: str
    name: str = ""

    @property
    def label(self) -> str:
        """Of the row."""
        return f"{self.ratio}|{self.runtime}|{self.precision}"


def _exported(network: Network, ratio: int, folder: Path, size: tuple[int, int]) -> list[_Contender]:
    """The network in PyTorch and as files of every other runtime."""
    noise = list(np.random.default_rng(0).standard_normal((2, 1, 3, *size)).astype(np.float32))
    onnx = export(network, Target("onnx", size=size), folder / "fp32.onnx")
    openvino = export(network, Target("openvino", "int8", size), folder / "int8.xml", batches=noise)
    ncnn = export(network, Target("ncnn", size=size), folder / "fp32.ncnn.param")
    return [
        _Contender(ratio, "pytorch", "fp32"),
        _Contender(ratio, "onnx", "fp32", str(onnx)),
        _Contender(ratio, "openvino", "fp32", f"{onnx}:openvino"),
        _Contender(ratio, "openvino", "int8", str(openvino)),
        _Contender(ratio, "ncnn", "fp32", str(ncnn)),
    ]


def _rows(name: str, passes: int) -> list[dict[str, Any]]:
    """Every runtime of one network, dense and pruned; the dense one in eager PyTorch is the baseline."""
    side = architecture(name).size
    size, networks = (side, side), {ratio: _network(name, ratio) for ratio in (0, RATIO)}
    costs = {ratio: count(network.model, size) for ratio, network in networks.items()}
    small = costs[0][1] < SMALL_MACS
    with tempfile.TemporaryDirectory() as folder:
        contenders = [
            contender
            for ratio, network in networks.items()
            for contender in _exported(network, ratio, Path(folder) / str(ratio), size)
        ]
        predictors = {
            c.label: open_contender(c.name) if c.name else TorchPredictor(networks[c.ratio], torch.device("cpu"))
            for c in contenders
        }
        times = time_predictors(predictors, size, passes * 6 if small else passes)
        rates: dict[str, float] = {}
        if small:
            copies = range(os.cpu_count() or 1)
            parallel = {c.label: [open_contender(c.name, 1) for _ in copies] for c in contenders if c.name}
            rates = throughput(parallel, size, THROUGHPUT_ROUNDS)
        sizes = {c.label: file_mib(split_name(c.name)[0]) for c in contenders if c.name}
    base = times[contenders[0].label].median
    rows = []
    for contender in contenders:
        timing = times[contender.label]
        low, high = timing.interval()
        parameters, macs = costs[contender.ratio]
        row = {"name": name, "channel_ratio": contender.ratio / 100, "runtime": contender.runtime}
        row |= {"precision": contender.precision, "size": f"{side}x{side}"}
        row |= {"ms_median": timing.median, "ms_p95": timing.p95, "ms_low": low, "ms_high": high}
        row |= {"images_per_second": 1e3 / timing.median, "images_per_second_one_per_core": rates.get(contender.label)}
        row |= {"speedup": base / timing.median, "file_mib": sizes.get(contender.label)}
        rows.append(row | {"parameters": parameters, "macs": macs})
    return rows


def _fastest(row: dict[str, Any]) -> float:
    """Images per second, one after the other or one per core, whichever is more."""
    return max(row["images_per_second"], row.get("images_per_second_one_per_core") or 0.0)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Milliseconds of every runtime, a line per network and channel ratio; empty where one was not measured."""
    kinds = list(dict.fromkeys((row["runtime"], row["precision"]) for row in rows))
    lines: dict[tuple[str, float], dict[tuple[str, str], dict[str, Any]]] = {}
    for row in rows:
        lines.setdefault((row["name"], row["channel_ratio"]), {})[row["runtime"], row["precision"]] = row
    cells = []
    for (name, ratio), found in lines.items():
        first = next(iter(found.values()))
        best = max((row for row in found.values() if row["precision"] == "fp32"), key=_fastest)
        head = [name, first["size"], f"{ratio:.0%}", f"{first['parameters'] / 1e6:.2f}", f"{first['macs'] / 1e9:.2f}"]
        times = (f"{found[kind]['ms_median']:.1f}" if kind in found else "" for kind in kinds)
        cells.append([*head, *times, f"{_fastest(best):.3g} {best['runtime']}"])
    header = ["network", "px", "removed", "parameters M", "MACs G", *(" ".join(kind) + " ms" for kind in kinds)]
    return text_table([*header, "best fp32, images/s"], cells)


def _stored(output: Path, machine: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of an earlier run on the same machine."""
    try:
        content = json.loads(output.read_text(encoding="utf-8"))
        return content["rows"] if content["machine"] == machine else []
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _write(output: Path, rows: Sequence[dict[str, Any]], machine: dict[str, Any]) -> None:
    write_json(output, {"rows": rows, "machine": machine})
    keys = list(dict.fromkeys(key for row in rows for key in row))
    write_csv(keys, [[row.get(key) for key in keys] for row in rows], output.with_suffix(".csv"))
    speed_chart(rows, output.with_suffix(".png"), title=f"Every network at the size of its recipe, {machine['device']}")


def networks_speed(output: Path, passes: int, names: Sequence[str]) -> list[Figure]:
    """Time every network at the size of its recipe, batch 1; writes the rows to ``output``, a CSV and a chart beside it.

    Contenders of one network take turns; rows of other networks in the file stay when they are of the same machine.

    Args:
        output: The JSON file.
        passes: Timed passes of each contender, six times as many of small networks.
        names: Networks.
    """
    machine = machine_facts(choose_device("cpu"))
    order, rows = list(ARCHITECTURES), _stored(output, machine)
    for name in tqdm(names, desc="networks", unit="network", leave=False):
        measured = _rows(name, passes)
        peak = matrix_speed()
        rows = [row for row in rows if row["name"] != name]
        rows += [row | {"matrix_gmacs_per_second": peak} for row in measured]
        rows.sort(key=lambda row: order.index(row["name"]))
        _write(output, rows, machine)
    print(f"\n{table(rows)}\n")
    return _bounds(rows)


def _bounds(rows: Sequence[dict[str, Any]]) -> list[Figure]:
    """The figure to reach, with what was found."""
    fitting = [r for r in rows if (r["name"], r["channel_ratio"], r["precision"]) == (FASTEST, 0, "fp32")]
    if not fitting:
        return []
    best, alone = max(fitting, key=_fastest), max(fitting, key=lambda row: row["images_per_second"])
    per_core = best["images_per_second_one_per_core"] or 0.0
    detail = f"{best['runtime']}, {best['size']}, batch 1, one image per core: {per_core:.0f}; one after the other: "
    detail += f"{alone['runtime']} {alone['images_per_second']:.0f} ({alone['ms_median']:.2f} ms, "
    detail += f"{alone['macs'] / alone['ms_median'] / 1e6:.0f} GMACs/s, "
    detail += f"a matrix product {alone['matrix_gmacs_per_second']:.0f})"
    return [Figure(f"{FASTEST} in float32", _fastest(best), "images/s", ">=", BOUND, detail)]
