"""Accuracy over cost, one picture per score, with 95 % intervals."""

from pathlib import Path

from matplotlib.axes import Axes

from prune.evaluation.comparison import HEADLINES, Comparison
from prune.report.charts import COLORS, COSTS, DENSE, MARKERS, empty_figure, plain, save, shared_legend


def _panel(axes: Axes, comparison: Comparison, name: str, cost: str, unit: float) -> None:
    for number, row in enumerate(comparison.rows):
        score, value = row.scores[name], row.summary[cost]
        if value is None or score.value != score.value:
            continue
        color, marker = (
            (DENSE, "o") if not number else (COLORS[(number - 1) % len(COLORS)], MARKERS[number % len(MARKERS)])
        )
        # The baseline below the others: networks of equal cost lie on top of each other, so all are hollow.
        point = axes.scatter(value / unit, score.value, s=80, marker=marker, label=row.name, zorder=3)
        point.set(facecolor="none", edgecolor=color, linewidth=2)
        if score.low == score.low:
            axes.plot([value / unit] * 2, [score.low, score.high], color=color, linewidth=1.2, alpha=0.7)


def comparison_charts(comparison: Comparison, base: Path) -> list[Path]:
    """Draw mIoU, crack IoU and crack ltIoU@4 over MACs and latency: ``<base>_miou.png`` and so on.

    Costs nobody measured and scores nobody has are left out; without any there is no picture.

    Raises:
        UserError: when a file cannot be written.
    """
    costs = [c for c in COSTS if any(row.summary[c[0]] is not None for row in comparison.rows)]
    files = []
    for name in (n for n in HEADLINES if n in comparison.titles and costs):
        title = comparison.titles[name]
        figure = empty_figure(
            5.5 * len(costs), 4.6, f"{title} and cost\n{comparison.data['images']} images, 95 % intervals"
        )
        for number, (cost, unit, label) in enumerate(costs, 1):
            axes = figure.add_subplot(1, len(costs), number)
            _panel(axes, comparison, name, cost, unit)
            axes.margins(0.15)
            axes.set_xlim(left=0)
            axes.set_ylim(max(0, axes.get_ylim()[0]), min(1.02, axes.get_ylim()[1]))
            axes.set_xlabel(label)
            axes.set_ylabel(f"{title} (0 to 1)")
            plain(axes)
            axes.grid(axis="x", alpha=0.3, linewidth=0.6)
        shared_legend(figure, 4)
        files.append(save(figure, base.with_name(f"{base.stem}_{name.replace('@', '_')}.png")))
    return files
