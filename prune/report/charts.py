"""Charts: how a training run went, and what pruning and fine-tuning did to accuracy and cost."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator

from prune.files import atomic_path
from prune.metrics.calibration import KINDS

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000", "#999999")
"""Okabe-Ito and gray: distinguishable with every kind of color vision."""
DENSE = "#4D4D4D"
MARKERS = "sD^vPX*p"
SCORES = (("miou", "mIoU"), ("crack_iou", "crack IoU"), ("crack_lt_iou_4", "crack ltIoU@4"))
COSTS = (("macs", 1e9, "MACs (G)"), ("latency_ms", 1.0, "latency (ms)"))
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
        axes.bar(places, [v for _, v in shown], width * 0.94, label=title, color=colors[number % len(colors)])
        for place, (_, value) in zip(places, shown, strict=True):
            text = axes.annotate(f"{value:.2f}", (place, value), (0, 2), textcoords="offset points", zorder=5)
            text.set(ha="center", va="bottom", fontsize=8, bbox=LABEL_BOX)
    axes.set_xticks(range(len(labels)), labels)
    axes.set_xlim(-0.6, max(1, len(labels)) - 0.4)
    top = max([v for values in series.values() for v in values if v is not None], default=0.0)
    axes.set_ylim(0, min(1.08, max(0.1, top * 1.18)))
    plain(axes)


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
    """Accuracy over MACs and over latency of the dense and the fine-tuned networks."""
    figure = empty_figure(10, 10, title)
    panels = [(score, cost) for score in SCORES for cost in COSTS]
    for number, ((key, label), (cost, unit, cost_label)) in enumerate(panels, 1):
        axes = figure.add_subplot(len(SCORES), len(COSTS), number)
        for name, color, marker, row in _kept(rows):
            if row[key] is not None and row[cost] is not None:
                point = axes.scatter(row[cost] / unit, row[key], s=80, marker=marker, label=name)
                # Hollow, because networks of equal cost often lie on top of each other.
                point.set(facecolor="none", edgecolor=color, linewidth=2, clip_on=False, zorder=3)
        axes.margins(0.15)
        axes.set_xlim(left=0)
        axes.set_ylim(max(0, axes.get_ylim()[0]), min(1.02, axes.get_ylim()[1]))
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
            ``macs``, ``latency_ms``, ``miou``, ``crack_iou``, ``crack_lt_iou_4`` (0…1) and ``per_class`` {class: IoU or None}. A missing
            value (None) leaves a gap.
        folder: Where the files go; each is replaced atomically.
        title: What the numbers are about: data set, split, seed.

    Raises:
        UserError: when a file cannot be written.
    """
    return [
        _criteria_chart(rows, folder / "criteria.png", f"Accuracy before and after fine-tuning\n{title}"),
        _class_chart(rows, folder / "per_class.png", f"IoU per class, dense and fine-tuned\n{title}"),
        _cost_chart(rows, folder / "cost.png", f"Accuracy and cost, dense and fine-tuned\n{title}"),
    ]


def reliability_chart(calibration: Mapping[str, Sequence[Row]], path: Path, *, title: str = "") -> Path:
    """Draw frequency over mean confidence, and the share of pixels per bin, for every kind of confidence counted.

    Args:
        calibration: Bins by kind, as ``prune.metrics.calibration.reliability`` gives them.
        path: PNG file to write.
        title: What network on what data.

    Raises:
        UserError: when the file cannot be written.
    """
    figure = empty_figure(5 * max(1, len(calibration)), 6, title)
    for number, (kind, bins) in enumerate(calibration.items(), 1):
        axes = figure.add_subplot(1, len(calibration), number)
        shown = [row for row in bins if row["pixels"]]
        total = sum(row["pixels"] for row in shown)
        widths = [row["high"] - row["low"] for row in shown]
        shares = [row["pixels"] / total for row in shown]
        axes.bar([r["low"] for r in shown], shares, widths, align="edge", color="#D9D9D9", label="share of pixels")
        axes.plot([0, 1], [0, 1], color=DENSE, linestyle="--", linewidth=1, label="perfect")
        confidence, frequency = ([row[key] for row in shown] for key in ("confidence", "frequency"))
        axes.plot(confidence, frequency, color=COLORS[0], marker="o", ms=4, label="network")
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xlabel(KINDS[kind])
        axes.set_ylabel("frequency" if kind == "crack" else "share that is right")
        plain(axes)
    shared_legend(figure, 3)
    return save(figure, path)


def latency_chart(rows: Sequence[Row], path: Path, *, title: str = "") -> Path:
    """Draw the latency of networks as horizontal bars with their 95 % intervals; the speed-up stands behind.

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
    axes.set_xlabel("median latency (ms), 95 % interval")
    plain(axes)
    axes.grid(axis="x", alpha=0.3, linewidth=0.6)
    return save(figure, path)


def _number(value: Any) -> float:
    """A history value as a float; None and the empty text of a CSV file become NaN, which leaves a gap in a line."""
    return float("nan") if value in (None, "") else float(value)


def _lines(axes: Axes, history: Sequence[Row], columns: Mapping[str, str], label: str) -> None:
    """The given columns {column: name} over the epochs; those without a single value are left out."""
    epochs = [int(row["epoch"]) for row in history]
    marker = "o" if len(history) < 40 else ""
    for number, (column, name) in enumerate(columns.items()):
        values = [_number(row.get(column)) for row in history]
        if any(value == value for value in values):
            color, dashes = COLORS[number % len(COLORS)], "-" if number < len(COLORS) else "--"
            axes.plot(epochs, values, color=color, linestyle=dashes, marker=marker, label=name, ms=2.5, lw=1.4)
    axes.set_xlabel("epoch")
    axes.set_ylabel(label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    plain(axes)
    if axes.get_lines() and len(columns) > 1:
        axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=8)


def training_curves(history: Sequence[Row], path: Path, *, title: str = "") -> Path:
    """Draw losses, mean scores, IoU per class and learning rate over the epochs.

    Args:
        history: One mapping per epoch, as in ``history.csv``: ``epoch``, ``lr``, ``train_loss``, ``val_loss``,
            ``val_miou``, …, ``val_iou_<class>``; numbers or their text, None or empty = no value.
        path: PNG file to write.
        title: What was trained on what.

    Raises:
        UserError: when the file cannot be written.
    """
    prefix = "val_iou_"
    classes = {
        c: c.removeprefix(prefix) for c in dict.fromkeys(k for row in history for k in row) if c.startswith(prefix)
    }
    means = {
        "val_crack_lt_iou_4": "crack ltIoU@4",
        "val_miou": "mIoU",
        "val_miou_defects": "mIoU defects",
        "val_pixel_accuracy": "pixel accuracy",
    }
    figure = empty_figure(12, 7, title)
    panels: Sequence[tuple[Mapping[str, str], str]] = (
        ({"train_loss": "training loss", "val_loss": "validation cross entropy"}, "loss"),
        (means, "validation score (0 to 1)"),
        (classes, "validation IoU (0 to 1)"),
        ({"lr": "learning rate"}, "learning rate"),
    )
    for number, (columns, label) in enumerate(panels, 1):
        axes = figure.add_subplot(2, 2, number)
        _lines(axes, history, columns, label)
        if "0 to 1" in label:
            axes.set_ylim(0, 1)
        else:
            axes.set_ylim(bottom=0)
    return save(figure, path)
