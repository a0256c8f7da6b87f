"""What the charts draw, asked of the figures themselves before they become pixels."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from prune.report import charts, curves, network_charts, reliability
from prune.report.charts import COLORS, MARKERS, sideways, study_charts
from prune.report.network_charts import SHAPES, accuracy_over_cost


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Figure]]:
    """The figures that would have been written."""
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path) -> Path:
        figures.append(figure)
        return path

    for module in (charts, curves, network_charts, reliability):
        monkeypatch.setattr(module, "save", keep)
    yield figures


def rows(**other: Any) -> list[dict[str, Any]]:
    """A dense network and two of equal cost; one scores 0 and is exactly on the axis."""
    found = []
    for number, (criterion, score) in enumerate((("", 0.6), ("L1", 0.0), ("Taylor", 0.5))):
        stage, macs = ("fine-tuned", 60e9) if criterion else ("dense", 240e9)
        row = {"name": str(number), "criterion": criterion, "stage": stage, "macs": macs, "latency_ms": macs / 1e8}
        row |= {"miou": score, "crack_iou": score, "crack_lt_iou_4": score, "per_class": {"Crack": score}}
        bounds = {"value": score, "low": max(0.0, score - 0.1), "high": score + 0.05}
        found.append(row | {"scores": dict.fromkeys(("miou", "iou", "lt_iou@4"), bounds)} | other)
    return found


def markers(axes: Axes) -> list[Line2D]:
    return [line for line in axes.get_lines() if line.get_marker() in MARKERS + "o" and len(line.get_xdata()) == 1]


def intervals(axes: Axes) -> list[list[float]]:
    """Low and high of the intervals of a chart."""
    parts = [c for c in axes.collections if isinstance(c, LineCollection)]
    return [sorted(float(y) for y in segment[:, 1]) for part in parts for segment in part.get_segments()]


def test_accuracy_over_cost_shows_the_intervals_that_are_known(drawn: list[Figure], tmp_path: Path) -> None:
    study_charts(rows(), tmp_path, title="")
    axes = drawn[-1].axes[0]
    assert np.allclose(sorted(intervals(axes)), [[0, 0.05], [0.4, 0.55], [0.5, 0.65]])
    study_charts(rows(scores={}), tmp_path, title="")
    assert len(markers(drawn[-1].axes[0])) == 3 and not intervals(drawn[-1].axes[0])


def test_no_marker_is_cut_off_and_none_hides_another(drawn: list[Figure], tmp_path: Path) -> None:
    study_charts(rows(), tmp_path, title="")
    for axes in drawn[-1].axes:
        points = markers(axes)
        assert not any(point.get_clip_on() for point in points)
        assert len({point.get_marker() for point in points}) == len({point.get_color() for point in points}) == 3
        places = [tuple(p.get_transform().transform((p.get_xdata()[0], p.get_ydata()[0]))) for p in points]
        left, right = sorted(place[0] for place in places)[:2]
        assert math.isclose(right - left, charts.SHIFT * drawn[-1].dpi / 72, abs_tol=0.01)
        assert axes.get_ylim()[0] < 0 and axes.get_xlim()[0] == 0


def test_networks_of_nearly_equal_cost_are_set_side_by_side() -> None:
    assert sideways([100, 20, 21, 19.5]) == [0, 0, 9, -9]
    assert sideways([100, 50]) == [0, 0] and sideways([7, 7]) == [-4.5, 4.5] and sideways([]) == []


def test_bars_differ_without_their_colors(drawn: list[Figure], tmp_path: Path) -> None:
    study_charts([*rows(), {**rows()[1], "stage": "pruned"}], tmp_path, title="")
    hatches = [{bar.get_hatch() for bar in container} for container in drawn[0].axes[0].containers]
    assert hatches == [{""}, {"////"}]


def test_lines_of_a_training_differ_without_their_colors(drawn: list[Figure], tmp_path: Path) -> None:
    history = [{"epoch": n, "lr": 0.1, **{f"val_iou_{c}": n / 90 for c in "abcdefg"}} for n in range(60)]
    curves.training_curves(history, tmp_path / "a.png")
    lines = drawn[0].axes[2].get_lines()
    assert len({line.get_marker() for line in lines}) == 7 and not any(line.get_clip_on() for line in lines)
    assert len({line.get_markevery() for line in lines}) > 1  # lines on top of each other show all their markers


def test_every_network_has_a_look_of_its_own(drawn: list[Figure], tmp_path: Path) -> None:
    looks = {(SHAPES[n % len(SHAPES)], COLORS[n % len(COLORS)]) for n in range(60)}
    assert len(looks) == 60
    scores = {"value": 0.5, "low": 0.4, "high": 0.7}
    pair = [{"network": "a", "macs": m, "latency_ms": m, "scores": {"lt_iou@4": scores, "iou": scores}} for m in (2, 1)]
    accuracy_over_cost(pair, tmp_path / "a.png")
    assert np.allclose(intervals(drawn[0].axes[0]), [[0.4, 0.7]] * 2)


def test_the_reliability_diagram_keeps_its_markers_whole(drawn: list[Figure], tmp_path: Path) -> None:
    bins = [{"low": 0.0, "high": 0.5, "pixels": 3, "confidence": 0.0, "frequency": 0.0}]
    bins += [{"low": 0.5, "high": 1.0, "pixels": 1, "confidence": 1.0, "frequency": 1.0}]
    reliability.reliability_chart({"crack": bins}, tmp_path / "a.png")
    line = next(line for line in drawn[0].axes[0].get_lines() if line.get_label() == "network")
    assert not line.get_clip_on() and line.get_marker() == "o"
