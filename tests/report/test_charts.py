"""What the charts draw, asked of the figures themselves before they become pixels."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prune.report import charts, curves, reliability
from prune.report.charts import COLORS, MARKERS, empty_figure, score_axis, scored_point, sideways
from prune.studies.charts import style
from prune.studies.table import Cell


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that would have been written."""
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path) -> Path:
        figures.append(figure)
        return path

    for module in (curves, reliability):
        monkeypatch.setattr(module, "save", keep)
    yield figures


def markers(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_marker() in MARKERS + "o" and len(line.get_xdata()) == 1]


def intervals(axes: Axes) -> list[list[float]]:
    """Low and high of the intervals of a chart."""
    parts = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [sorted(float(y) for y in segment[:, 1]) for part in parts for segment in part.get_segments()]


def test_a_score_over_a_cost_has_the_interval_that_is_known() -> None:
    axes = empty_figure(4, 4, "").add_subplot()
    scored_point(axes, (1, 0.5), (0.4, 0.55), ("red", "s"), label="a")
    assert np.allclose(intervals(axes), [[0.4, 0.55]])
    scored_point(axes, (2, 0.5), (None, None), ("red", "s"), label="b")
    assert len(markers(axes)) == 2 and len(intervals(axes)) == 1


def test_no_marker_is_cut_off_and_none_hides_another() -> None:
    """A dense network and two of equal cost; one scores 0 and is exactly on the axis."""
    figure = empty_figure(4, 4, "")
    axes, costs = figure.add_subplot(), (240.0, 60.0, 60.0)
    for number, (cost, score, shift) in enumerate(zip(costs, (0.6, 0.0, 0.5), sideways(costs), strict=True)):
        scored_point(axes, (cost, score), (score, score), (COLORS[number], MARKERS[number]), label="", shift=shift)
    score_axis(axes)
    points = markers(axes)
    assert len(points) == 3 and not any(point.get_clip_on() for point in points)
    places = [tuple(p.get_transform().transform((p.get_xdata()[0], p.get_ydata()[0]))) for p in points]
    left, right = sorted(place[0] for place in places)[:2]
    assert math.isclose(right - left, charts.SHIFT * figure.dpi / 72, abs_tol=0.01)
    assert axes.get_ylim()[0] < 0 and axes.get_xlim()[0] == 0


def test_networks_of_nearly_equal_cost_are_set_side_by_side() -> None:
    assert sideways([100, 20, 21, 19.5]) == [0, 0, 9, -9]
    assert sideways([100, 50]) == [0, 0] and sideways([7, 7]) == [-4.5, 4.5] and sideways([]) == []


def test_lines_of_a_training_differ_without_their_colors(drawn: list[Figure], tmp_path: Path) -> None:
    history = [{"epoch": n, "lr": 0.1, **{f"val_iou_{c}": n / 90 for c in "abcdefg"}} for n in range(60)]
    curves.training_curves(history, tmp_path / "a.png")
    lines = drawn[0].axes[2].get_lines()
    assert len({line.get_marker() for line in lines}) == 7 and not any(line.get_clip_on() for line in lines)
    assert len({line.get_markevery() for line in lines}) > 1  # lines on top of each other show all their markers


def test_every_network_of_a_study_has_a_look_of_its_own() -> None:
    cells = [Cell(f"n{number}", method, "", "", "fp32") for number in range(20) for method in ("dense", "Taylor")]
    looks = [(look["color"], look["marker"], look.get("markerfacecolor")) for look in style(cells).values()]
    assert len(set(looks)) == len(looks) == 40 and [look[2] for look in looks[:2]] == [None, "white"]
    pair = style([Cell(network, "L1", "", "", "fp32") for network in "ab"])
    assert pair["a", "L1"] | {"markerfacecolor": "white"} == pair["b", "L1"]


def test_the_reliability_diagram_keeps_its_markers_whole(drawn: list[Figure], tmp_path: Path) -> None:
    bins = [{"low": 0.0, "high": 0.5, "pixels": 3, "confidence": 0.0, "frequency": 0.0}]
    bins += [{"low": 0.5, "high": 1.0, "pixels": 1, "confidence": 1.0, "frequency": 1.0}]
    reliability.reliability_chart({"crack": bins}, tmp_path / "a.png")
    line = next(line for line in drawn[0].axes[0].get_lines() if line.get_label() == "network")
    assert not line.get_clip_on() and line.get_marker() == "o"
