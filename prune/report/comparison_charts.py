"""Accuracy over cost, one picture per score, with 95% intervals."""

from pathlib import Path

from matplotlib.axes import Axes

from prune.evaluation.comparison import HEADLINES, Comparison
from prune.report.charts import (
    COLORS,
    COSTS,
    DENSE,
    MARKERS,
    SIDE_BY_SIDE,
    empty_figure,
    plain,
    save,
    score_axis,
    scored_point,
    shared_legend,
    sideways,
)


def _panel(axes: Axes, comparison: Comparison, name: str, cost: str, unit: float) -> None:
    known = [
        (number, row, row.scores[name], row.summary[cost])
        for number, row in enumerate(comparison.rows)
        if row.summary[cost] is not None and row.scores[name].value == row.scores[name].value
    ]
    shifts = sideways([value for *_, value in known])
    for (number, row, score, value), shift in zip(known, shifts, strict=True):
        look = (DENSE, "o") if not number else (COLORS[(number - 1) % len(COLORS)], MARKERS[number % len(MARKERS)])
        place = value / unit, score.value
        scored_point(axes, place, (score.low, score.high), look, label=row.name, shift=shift)


def comparison_charts(comparison: Comparison, base: Path) -> list[Path]:
    """Draw mIoU, crack IoU and crack ltIoU@4 over MACs and latency: ``<base>_miou.png`` and so on.

    Costs that were not measured and missing scores are left out; if none are left, there is no picture.

    Raises:
        UserError: when a file cannot be written.
    """
    costs = [c for c in COSTS if any(row.summary[c[0]] is not None for row in comparison.rows)]
    files = []
    for name in (n for n in HEADLINES if n in comparison.titles and costs):
        title = comparison.titles[name]
        figure = empty_figure(
            6.5 * len(costs), 4.8, f"{title} and cost\n{comparison.data['images']} images\n{SIDE_BY_SIDE}"
        )
        for number, (cost, unit, label) in enumerate(costs, 1):
            axes = figure.add_subplot(1, len(costs), number)
            _panel(axes, comparison, name, cost, unit)
            score_axis(axes)
            axes.set_xlabel(label)
            axes.set_ylabel(f"{title} (0 to 1)")
            plain(axes)
            axes.grid(axis="x", alpha=0.3, linewidth=0.6)
        shared_legend(figure, 4)
        files.append(save(figure, base.with_name(f"{base.stem}_{name.replace('@', '_')}.png")))
    return files
