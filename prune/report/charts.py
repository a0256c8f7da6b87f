"""What charts are made of, and the chart of latencies."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import offset_copy

from prune.files import write_bytes

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe and Ito without yellow, which is too light for white paper: distinguishable with every kind of color vision.

Without color, markers tell lines and points apart, and hatches tell bars apart."""
DENSE = "#4D4D4D"
MARKERS = "sD^vPX*p"
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\")
INTERVAL: dict[str, Any] = {"fmt": "none", "elinewidth": 1.2, "capsize": 3, "capthick": 1.2, "zorder": 2.5}
"""How a 95% interval is drawn. Nothing is cut off at an axis: neither it nor the marker in its middle."""
COSTS = (("macs", 1e9, "MACs (G)"), ("latency_ms", 1.0, "latency (ms)"))
CROWDED, SHIFT = 0.03, 9.0
"""Share of the largest cost, and points: see ``sideways``."""
SIDE_BY_SIDE = "95% intervals; networks of nearly equal cost are drawn side by side"

Row = Mapping[str, Any]


def empty_figure(width: float, height: float, title: str) -> Figure:
    """An empty figure of the given size in inches that keeps its parts from overlapping."""
    figure = Figure(figsize=(width, height), layout=ConstrainedLayoutEngine(w_pad=0.12, h_pad=0.1, wspace=0.05))
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def shared_legend(figure: Figure, columns: int) -> None:
    """One legend for all axes, below them; a label that several axes share appears once."""
    entries: dict[str, Any] = {}
    for axes in figure.axes:
        handles, labels = axes.get_legend_handles_labels()
        entries |= dict(zip(labels, handles, strict=True))
    if entries:
        columns = max(1, min(columns, len(entries)))
        figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=columns, frameon=False)


def save(figure: Figure, path: Path) -> Path:
    """Write a figure as PNG, atomically, and return ``path``."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()  # Pillow, which writes it, would not notice a disk that takes only a part
    figure.savefig(content, dpi=130, facecolor="white", format="png")
    return write_bytes(path, content.getvalue())


def plain(axes: Axes) -> None:
    """Light grid and no box; an empty chart says so."""
    if not axes.has_data():
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=DENSE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)


def sideways(costs: Sequence[float]) -> list[float]:
    """Shifts in points that set networks of nearly equal cost beside each other, so that no interval hides another.

    Nearly equal are neighbors less than ``CROWDED`` of the largest cost apart; order and middle of a group stay.
    """
    order = sorted(range(len(costs)), key=lambda i: costs[i])
    groups: list[list[int]] = []
    for i in order:
        if groups and costs[i] - costs[groups[-1][-1]] < CROWDED * max(costs):
            groups[-1].append(i)
        else:
            groups.append([i])
    shifts = {i: SHIFT * (rank - (len(group) - 1) / 2) for group in groups for rank, i in enumerate(group)}
    return [shifts[i] for i in range(len(costs))]


def scored_point(
    axes: Axes,
    place: tuple[float, float],
    bounds: Sequence[float | None],
    look: tuple[str, str],
    *,
    label: str,
    shift: float = 0.0,
) -> None:
    """Draw a score over a cost as a hollow marker with its 95% interval.

    Args:
        axes: Where to.
        place: Cost and score.
        bounds: Low and high of the interval; None or NaN = there is none.
        look: Color and marker.
        label: In the legend.
        shift: Points to the right, see ``sideways``.
    """
    moved = offset_copy(axes.transData, axes.get_figure(root=True), x=shift, units="points")
    marker = axes.plot(*place, look[1], color=look[0], label=label, markersize=8, clip_on=False, zorder=3)[0]
    # Hollow, because networks of equal cost and score lie on top of each other.
    marker.set(markerfacecolor="none", markeredgewidth=2)
    for part in (marker, *interval(axes, place, bounds, look[0])):
        part.set_transform(moved)  # behind the axes' back, which cannot scale themselves to what is shifted


def interval(axes: Axes, place: tuple[float, float], bounds: Sequence[float | None], color: str) -> tuple[Artist, ...]:
    """Draw a vertical 95% interval through a point and return its parts; without bounds (None or NaN) there are none.

    Args:
        axes: Where to.
        place: Of the point, in the units of the axes.
        bounds: Low and high.
        color: Of the line.
    """
    low, high = bounds
    if low is None or high is None or low != low or high != high:
        return ()
    errors = [[max(0.0, place[1] - low)], [max(0.0, high - place[1])]]
    drawn = axes.errorbar(*place, yerr=errors, ecolor=color, **INTERVAL)
    parts: tuple[Artist, ...] = (*drawn[1], *drawn[2])
    for part in parts:
        part.set_clip_on(False)
    return parts


def score_axis(axes: Axes) -> None:
    """Scores from 0 to 1 with room for markers beside what is drawn, and for what is drawn at the very ends."""
    axes.margins(0.15)
    axes.set_xlim(left=0)
    low, high = axes.get_ylim()
    axes.set_ylim(max(-0.02, low), min(1.02, high))


def latency_chart(rows: Sequence[Row], path: Path, *, title: str = "") -> Path:
    """Draw the latency of networks as horizontal bars with their 95% intervals and the speed-up.

    Args:
        rows: Rows of ``prune.benchmark.compare``: ``name``, ``runtime``, ``precision``, ``ms_median``, ``ms_low``, ``ms_high``,
            ``speedup``; the first is the baseline.
        path: PNG file to write.
        title: What was timed where.

    Raises:
        UserError: when the file cannot be written.
    """
    figure = empty_figure(10, 1.6 + 0.42 * len(rows), title)
    axes = figure.add_subplot()
    labels = [f"{Path(row['name']).name}  ({row['runtime']} {row['precision']})" for row in rows]
    places = list(range(len(rows)))[::-1]
    colors = [DENSE if not number else COLORS[0] for number in range(len(rows))]
    medians = [row["ms_median"] for row in rows]
    errors = [
        [m - row["ms_low"] for m, row in zip(medians, rows, strict=True)],
        [row["ms_high"] - m for m, row in zip(medians, rows, strict=True)],
    ]
    axes.barh(places, medians, 0.7, color=colors, xerr=errors, ecolor="black", capsize=2)
    for place, row in zip(places, rows, strict=True):
        words = f"{row['ms_median']:,.0f} ms, {row['speedup']:.1f}x"
        text = axes.annotate(words, (row["ms_high"], place), (5, 0), textcoords="offset points")
        text.set(va="center", fontsize=8)
    axes.set_yticks(places, labels, fontsize=8)
    axes.set_xlim(0, 1.2 * max(row["ms_high"] for row in rows))
    axes.set_xlabel("median latency (ms), 95% interval")
    plain(axes)
    axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    return save(figure, path)
