"""How a training run went: losses, scores and learning rate over the epochs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from prune.report.charts import COLORS, MARKERS, Row, empty_figure, plain, save


def _number(value: Any) -> float:
    """A history value as a float; None and the empty text of a CSV file become NaN, which leaves a gap in a line."""
    return float("nan") if value in (None, "") else float(value)


def _lines(axes: Axes, history: Sequence[Row], columns: Mapping[str, str], label: str) -> None:
    """The given columns {column: name} over the epochs; those without a single value are left out."""
    epochs = [int(row["epoch"]) for row in history]
    every = max(1, len(history) // 12)
    for number, (column, name) in enumerate(columns.items()):
        values = [_number(row.get(column)) for row in history]
        if any(value == value for value in values):
            color, dashes = COLORS[number % len(COLORS)], "-" if number < len(COLORS) else "--"
            marker = MARKERS[number % len(MARKERS)]
            line = axes.plot(epochs, values, color=color, linestyle=dashes, marker=marker, label=name, ms=4, lw=1.4)[0]
            line.set(markevery=(number * every // len(columns), every), clip_on=False, zorder=3)
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
