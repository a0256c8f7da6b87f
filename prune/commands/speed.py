"""``python -m prune benchmark --suite networks``: the speed of every network, dense and pruned, on every runtime."""

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
from prune.models import architecture, build_model
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
THROUGHPUT_ROUNDS = 9
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
    """Every runtime of one network, dense and pruned, timed in turns; the dense one in eager PyTorch is the baseline."""
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
    return max(row["images_per_second"], row["images_per_second_one_per_core"] or 0.0)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Milliseconds of every runtime, a line per network and channel ratio."""
    kinds = list(dict.fromkeys((row["runtime"], row["precision"]) for row in rows))
    lines: dict[tuple[str, float], list[Any]] = {}
    for row in rows:
        head = [row["name"], row["size"], f"{row['channel_ratio']:.0%}", f"{row['parameters'] / 1e6:.2f}"]
        line = lines.setdefault((row["name"], row["channel_ratio"]), [*head, f"{row['macs'] / 1e9:.2f}"])
        line.append(f"{row['ms_median']:.1f}")
    for (name, ratio), line in lines.items():
        fitting = [
            row for row in rows if (row["name"], row["channel_ratio"], row["precision"]) == (name, ratio, "fp32")
        ]
        best = max(fitting, key=_fastest)
        line.append(f"{_fastest(best):.3g} {best['runtime']}")
    header = ["network", "px", "removed", "parameters M", "MACs G", *(" ".join(kind) + " ms" for kind in kinds)]
    return text_table([*header, "best fp32, images/s"], list(lines.values()))


def networks_speed(output: Path, passes: int, names: Sequence[str]) -> list[Figure]:
    """Time every network at the size of its recipe, batch 1; writes the rows to ``output``, a CSV and a chart beside it.

    Args:
        output: The JSON file.
        passes: Timed passes of each contender, six times as many of small networks.
        names: Networks.
    """
    rows: list[dict[str, Any]] = []
    for name in tqdm(names, desc="networks", unit="network", leave=False):
        rows += _rows(name, passes)
    machine, peak = machine_facts(choose_device("cpu")), matrix_speed()
    write_json(output, {"rows": rows, "machine": machine, "matrix_gmacs_per_second": peak})
    write_csv(list(rows[0]), [list(row.values()) for row in rows], output.with_suffix(".csv"))
    speed_chart(rows, output.with_suffix(".png"), title=f"Every network at the size of its recipe, {machine['device']}")
    print(f"\n{table(rows)}\n")
    fitting = [r for r in rows if (r["name"], r["channel_ratio"], r["precision"]) == (FASTEST, 0, "fp32")]
    if not fitting:
        return []
    best, alone = max(fitting, key=_fastest), max(fitting, key=lambda row: row["images_per_second"])
    per_core = best["images_per_second_one_per_core"] or 0.0
    detail = f"{best['runtime']}, {best['size']}, batch 1, one image per core: {per_core:.0f}; one after the other: "
    detail += f"{alone['runtime']} {alone['images_per_second']:.0f} ({alone['ms_median']:.2f} ms, "
    detail += f"{alone['macs'] / alone['ms_median'] / 1e6:.0f} GMACs/s, a matrix product {peak:.0f})"
    return [Figure(f"{FASTEST} in float32", _fastest(best), "images/s", ">=", BOUND, detail)]
