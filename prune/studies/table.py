"""The table of a study: from the results of its trials to means, intervals, differences and verdicts, without data or PyTorch."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from prune.evaluation.comparison import BASELINE, verdict
from prune.evaluation.content import conditions_of
from prune.evaluation.settings import VerdictLimits
from prune.metrics.bootstrap import Interval
from prune.metrics.statistics import Statistics
from prune.studies.intervals import over_seeds, paired
from prune.studies.trials import Row

SCORES = {
    "miou": "mIoU",
    "miou_defects": "mIoU defects",
    "iou": "crack IoU",
    "lt_iou@4": "crack ltIoU@4",
    "f1_tolerant@2": "crack F1@2",
    "f1_tolerant@5": "crack F1@5",
    "cl_dice": "crack clDice",
}
"""Titles of the scores."""
COMPARED = ("miou", "lt_iou@4")
"""Scores whose differences are in the table; the verdict is about these two."""
HEADLINE = ("lt_iou@4", "miou")
SEED = 0
"""Of the bootstrap."""


@dataclass
class Cell:
    """A row of the table: a network under one set of options, over its seeds.

    Args:
        network: Its architecture.
        method: dense, a criterion, from scratch, or smaller.
        level: How much was removed.
        options: Allocation, steps and distillation where they are not the default.
        precision: Numbers it was scored in.
        seeds: Those that have a result.
        parameters: Mean number of weights.
        macs: Mean multiply-accumulates at the latency size.
        mib: Mean size of its file.
        latency: ms by runtime: the share of the dense network's time, interleaved with it, averaged over seeds, times the
            dense network's median over all measurements. So rows can be compared that were timed on different days.
        speedup: How many times faster than the dense network, by runtime.
        scores: Mean over seeds with interval, by name.
        per_seed: The score of each seed, by name.
        to_dense: Difference to the dense network, by name; empty for itself.
        to_random: Difference to Random under the same options; empty for itself and where there is none.
        verdict: What was kept and what was lost.
        clear: Whether the intervals leave no doubt about it; None where there is no verdict.
        fronts: Costs over which no other row is both cheaper and better, as ``score over cost``.
    """

    network: str
    method: str
    level: str
    options: str
    precision: str
    seeds: tuple[int, ...] = ()
    parameters: float | None = None
    macs: float | None = None
    mib: float | None = None
    latency: dict[str, float] = field(default_factory=dict)
    speedup: dict[str, float] = field(default_factory=dict)
    scores: dict[str, Interval] = field(default_factory=dict)
    per_seed: dict[str, list[float]] = field(default_factory=dict)
    to_dense: dict[str, Interval] = field(default_factory=dict)
    to_random: dict[str, Interval] = field(default_factory=dict)
    verdict: str = ""
    clear: bool | None = None
    fronts: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """How it is called in a chart or a sentence."""
        precision = "" if self.precision == "fp32" else self.precision
        return " ".join(filter(None, (self.network, self.method, self.level, self.options, precision)))

    def cost(self, name: str) -> float | None:
        """A cost: parameters, macs, mib, or ``latency RUNTIME``."""
        return self.latency.get(name.removeprefix("latency ")) if name.startswith("latency ") else getattr(self, name)

    def to_json(self) -> dict[str, Any]:
        """Plain values; None is blank."""
        groups = {"scores": self.scores, "to_dense": self.to_dense, "to_random": self.to_random}
        plain = {key: {name: found.to_json() for name, found in group.items()} for key, group in groups.items()}
        seeds = {n: [None if math.isnan(v) else v for v in values] for n, values in self.per_seed.items()}
        return {**vars(self), "seeds": list(self.seeds), **plain, "per_seed": seeds}


@dataclass
class _Scored:
    """What the evaluation of one network says: pooled scores, their values over draws of images, and its cost."""

    values: dict[str, float]
    draws: dict[str, Any]
    summary: Mapping[str, Any]


def cells_of(rows: Sequence[Row], results: Mapping[str, Mapping[str, Any]], limits: VerdictLimits) -> list[Cell]:
    """The rows of the table, in the order of the plan; what no seed has a result of is left out.

    Args:
        rows: Of all seeds.
        results: Of the trials, by name.
        limits: Of the verdict.
    """

    @cache
    def scored(name: str) -> _Scored:
        content = results[name]
        statistics = Statistics.from_json(content["statistics"], conditions_of(content))
        values, draws = statistics.drawn(SEED)
        if len(statistics.stems) < 2:
            draws = {key: np.full(np.shape(value), np.nan) for key, value in draws.items()}
        return _Scored(values, draws, content["summary"])

    references = _dense_times(rows, results)
    grouped: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        group = grouped.setdefault((row.network, row.method, row.level, row.options, row.precision), [])
        group += [row] if row.evaluate in results else []
    cells = []
    for key, group in grouped.items():
        if not group:
            continue
        cell = _cell(key, group, results, scored, references)
        random = {r.seed: r.evaluate for r in grouped.get((key[0], "Random", *key[2:]), ())}
        if cell.method != "dense":
            dense = {r.seed: r.dense for r in group if r.dense in results}
            cell.to_dense = _differences(group, dense, scored)
            cell.verdict, cell.clear = verdict(cell.to_dense, limits)
        else:
            cell.verdict = BASELINE
        if cell.method not in ("dense", "Random") and random:
            cell.to_random = _differences(group, random, scored)
        cells.append(cell)
    _take_macs(cells)
    _mark_fronts(cells)
    return cells


def _take_macs(cells: Sequence[Cell]) -> None:
    """Give exported files the MACs of the network they were made of: their own are stated at another input size."""
    known = {(one.network, one.method, one.level, one.options): one.macs for one in cells if one.precision == "fp32"}
    for one in cells:
        if one.precision != "fp32":
            one.macs = known.get((one.network, one.method, one.level, one.options), one.macs)


def _dense_times(rows: Sequence[Row], results: Mapping[str, Mapping[str, Any]]) -> dict[tuple[str, str], float]:
    """Median ms of the dense network by (name of its evaluation, runtime), over all measurements it was timed in beside others."""
    times: dict[tuple[str, str], list[float]] = {}
    names = {row.evaluate: row.network for row in rows if row.method == "dense"}
    for row in rows:
        for runtime, name in row.latency.items():
            if name in results and row.dense in names:
                times.setdefault((names[row.dense], runtime), []).append(float(results[name]["dense_ms"]))
    by_row = {
        (row.dense, runtime): times.get((names.get(row.dense, ""), runtime)) for row in rows for runtime in row.latency
    }
    return {key: float(np.median(values)) for key, values in by_row.items() if values}


def _cell(
    key: tuple[str, ...],
    group: Sequence[Row],
    results: Mapping[str, Mapping[str, Any]],
    scored: Any,
    references: Mapping[tuple[str, str], float],
) -> Cell:
    found = [scored(row.evaluate) for row in group]
    network, method, level, options, precision = key
    cell = Cell(network, method, level, options, precision, tuple(row.seed for row in group))
    for name, item in (("parameters", "parameters"), ("macs", "macs"), ("mib", "file_mib")):
        setattr(cell, name, _mean([one.summary[item] for one in found]))
    for runtime in group[0].latency:
        timed = [(row.dense, results[row.latency[runtime]]) for row in group if row.latency.get(runtime) in results]
        if timed:
            shares = [one["ms"] / one["dense_ms"] for _, one in timed]
            usual = [references.get((dense, runtime), one["dense_ms"]) for dense, one in timed]
            cell.latency[runtime] = float(np.mean([u * share for u, share in zip(usual, shares, strict=True)]))
            cell.speedup[runtime] = float(1 / np.mean(shares))
    for name in SCORES:
        if all(name in one.values for one in found):
            cell.per_seed[name] = [one.values[name] for one in found]
            cell.scores[name] = over_seeds(cell.per_seed[name], [one.draws[name] for one in found], SEED)
    return cell


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def _differences(group: Sequence[Row], others: Mapping[int, str], scored: Any) -> dict[str, Interval]:
    """Differences over the seeds that both networks have."""
    pairs = [(scored(row.evaluate), scored(others[row.seed])) for row in group if row.seed in others]
    found = {}
    for name in SCORES:
        if pairs and all(name in one.values for pair in pairs for one in pair):
            ours, theirs = zip(*pairs, strict=True)
            values = [[one.values[name] for one in side] for side in (ours, theirs)]
            draws = [[one.draws[name] for one in side] for side in (ours, theirs)]
            found[name] = paired(values[0], draws[0], values[1], draws[1], SEED)
    return found


def costs_of(cells: Sequence[Cell]) -> dict[str, str]:
    """The costs that charts and fronts are made over, with their titles."""
    runtimes = dict.fromkeys(runtime for cell in cells for runtime in cell.latency)
    return {f"latency {name}": f"latency on {name} (ms)" for name in runtimes} | {
        "macs": "MACs (G)",
        "mib": "size (MiB)",
    }


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Indices of the points (cost, score) that no other point beats, by rising cost.

    A point is beaten by another that costs at most as much and scores at least as high, and is not the same in both.
    """
    kept = [
        i
        for i, (cost, score) in enumerate(points)
        if not any(c <= cost and s >= score and (c, s) != (cost, score) for c, s in points)
    ]
    return sorted(kept, key=lambda i: points[i])


def _mark_fronts(cells: Sequence[Cell]) -> None:
    for cost in costs_of(cells):
        for score in HEADLINE:
            known = [(cell, cell.cost(cost), cell.scores[score].value) for cell in cells if score in cell.scores]
            placed = [(cell, c, s) for cell, c, s in known if c is not None and not math.isnan(s)]
            for index in front([(c, s) for _, c, s in placed]):
                placed[index][0].fronts.append(f"{score} over {cost}")


def header(cells: Sequence[Cell]) -> list[str]:
    """Titles of the columns of ``line``."""
    costs = [
        "parameters M",
        "MACs G",
        "MiB",
        *(t.removesuffix(" (ms)") + " ms" for c, t in costs_of(cells).items() if " " in c),
    ]
    shown = [title for name, title in SCORES.items() if any(name in cell.scores for cell in cells)]
    compared = [SCORES[name] for name in COMPARED if any(name in cell.scores for cell in cells)]
    against = [f"{title}, {word}" for word in ("to dense", "to Random") for title in compared]
    return [
        "network",
        "method",
        "removed",
        "options",
        "precision",
        "seeds",
        *costs,
        *shown,
        *against,
        "verdict",
        "certainty",
    ]


def line(cell: Cell, cells: Sequence[Cell]) -> list[str]:
    """A row as people read it: scores with intervals, differences in points of a hundredth."""
    costs = [_number(cell.parameters, 1e6), _number(cell.macs, 1e9), _number(cell.mib, 1.0)]
    costs += [_number(cell.cost(name), 1.0) for name in costs_of(cells) if " " in name]
    shown = [name for name in SCORES if any(name in other.scores for other in cells)]
    compared = [name for name in COMPARED if any(name in other.scores for other in cells)]
    against = [_points(group.get(name)) for group in (cell.to_dense, cell.to_random) for name in compared]
    certainty = {True: "clear", False: "within the interval", None: ""}[cell.clear]
    about = [cell.network, cell.method, cell.level, cell.options, cell.precision, str(len(cell.seeds))]
    return [*about, *costs, *(_score(cell.scores.get(name)) for name in shown), *against, cell.verdict, certainty]


def _number(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:.3g}" if value / unit < 100 else f"{value / unit:.0f}"


def _score(found: Interval | None) -> str:
    if found is None or math.isnan(found.value):
        return ""
    return f"{found.value:.3f}" + ("" if math.isnan(found.low) else f" [{found.low:.2f}, {found.high:.2f}]")


def _points(found: Interval | None) -> str:
    if found is None or math.isnan(found.value):
        return ""
    bounds = "" if math.isnan(found.low) else f" [{100 * found.low:+.1f}, {100 * found.high:+.1f}]"
    return f"{100 * found.value:+.1f}{bounds}"
