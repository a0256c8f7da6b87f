"""Speed and memory of surveys are measured against the network alone, in the same run."""

import pytest

from prune.benchmark.survey_speed import MEMORY_BOUND, map_memory, memory, speed


@pytest.mark.slow
def test_the_speed_is_a_share_of_that_of_the_network() -> None:
    figure = speed(images=6, rounds=1)
    assert 0 < figure.value < 200 and (figure.unit, figure.relation, figure.bound) == ("%", ">=", 80.0)
    assert "6 JPEG of 640x480 px" in figure.detail and "report, tables and polygons take" in figure.detail


@pytest.mark.slow
def test_a_large_photograph_needs_little_beside_the_network() -> None:
    figure = memory()
    assert figure.value <= MEMORY_BOUND, figure.detail


@pytest.mark.slow
def test_the_memory_for_an_orthophoto_does_not_depend_on_its_height() -> None:
    pytest.importorskip("rasterio")
    figure = map_memory()  # the lower one is high enough to fill all that is bounded
    assert figure.value <= figure.bound == 0.1, figure.detail
    assert "4096x4096 px" in figure.detail and "4096x16384 px" in figure.detail
