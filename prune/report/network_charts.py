"""Charts of many networks, dense and pruned: what each costs and how well it finds cracks."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter, StrMethodFormatter

from prune.report.charts import COLORS, DENSE, HATCHES, empty_figure, interval, plain, save

Row = Mapping[str, Any]
AXES = (("macs", 1e9, "MACs (G)"), ("latency_ms", 1.0, "latency (ms), PyTorch eager float32"))
PANELS = (("lt_iou@4", "crack ltIoU@4"), ("iou", "crack IoU"))
SHAPES = "osD^vPX*ph<>d"
"""Marker of every network; 13 of them and 7 colors make 91 pairs, none of which occurs twice."""


def _pairs(rows: Sequence[Row]) -> dict[str, tuple[Row, Row]]:
    """Dense and pruned row of every network."""
    names = list(dict.fromkeys(row["network"] for row in rows))
    return {name: (two[0], two[1]) for name in names if len(two := [r for r in rows if r["network"] == name]) == 2}


def _style(number: int) -> dict[str, Any]:
    return {"color": COLORS[number % len(COLORS)], "marker": SHAPES[number % len(SHAPES)], "markersize": 8}


def _moves(axes: Axes, pairs: Mapping[str, tuple[Row, Row]], score: str, cost: str, unit: float) -> None:
    """A line per network from dense (filled) to pruned (hollow)."""
    for number, (dense, pruned) in enumerate(pairs.values()):
        places = [(row[cost] / unit, row["scores"][score]["value"]) for row in (dense, pruned)]
        if any(value is None for _, value in places):
            continue
        style = _style(number)
        axes.plot(*zip(*places, strict=True), color=style["color"], linewidth=1.2, alpha=0.7, zorder=2)
        axes.plot(*places[0], **style, zorder=3, clip_on=False)
        axes.plot(*places[1], **style, markerfacecolor="white", markeredgewidth=1.6, zorder=3, clip_on=False)
        for place, row in zip(places, (dense, pruned), strict=True):
            found = row["scores"][score]
            interval(axes, place, (found.get("low"), found.get("high")), style["color"])
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    plain(axes)
    axes.grid(axis="x", which="both", alpha=0.3, linewidth=0.6)


def accuracy_over_cost(rows: Sequence[Row], path: Path, *, title: str = "") -> Path:
    """Crack scores over MACs and latency, a line per network from dense to pruned; returns ``path``."""
    pairs = _pairs(rows)
    figure = empty_figure(12, 9, title)
    grid = figure.subplots(len(PANELS), len(AXES), sharey="row", squeeze=False)
    for line, (score, label) in zip(grid, PANELS, strict=True):
        for axes, (cost, unit, name) in zip(line, AXES, strict=True):
            _moves(axes, pairs, score, cost, unit)
            axes.set_xlabel(name)
        line[0].set_ylabel(label)
    handles = [Line2D([], [], linestyle="", label=name, **_style(i)) for i, name in enumerate(pairs)]
    handles.append(Line2D([], [], linestyle="", marker="o", color=DENSE, label="filled: dense"))
    hollow: dict[str, Any] = {"markerfacecolor": "white", "markeredgewidth": 1.6}
    handles.append(Line2D([], [], linestyle="", marker="o", color=DENSE, label="hollow: pruned, fine-tuned", **hollow))
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return save(figure, path)


def kept_scores(rows: Sequence[Row], path: Path, *, title: str = "") -> Path:
    """Difference in crack ltIoU@4 from dense to pruned with its paired 95% interval, one bar per network."""
    pairs = _pairs(rows)
    figure = empty_figure(10, 1.6 + 0.36 * len(pairs), title)
    axes = figure.subplots()
    for place, (_, pruned) in enumerate(pairs.values()):
        found = pruned["differences"].get("lt_iou@4")
        if not found or found["value"] is None:
            continue
        value = 100 * found["value"]
        kept = value >= 0
        bar = axes.barh(place, value, color=COLORS[0] if kept else COLORS[5], height=0.6)[0]
        bar.set(hatch="" if kept else HATCHES[1], edgecolor="white", linewidth=0)
        if found["low"] is not None:
            axes.plot([100 * found["low"], 100 * found["high"]], [place, place], color="black", linewidth=1)
    axes.set_yticks(range(len(pairs)), list(pairs))
    axes.invert_yaxis()
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_xlabel(
        "crack ltIoU@4 of the pruned network minus that of the dense one, in points, with paired 95% interval"
    )
    plain(axes)
    axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    return save(figure, path)


def speed_chart(rows: Sequence[Row], path: Path, *, title: str = "") -> Path:
    """Images per second of every network on every runtime, dense filled and pruned hollow; returns ``path``.

    Args:
        rows: Rows of ``prune.benchmark.networks``: ``name``, ``channel_ratio``, ``runtime``, ``precision``,
            ``images_per_second``.
        path: PNG file to write.
        title: What was timed where.

    Raises:
        UserError: when the file cannot be written.
    """
    names = list(dict.fromkeys(row["name"] for row in rows))
    kinds = list(dict.fromkeys((row["runtime"], row["precision"]) for row in rows))
    figure = empty_figure(11, 1.8 + 0.42 * len(names), title)
    axes = figure.add_subplot()
    for row in rows:
        number = kinds.index((row["runtime"], row["precision"]))
        place = names.index(row["name"]) + 0.13 * (number - (len(kinds) - 1) / 2)
        hollow: dict[str, Any] = {"markerfacecolor": "white"} if row["channel_ratio"] else {}
        style: dict[str, Any] = {
            "color": COLORS[number % len(COLORS)],
            "marker": SHAPES[number % len(SHAPES)],
            "clip_on": False,
            "markersize": 7,
            "markeredgewidth": 1.5,
        }
        axes.plot(row["images_per_second"], place, **style, **hollow)
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.set_xlabel("images per second, one after the other")
    plain(axes)
    axes.grid(axis="x", which="both", alpha=0.25, linewidth=0.6)
    handles = [
        Line2D(
            [], [], linestyle="", marker=SHAPES[i % len(SHAPES)], color=COLORS[i % len(COLORS)], label=" ".join(kind)
        )
        for i, kind in enumerate(kinds)
    ]
    handles += [Line2D([], [], linestyle="", marker="o", color=DENSE, label="filled: dense")]
    handles += [Line2D([], [], linestyle="", marker="o", color=DENSE, markerfacecolor="white", label="hollow: pruned")]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return save(figure, path)


def network_charts(rows: Sequence[Row], folder: Path, *, title: str) -> list[Path]:
    """Both charts of ``python -m prune networks``; returns the files."""
    return [
        accuracy_over_cost(rows, folder / "accuracy_over_cost.png", title=title),
        kept_scores(rows, folder / "kept.png", title=title),
    ]
