"""The chart of many networks on every runtime, dense and pruned."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.lines import Line2D
from matplotlib.ticker import StrMethodFormatter

from prune.report.charts import COLORS, DENSE, empty_figure, plain, save

Row = Mapping[str, Any]
SHAPES = "osD^vPX*ph<>d"
"""Marker of every runtime and number format."""


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
