"""``python -m prune benchmark --suite networks``: the speed of every network, dense and pruned, on every runtime."""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from prune.benchmark import Figure
from prune.checkpoint import Network
from prune.config import PruneConfig
from prune.contenders import open_contender
from prune.data.labels import CRACK
from prune.export import Target, export
from prune.files import file_mib, write_json
from prune.hardware import choose_device, machine_facts
from prune.latency import time_predictors
from prune.models import architecture, build_model
from prune.models.cost import count
from prune.predict import Predictor
from prune.predict_torch import TorchPredictor
from prune.pruning.pruner import prune_model
from prune.report.network_charts import speed_chart
from prune.report.tables import text_table, write_csv

RATIO = 50
"""Percent of the channels removed from the pruned contenders."""
SMALL_MACS = 5e9
"""Networks below this many MACs are timed six times as often: their passes are short."""
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


def _contenders(network: Network, folder: Path, size: tuple[int, int]) -> dict[tuple[str, str], tuple[Predictor, Path]]:
    """The network in PyTorch and exported, by runtime and precision, with the files."""
    noise = list(np.random.default_rng(0).standard_normal((2, 1, 3, *size)).astype(np.float32))
    plain = export(network, Target("onnx", size=size), folder / "fp32.onnx")
    openvino = export(network, Target("openvino", "int8", size), folder / "int8.xml", batches=noise)
    return {
        ("pytorch", "fp32"): (TorchPredictor(network, torch.device("cpu")), folder / "none"),
        ("onnx", "fp32"): (open_contender(str(plain)), plain),
        ("openvino", "fp32"): (open_contender(f"{plain}:openvino"), plain),
        ("openvino", "int8"): (open_contender(str(openvino)), openvino),
    }


def _rows(name: str, passes: int) -> list[dict[str, Any]]:
    """Every runtime of one network, dense and pruned, timed in turns; the dense one in eager PyTorch is the baseline."""
    side = architecture(name).size
    size, networks = (side, side), {ratio: _network(name, ratio) for ratio in (0, RATIO)}
    costs = {ratio: count(network.model, size) for ratio, network in networks.items()}
    with tempfile.TemporaryDirectory() as text:
        contenders: dict[tuple[int, str, str], tuple[Predictor, Path]] = {}
        for ratio, network in networks.items():
            folder = Path(text) / str(ratio)
            contenders |= {(ratio, *key): value for key, value in _contenders(network, folder, size).items()}
        sizes = {key: file_mib(file) for key, (_, file) in contenders.items()}
        repeats = passes * 6 if costs[0][1] < SMALL_MACS else passes
        named = {"|".join(map(str, key)): predictor for key, (predictor, _) in contenders.items()}
        times = time_predictors(named, size, repeats)
    base = times["0|pytorch|fp32"].median
    rows = []
    for ratio, runtime, precision in contenders:
        timing = times[f"{ratio}|{runtime}|{precision}"]
        low, high = timing.interval()
        row = {"name": name, "channel_ratio": ratio / 100, "runtime": runtime, "precision": precision}
        row |= {
            "size": f"{side}x{side}",
            "ms_median": timing.median,
            "ms_p95": timing.p95,
            "ms_low": low,
            "ms_high": high,
        }
        row |= {"images_per_second": 1e3 / timing.median, "speedup": base / timing.median}
        row |= {"file_mib": sizes[ratio, runtime, precision] or None}
        rows.append(row | {"parameters": costs[ratio][0], "macs": costs[ratio][1]})
    return rows


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Milliseconds of every runtime, a line per network and channel ratio."""
    kinds = list(dict.fromkeys((row["runtime"], row["precision"]) for row in rows))
    lines: dict[tuple[str, float], list[Any]] = {}
    for row in rows:
        head = [row["name"], row["size"], f"{row['channel_ratio']:.0%}", f"{row['parameters'] / 1e6:.2f}"]
        line = lines.setdefault((row["name"], row["channel_ratio"]), [*head, f"{row['macs'] / 1e9:.2f}"])
        line.append(f"{row['ms_median']:.1f}")
    header = ["network", "px", "removed", "parameters M", "MACs G", *(" ".join(kind) + " ms" for kind in kinds)]
    return text_table(header, list(lines.values()))


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
    best = max(fitting, key=lambda row: row["images_per_second"])
    detail = f"{best['runtime']}, {best['size']}, batch 1, {best['ms_median']:.2f} ms: "
    detail += f"{best['macs'] / best['ms_median'] / 1e6:.0f} GMACs/s, a matrix product {peak:.0f}"
    return [Figure(f"{FASTEST} in float32", best["images_per_second"], "images/s", ">=", BOUND, detail)]
