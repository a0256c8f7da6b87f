"""Draws the charts of docs/learned.md from the tables of the studies: ``python results/studies/learned.py``."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.report.charts import COLORS, DENSE, empty_figure, plain, save

HERE = Path(__file__).parent
PICTURES = HERE.parent.parent / "docs/pictures"
SCORE = "lt_iou@4"
Row = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """One sentence's chart: rows with the mean over seeds, every seed, and the 95% interval of crack ltIoU@4.

    Args:
        name: Of its file.
        title: The sentence.
        rows: What is shown, from the top, and of which study: its label, and which row it is.
    """

    name: str
    title: str
    rows: tuple[tuple[str, str, Callable[[Row], bool]], ...]


def row(method: str, options: str = "", level: str | None = None) -> Callable[[Row], bool]:
    """Picks one row of a table."""
    return lambda one: one["method"] == method and one["options"] == options and level in (None, one["level"])


DENSE_ROW = ("dense", "methods/criteria", row("dense"))
CHARTS = (
    Chart(
        "learned_size",
        "A quarter of the multiplications finds the same cracks",
        (
            ("dense, 0.89 GMACs", "methods/latency", row("dense")),
            ("global, 0.36 GMACs", "methods/allocation", row("Taylor", "global")),
            ("local, 0.25 GMACs", "methods/latency", row("Taylor", "", "latency_ms=5.6")),
            ("isomorphic, 0.16 GMACs", "methods/allocation", row("Taylor", "isomorphic")),
            ("local, 0.07 GMACs", "methods/allocation", row("Taylor")),
        ),
    ),
    Chart(
        "learned_scratch",
        "The pruned widths trained from scratch are as good",
        (
            ("dense", "criteria", row("dense")),
            *(
                (f"{budget} of the MACs, {said}", "criteria", row(method, "", f"macs={budget}"))
                for budget in ("25%", "9%", "4.5%")
                for method, said in (("from scratch", "from scratch"), ("Taylor", "Taylor"), ("Random", "at random"))
            ),
        ),
    ),
    Chart(
        "learned_criteria",
        "Criteria that look at weights only break down at 70%",
        (
            DENSE_ROW,
            *(
                (name, "methods/criteria", row(name))
                for name in ("Taylor", "Random", "Taylor balanced", "Hessian", "Jacobian")
            ),
            *((name, "methods/criteria", row(name)) for name in ("L1", "L2", "BNScale", "LAMP", "FPGM")),
        ),
    ),
    Chart(
        "learned_distillation",
        "Distillation gained nothing at 70%",
        (
            DENSE_ROW,
            ("labels only", "methods/distillation", row("Taylor")),
            ("KL", "methods/distillation", row("Taylor", "distilled loss kl weight 2.0")),
            ("CWD", "methods/distillation", row("Taylor", "distilled loss cwd weight 3.0")),
            ("KL and CWD", "methods/distillation", row("Taylor", "distilled loss kl+cwd weight 2.0")),
        ),
    ),
    Chart(
        "learned_latency",
        "At 6 ms all allocations find the same cracks",
        (
            ("dense, 13.4 ms, 9.4 MiB", "methods/latency", row("dense")),
            ("local, 6.1 ms, 2.9 MiB", "methods/latency", row("Taylor", "", "latency_ms=5.6")),
            ("latency-aware in 8s, 6.0 ms, 0.46 MiB", "methods/latency", row("Taylor", "latency", "latency_ms=5.6")),
            ("latency-aware in 16s, 6.0 ms, 0.51 MiB", "methods/latency16", row("Taylor round_to 16", "latency")),
        ),
    ),
)


def draw(chart: Chart) -> Path:
    """Write one chart."""
    figure = empty_figure(7.2, 1.1 + 0.33 * len(chart.rows), chart.title)
    axes = figure.add_subplot()
    for place, (_, study, wanted) in enumerate(chart.rows):
        table = json.loads((HERE / study / "table.json").read_text())
        (found,) = (one for one in table["rows"] if wanted(one))
        score, color = found["scores"][SCORE], DENSE if found["method"] == "dense" else COLORS[0]
        axes.plot([score["low"], score["high"]], [place, place], color=color, linewidth=1.2)
        axes.plot(found["per_seed"][SCORE], [place] * len(found["seeds"]), "|", color=color, markersize=9)
        axes.plot([score["value"]], [place], "o", color=color, markersize=7)
        if found["method"] == "dense":
            axes.axvline(score["value"], color=DENSE, linewidth=0.8, linestyle=":", zorder=0)
    axes.set_yticks(range(len(chart.rows)), [label for label, _, _ in chart.rows])
    axes.set_ylim(len(chart.rows) - 0.5, -0.5)
    axes.set_xlabel("crack ltIoU@4: mean, 3 seeds, 95% interval")
    plain(axes)
    axes.grid(visible=False, axis="y")
    return save(figure, PICTURES / f"{chart.name}.png")


if __name__ == "__main__":
    for chart in CHARTS:
        print(draw(chart))
