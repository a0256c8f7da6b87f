"""Charts of a study: accuracy over cost with intervals, and the Pareto front."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from matplotlib.transforms import Bbox

from prune.report.charts import COLORS, DENSE, MARKERS, empty_figure, plain, save, shared_legend
from prune.studies.table import HEADLINE, SCORES, Cell, costs_of

UNITS = {"macs": 1e9}
GRAY = "#8C8C8C"
BY_METHOD = {
    "dense": (DENSE, "o"),
    "Random": (GRAY, "x"),
    "from scratch": ("#D55E00", "+"),
    "smaller": ("#000000", "*"),
}
"""Color and marker of the controls; criteria take the other ones in turn."""
SAME, APART = 0.01, 1.035
"""Rows whose costs differ by less than this share are drawn side by side, each this many times farther to the right."""
LABELED = 14
"""With more points than this, only those on the front are labeled."""
PLACES = (
    (6.0, 4.0, "left"),
    (6.0, -11.0, "left"),
    (-6.0, 4.0, "right"),
    (-6.0, -11.0, "right"),
    (6.0, 16.0, "left"),
    (6.0, -23.0, "left"),
    (-6.0, 16.0, "right"),
    (-6.0, -23.0, "right"),
    (6.0, 28.0, "left"),
    (6.0, -35.0, "left"),
)
"""Where the text of a point may stand: offsets in points from the marker, and the side of the text that is there."""


def style(cells: Sequence[Cell]) -> dict[tuple[str, str], dict[str, Any]]:
    """A style for every (network, method), the same in all charts of a study.

    Of one or two networks the color tells the method and the filling the network; of more, color and marker tell the network,
    and only dense ones are filled.
    """
    criteria = [m for m in dict.fromkeys(cell.method for cell in cells) if m not in BY_METHOD]
    networks = list(dict.fromkeys(cell.network for cell in cells))
    found = {}
    for network, method in dict.fromkeys((cell.network, cell.method) for cell in cells):
        place = networks.index(network)
        number = place if len(networks) > 2 else criteria.index(method) if method in criteria else 0
        color, marker = COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)]
        hollow = method != "dense" if len(networks) > 2 else place == 1
        if len(networks) <= 2:
            color, marker = BY_METHOD.get(method, (color, marker))
        found[network, method] = {"color": color, "marker": marker}
        if hollow and marker not in "x+":
            found[network, method]["markerfacecolor"] = "white"
    return found


def pareto_charts(cells: Sequence[Cell], folder: Path, *, title: str) -> list[Path]:
    """One chart per cost (latency on every runtime, MACs, size): crack ltIoU@4 and mIoU with intervals, and the front.

    How much was removed stands at every point, or once in the title where it is the same for all.
    """
    files, level = [], _common_level(cells)
    title += f", pruned: {level}" if level else ""
    for cost, label in costs_of(cells).items():
        if any(cell.cost(cost) is not None for cell in cells):
            file = folder / f"pareto_{cost.replace(' ', '_')}.png"
            files.append(_chart(cells, cost, label, file, title))
    return files


def _common_level(cells: Sequence[Cell]) -> str:
    """How much was removed where that is the same for all pruned networks, else empty."""
    levels = {cell.level for cell in cells if cell.level}
    return levels.pop() if len(levels) == 1 else ""


def _chart(cells: Sequence[Cell], cost: str, label: str, path: Path, title: str) -> Path:
    shown = [name for name in HEADLINE if any(name in cell.scores for cell in cells)]
    figure = empty_figure(6.4 * max(1, len(shown)), 5.2, title)
    panels = []
    for number, score in enumerate(shown, 1):
        axes = figure.add_subplot(1, len(shown), number)
        panels.append((axes, *_panel(axes, cells, score, cost)))
        axes.set_xlabel(f"{label}, log scale")
        axes.set_ylabel(f"{SCORES[score]}, mean over seeds")
    shared_legend(figure, 5)
    figure.draw_without_rendering()  # from here on everything has its place
    for axes, points, texts in panels:
        _write(axes, points, texts)
    return save(figure, path)


def _panel(
    axes: Axes, cells: Sequence[Cell], score: str, cost: str
) -> tuple[list[tuple[float, float]], list[tuple[float, float, str]]]:
    """Draw a score over a cost; the points, and those that a text belongs to."""
    styles, networks = style(cells), len({cell.network for cell in cells})
    points: list[tuple[float, float, Cell]] = []
    seen: list[float] = []
    for cell in cells:
        value, found = cell.cost(cost), cell.scores.get(score)
        if value is None or found is None or math.isnan(found.value):
            continue
        beside = sum(abs(value / other - 1) < SAME for other in seen)
        seen.append(value)
        place = value / UNITS.get(cost, 1.0) * APART**beside
        points.append((place, found.value, cell))
        low, high = (0.0 if math.isnan(b) else abs(found.value - b) for b in (found.low, found.high))
        name = cell.method if networks == 1 else f"{cell.network} {cell.method}"
        look = styles[cell.network, cell.method]
        axes.errorbar(
            [place],
            [found.value],
            [[low], [high]],
            label=name,
            linestyle="",
            capsize=2.5,
            elinewidth=0.9,
            markersize=7,
            **look,
        )
    best = [i for i, (_, _, cell) in enumerate(points) if f"{score} over {cost}" in cell.fronts]
    steps = sorted(points[i][:2] for i in best)
    if steps:
        axes.step(
            *zip(*steps, strict=True),
            where="post",
            color=DENSE,
            linewidth=1,
            linestyle="--",
            zorder=0,
            label="Pareto front",
        )
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.margins(x=0.15, y=0.1)
    plain(axes)
    return [point[:2] for point in points], _texts(points, best, _common_level(cells))


def _texts(
    points: Sequence[tuple[float, float, Cell]], best: Sequence[int], common: str
) -> list[tuple[float, float, str]]:
    """What is written beside which points; of many points, only beside the best."""
    texts = []
    for number, (place, value, cell) in enumerate(points):
        level = "" if cell.level == common else cell.level
        text = " ".join(filter(None, (level, cell.options, "" if cell.precision == "fp32" else cell.precision)))
        if text and (len(points) <= LABELED or number in best):
            texts.append((place, value, text))
    return texts


def _write(axes: Axes, points: Sequence[tuple[float, float]], texts: Sequence[tuple[float, float, str]]) -> None:
    """Write each text beside its point: at the first place where it covers no point and no other text, else at the first."""
    marks = [Bbox.from_bounds(x - 5, y - 5, 10, 10) for x, y in axes.transData.transform(points)] if points else []
    taken: list[Bbox] = []
    for place, value, text in sorted(texts, key=lambda item: item[1]):
        label = axes.annotate(text, (place, value), (0, 0), textcoords="offset points", fontsize=8, color="#404040")
        for x, y, side in (*PLACES, PLACES[0]):
            label.set(position=(x, y), horizontalalignment=side)
            box = label.get_window_extent()
            inside = axes.bbox.x0 <= box.x0 and box.x1 <= axes.bbox.x1
            if inside and not any(box.overlaps(other) for other in (*marks, *taken)):
                break
        taken.append(box)
