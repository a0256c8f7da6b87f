"""Charts of a study: what pruning and fine-tuning did to accuracy, and what it cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from prune.files import atomic_path

COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#000000")
"""Okabe-Ito: distinguishable with every kind of color vision."""

Row = dict[str, Any]


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=130, bbox_inches="tight", facecolor="white")
    return path


def _name(row: Row) -> str:
    return row["criterion"] or "dense"


def _bars(axes: Any, labels: Sequence[str], series: dict[str, list[float | None]]) -> None:
    """Grouped bars with their values written on top; a missing value leaves a gap."""
    width = 0.8 / len(series)
    for number, (title, values) in enumerate(series.items()):
        places = [i + (number - (len(series) - 1) / 2) * width for i in range(len(labels))]
        heights = [0 if v is None else v for v in values]
        bars = axes.bar(places, heights, width * 0.94, label=title, color=COLORS[number % len(COLORS)])
        texts = ["" if v is None else f"{v:.2f}" for v in values]
        axes.bar_label(bars, texts, padding=2, fontsize=7)
    axes.set_xticks(range(len(labels)), labels)
    axes.spines[["top", "right"]].set_visible(False)
    axes.margins(y=0.12)


def _before_and_after(rows: Sequence[Row], path: Path, title: str) -> Path:
    """MIoU and crack IoU of each criterion right after pruning and after fine-tuning, against the dense network."""
    dense = next(row for row in rows if row["stage"] == "dense")
    criteria = list(dict.fromkeys(row["criterion"] for row in rows if row["criterion"]))
    figure = Figure(figsize=(10, 4))
    for number, (key, label) in enumerate((("miou", "mIoU"), ("crack_iou", "crack IoU")), 1):
        axes = figure.add_subplot(1, 2, number)
        series = {
            stage: [next((r[key] for r in rows if (r["criterion"], r["stage"]) == (c, stage)), None) for c in criteria]
            for stage in ("pruned", "fine-tuned")
        }
        _bars(axes, criteria, series)
        if dense[key] is not None:
            axes.axhline(dense[key], color="black", linestyle="--", linewidth=1, label=f"dense {dense[key]:.2f}")
        axes.set_ylabel(f"{label} (0 to 1)")
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, [label.split(" 0.")[0] for label in labels], loc="lower center", ncols=3, bbox_to_anchor=(0.5, -0.08))
    figure.suptitle(title)
    return _save(figure, path)


def _per_class(rows: Sequence[Row], path: Path, title: str) -> Path:
    """IoU of every class present, for the dense and the fine-tuned networks."""
    shown = [row for row in rows if row["stage"] in ("dense", "fine-tuned")]
    classes = [c for c in shown[0]["per_class"] if any(row["per_class"][c] is not None for row in shown)]
    figure = Figure(figsize=(max(8, 1.6 * len(classes)), 4))
    axes = figure.add_subplot()
    _bars(axes, classes, {_name(row): [row["per_class"][c] for c in classes] for row in shown})
    axes.set_ylabel("IoU (0 to 1)")
    axes.set_title(title)
    figure.legend(loc="lower center", ncols=len(shown), bbox_to_anchor=(0.5, -0.1))
    return _save(figure, path)


def _cost(rows: Sequence[Row], path: Path, title: str) -> Path:
    """Accuracy over MACs and over latency, dense and fine-tuned; equal costs are told apart by the legend."""
    shown = [row for row in rows if row["stage"] in ("dense", "fine-tuned")]
    figure = Figure(figsize=(10, 7))
    panels = [(c, k) for k in ("miou", "crack_iou") for c in (("macs", 1e9, "MACs (G)"), ("latency_ms", 1, "latency (ms)"))]
    for number, ((cost, unit, label), key) in enumerate(panels, 1):
        axes = figure.add_subplot(2, 2, number)
        for index, row in enumerate(shown):
            if row[key] is not None:
                point = {"color": COLORS[index % len(COLORS)], "marker": "os^DvP*"[index % 7], "s": 60, "alpha": 0.85}
                axes.scatter(row[cost] / unit, row[key], label=_name(row), **point)
        axes.set_xlabel(label)
        axes.set_ylabel({"miou": "mIoU", "crack_iou": "crack IoU"}[key])
        axes.set_xlim(left=0)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=len(shown), bbox_to_anchor=(0.5, -0.03))
    figure.suptitle(title)
    figure.tight_layout()
    return _save(figure, path)


def study_charts(rows: Sequence[Row], folder: Path, *, title: str) -> list[Path]:
    """Draw the charts of a study.

    Args:
        rows: One per network: ``name``, ``criterion`` (empty for the dense one), ``stage`` (dense, pruned, fine-tuned),
            ``parameters``, ``macs``, ``latency_ms``, ``miou``, ``crack_iou`` and ``per_class`` {class: IoU or None}.
        folder: Where criteria.png, per_class.png and cost.png go.
        title: Data set, split and seed.
    """
    return [
        _before_and_after(rows, folder / "criteria.png", title),
        _per_class(rows, folder / "per_class.png", title),
        _cost(rows, folder / "cost.png", title),
    ]
