"""Charts: how a training run went, and what pruning and fine-tuning did to accuracy and cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.transforms import offset_copy

from prune.files import atomic_path

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe and Ito without yellow, which is too light for white paper: distinguishable with every kind of color vision.

Without color, markers tell lines and points apart, and hatches tell bars apart."""
DENSE = "#4D4D4D"
MARKERS = "sD^vPX*p"
HATCHES = ("", "////", "....", "xxxx", "----", "\\\\\\\\")
INTERVAL: dict[str, Any] = {"fmt": "none", "elinewidth": 1.2, "capsize": 3, "capthick": 1.2, "zorder": 2.5}
"""How a 95% interval is drawn. Nothing is cut off at an axis: neither it nor the marker in its middle."""
SCORES = (("miou", "mIoU"), ("crack_iou", "crack IoU"), ("crack_lt_iou_4", "crack ltIoU@4"))
INTERVALS = {"miou": "miou", "crack_iou": "iou", "crack_lt_iou_4": "lt_iou@4"}
"""The names of ``SCORES`` in a comparison, where their intervals stand."""
COSTS = (("macs", 1e9, "MACs (G)"), ("latency_ms", 1.0, "latency (ms)"))
CROWDED, SHIFT = 0.03, 9.0
"""Share of the largest cost, and points: see ``sideways``."""
SIDE_BY_SIDE = "95% intervals; networks of nearly equal cost are drawn side by side"
LABEL_BOX = {"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none", "alpha": 0.85}

Row = Mapping[str, Any]
Series = Mapping[str, Sequence[float | None]]


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
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, facecolor="white", format="png")
    return path


def plain(axes: Axes) -> None:
    """Light grid and no box; an empty chart says so."""
    if not axes.has_data():
        axes.text(0.5, 0.5, "no values", transform=axes.transAxes, ha="center", color=DENSE)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3, linewidth=0.6)
    axes.set_axisbelow(True)


def _bars(axes: Axes, labels: Sequence[str], series: Series, colors: Sequence[str]) -> None:
    """Grouped bars with their values on top; a missing value leaves a gap."""
    width = 0.84 / max(1, len(series))
    for number, (title, values) in enumerate(series.items()):
        shown = [(i, v) for i, v in enumerate(values) if v is not None]
        places = [i + (number - (len(series) - 1) / 2) * width for i, _ in shown]
        bars = axes.bar(places, [v for _, v in shown], width * 0.94, label=title, color=colors[number % len(colors)])
        for bar in bars:
            bar.set(hatch=HATCHES[number % len(HATCHES)], edgecolor="white", linewidth=0)
        for place, (_, value) in zip(places, shown, strict=True):
            text = axes.annotate(f"{value:.2f}", (place, value), (0, 2), textcoords="offset points", zorder=5)
            text.set(ha="center", va="bottom", fontsize=8, bbox=LABEL_BOX)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, max(1, len(labels)) - 0.4)
    top = max([v for values in series.values() for v in values if v is not None], default=0.0)
    axes.set_ylim(0, min(1.08, max(0.1, top * 1.18)))
    plain(axes)


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


def _dense(rows: Sequence[Row]) -> Row:
    return next((row for row in rows if row["stage"] == "dense"), {})


def _criteria_chart(rows: Sequence[Row], path: Path, title: str) -> Path:
    """Scores per criterion right after pruning and after fine-tuning; the dense network is a dashed line."""
    criteria = list(dict.fromkeys(row["criterion"] for row in rows if row["stage"] != "dense"))
    stages = [stage for stage in ("pruned", "fine-tuned") if any(row["stage"] == stage for row in rows)]
    found = {(row["criterion"], row["stage"]): row for row in rows}
    figure = empty_figure(max(13.0, 3 + 3.3 * len(criteria)), 4.6, title)
    for number, (key, label) in enumerate(SCORES, 1):
        axes = figure.add_subplot(1, len(SCORES), number)
        series = {stage: [found.get((c, stage), {}).get(key) for c in criteria] for stage in stages}
        _bars(axes, criteria, series, COLORS[1::-1])
        level = _dense(rows).get(key)
        if level is not None:
            axes.axhline(level, color=DENSE, linestyle="--", linewidth=1.2, label="dense, not pruned", zorder=1.5)
            axes.set_ylim(0, min(1.08, max(axes.get_ylim()[1], level * 1.18)))
            text = axes.annotate(f"dense\n{level:.2f}", (1.01, level), xycoords=("axes fraction", "data"))
            text.set(va="center", fontsize=8, color=DENSE)
        axes.set_ylabel(f"{label} (0 to 1)")
        axes.set_xlabel("criterion")
    shared_legend(figure, 3)
    return save(figure, path)


def _kept(rows: Sequence[Row]) -> list[tuple[str, str, str, Row]]:
    """The networks one would deploy, dense and fine-tuned: (name, color, marker, row)."""
    shown = [row for row in rows if row["stage"] in ("dense", "fine-tuned")]
    looks = zip(COLORS * len(shown), MARKERS * len(shown), strict=False)
    return [
        ("dense", DENSE, "o", row) if row["stage"] == "dense" else (row["criterion"] or row["name"], *look, row)
        for row, look in zip(shown, looks, strict=False)
    ]


def _class_chart(rows: Sequence[Row], path: Path, title: str) -> Path:
    """IoU of every class that has one, for the dense and the fine-tuned networks."""
    kept = _kept(rows)
    names = list(dict.fromkeys(name for *_, row in kept for name in row["per_class"]))
    classes = [name for name in names if any(row["per_class"].get(name) is not None for *_, row in kept)]
    figure = empty_figure(max(8.0, 2 + 0.4 * len(classes) * len(kept)), 4.6, title)
    axes = figure.add_subplot()
    series = {name: [row["per_class"].get(c) for c in classes] for name, _, _, row in kept}
    _bars(axes, classes, series, [color for _, color, _, _ in kept])
    axes.set_ylabel("IoU (0 to 1)")
    axes.set_xlabel("class (those neither labeled nor predicted are left out)")
    shared_legend(figure, 8)
    return save(figure, path)


def _cost_chart(rows: Sequence[Row], path: Path, title: str) -> Path:
    """Accuracy over MACs and latency of the dense and the fine-tuned networks, with 95% intervals where they are known."""
    figure = empty_figure(10, 10, title)
    panels = [(score, cost) for score in SCORES for cost in COSTS]
    for number, ((key, label), (cost, unit, cost_label)) in enumerate(panels, 1):
        axes = figure.add_subplot(len(SCORES), len(COSTS), number)
        shown = [one for one in _kept(rows) if one[-1][key] is not None and one[-1][cost] is not None]
        shifts = sideways([row[cost] for *_, row in shown])
        for (name, color, marker, row), shift in zip(shown, shifts, strict=True):
            found = row.get("scores", {}).get(INTERVALS[key], {})
            bounds = found.get("low"), found.get("high")
            place = row[cost] / unit, row[key]
            scored_point(axes, place, bounds, (color, marker), label=name, shift=shift)
        score_axis(axes)
        axes.set_xlabel(cost_label)
        axes.set_ylabel(f"{label} (0 to 1)")
        plain(axes)
        axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    shared_legend(figure, 8)
    return save(figure, path)


def study_charts(rows: Sequence[Row], folder: Path, *, title: str) -> list[Path]:
    """Draw the charts of a study and return their files: criteria.png, per_class.png, cost.png.

    Args:
        rows: One per network: ``name``, ``criterion`` (empty for the dense one), ``stage`` (dense, pruned, fine-tuned),
            ``macs``, ``latency_ms``, ``miou``, ``crack_iou``, ``crack_lt_iou_4`` (0…1), ``per_class`` {class: IoU or None} and, where they
            are known, ``scores`` {name in a comparison: {low, high}} with 95% intervals. A missing value (None) leaves a gap.
        folder: Where the files go; each is replaced atomically.
        title: What the numbers are about: data set, split, seed.

    Raises:
        UserError: when a file cannot be written.
    """
    return [
        _criteria_chart(rows, folder / "criteria.png", f"Accuracy before and after fine-tuning\n{title}"),
        _class_chart(rows, folder / "per_class.png", f"IoU per class, dense and fine-tuned\n{title}"),
        _cost_chart(rows, folder / "cost.png", f"Accuracy and cost, dense and fine-tuned\n{title}\n{SIDE_BY_SIDE}"),
    ]


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
