"""The reliability diagram: how often what the network is sure of is right."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from prune.metrics.calibration import KINDS
from prune.report.charts import COLORS, DENSE, Row, empty_figure, plain, save, shared_legend


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
        axes.plot(confidence, frequency, color=COLORS[0], marker="o", ms=4, label="network", clip_on=False, zorder=3)
        axes.set_xlim(0, 1)
        axes.set_ylim(0, 1)
        axes.set_aspect("equal")
        axes.set_xlabel(KINDS[kind])
        axes.set_ylabel("frequency" if kind == "crack" else "share that is right")
        plain(axes)
    shared_legend(figure, 3)
    return save(figure, path)
