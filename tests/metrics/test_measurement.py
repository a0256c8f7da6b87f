"""Lengths, widths and directions of drawings whose true measures are known."""

from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from skimage import draw, morphology

from prune.metrics.crack import CrackSettings, count_crack, in_millimeters
from prune.metrics.crack_scores import crack_scores, orientations
from prune.metrics.measurement import Measurement, axis_degrees, measure
from prune.metrics.skeleton import center_line
from prune.metrics.thinning import thin

Mask = NDArray[np.bool_]
Point = tuple[float, float]
MIDDLE = (120.37, 119.71)
"""Off the raster, so that a stroke w px wide is w px wide and not w + 1."""


def stroke(start: Point, stop: Point, width: float, width_there: float | None = None, size: int = 240) -> Mask:
    """A straight stroke with butt ends, all pixels whose center is inside; ``width_there`` at its other end tapers it."""
    rows, columns = np.indices((size, size), dtype=float)
    length = np.hypot(stop[0] - start[0], stop[1] - start[1])
    along = np.array([stop[0] - start[0], stop[1] - start[1]]) / length
    travel = (rows - start[0]) * along[0] + (columns - start[1]) * along[1]
    across = np.abs((rows - start[0]) * along[1] - (columns - start[1]) * along[0])
    local = np.interp(travel, [0, length], [width, width if width_there is None else width_there])
    return (travel >= 0) & (travel < length) & (across < local / 2)


def ray(degrees: float, length: float, width: float, start: Point = MIDDLE) -> Mask:
    """A stroke from ``start``; 0 = to the right, 90 = up."""
    angle = np.radians(degrees)
    return stroke(start, (start[0] - length * np.sin(angle), start[1] + length * np.cos(angle)), width)


def centered(degrees: float, length: float, width: float, width_there: float | None = None) -> Mask:
    angle = np.radians(degrees)
    half = np.array([-np.sin(angle), np.cos(angle)]) * length / 2
    start, stop = (MIDDLE[0] - half[0], MIDDLE[1] - half[1]), (MIDDLE[0] + half[0], MIDDLE[1] + half[1])
    return stroke(start, stop, width, width_there)


def arc(radius: float, width: float, degrees: float, first: float = 10.0) -> Mask:
    """An arc around the middle, counter-clockwise from ``first``, with radial ends."""
    rows, columns = np.indices((300, 300), dtype=float)
    down, right = 150.37 - rows, columns - 149.71
    angle = (np.degrees(np.arctan2(down, right)) - first) % 360
    return (np.abs(np.hypot(down, right) - radius) < width / 2) & (angle < degrees)


def line(*corners: tuple[int, int], size: int = 160) -> Mask:
    """A polyline one pixel wide through (row, column) corners."""
    mask = np.zeros((size, size), dtype=bool)
    for start, stop in pairwise(corners):
        mask[draw.line(*start, *stop)] = True
    return mask


def ends(mask: Mask) -> tuple[int, int]:
    """Free ends and junction pixels of the center line."""
    degree = center_line(mask).graph.degree
    return int((degree == 1).sum()), int((degree > 2).sum())


def drawn_width(mask: Mask, length: float) -> float:
    """The width the pixels have: at 45 degrees it comes in steps of 0.7 px, whatever was asked for."""
    return mask.sum() / length


def turned(first: float, second: float) -> float:
    """The angle between two axes in degrees."""
    return min((first - second) % 180, (second - first) % 180)


ANGLES = (0, 7, 15, 22.5, 30, 37, 45, 53, 60, 67.5, 75, 90)
WIDTHS = (2, 3, 4, 5, 8, 12, 16, 20)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("degrees", ANGLES)
def test_straight_strokes_have_their_length_and_width(degrees: float, width: int) -> None:
    mask = centered(degrees, 150, width)
    found = measure(mask)
    assert found.length == pytest.approx(150, rel=0.02)
    assert found.width_mean == pytest.approx(drawn_width(mask, 150), abs=0.5)
    assert found.width_p95 == pytest.approx(width, abs=1) and found.width_max == pytest.approx(width, abs=1.5)
    assert turned(found.orientation, degrees) < 1
    assert found.components == 1 and found.area == mask.sum()


@pytest.mark.parametrize("length", [40, 60, 100, 200])
@pytest.mark.parametrize("width", [2, 5, 10])
def test_short_and_long_strokes_are_measured_alike(length: int, width: int) -> None:
    for degrees in (0, 22.5, 45, 70):
        mask = centered(degrees, length, width)
        assert measure(mask).length == pytest.approx(length, rel=0.02, abs=1)
        assert measure(mask).width_mean == pytest.approx(drawn_width(mask, length), abs=0.5)


@pytest.mark.parametrize("degrees", [0, 22.5, 45, 72])
@pytest.mark.parametrize("width", [2, 3.5, 5, 8, 14])
def test_widths_are_right_on_average_wherever_a_stroke_lies_on_the_raster(degrees: float, width: float) -> None:
    places = [(100 + shift, 120 - shift * 1.7) for shift in np.linspace(0.03, 1.97, 12)]
    found = [measure(ray(degrees, 90, width, place)).width_mean for place in places]
    assert np.mean(found) == pytest.approx(width, abs=0.25)


@pytest.mark.parametrize("width", [2, 3, 5, 8])
@pytest.mark.parametrize("radius", [40, 60, 90, 120])
def test_arcs_have_their_length_and_width(radius: int, width: int) -> None:
    for degrees in (90, 170, 300):
        mask = arc(radius, width, degrees)
        true = radius * np.radians(degrees)
        found = measure(mask)
        # The drawn pixels know the length no better than area / width does.
        assert abs(found.length - true) <= max(0.02 * true, abs(mask.sum() / width - true) + 1)
        assert found.width_mean == pytest.approx(width, abs=0.5)


def test_a_ring_has_its_circumference_and_no_ends() -> None:
    mask = arc(80, 6, 360)
    found = measure(mask)
    assert found.length == pytest.approx(2 * np.pi * 80, rel=0.02) and found.width_mean == pytest.approx(6, abs=0.5)
    assert ends(mask) == (0, 0) and found.components == 1


@pytest.mark.parametrize(("narrow", "wide"), [(2, 8), (3, 12), (4, 20), (6, 10)])
@pytest.mark.parametrize("degrees", [0, 22.5, 45, 90])
def test_tapered_strokes_have_the_mean_width_of_their_ends(degrees: float, narrow: int, wide: int) -> None:
    found = measure(centered(degrees, 160, narrow, wide))
    assert found.length == pytest.approx(160, rel=0.02)
    assert found.width_mean == pytest.approx((narrow + wide) / 2, abs=0.5)
    # The line stops half a width short of the wide end, where the stroke is up to 1 px narrower.
    assert wide - 1.5 <= found.width_max <= wide + 1 and found.width_p95 <= found.width_max


@pytest.mark.parametrize("pixels", [2, 3, 5, 10, 50, 120])
@pytest.mark.parametrize("first", [20, 21])
def test_straight_lines_of_one_pixel_are_exact(pixels: int, first: int) -> None:
    last = first + pixels - 1
    for mask in (line((first, first), (first, last)), line((first, first), (last, first))):
        assert measure(mask).length == pytest.approx(pixels, abs=0.1)
        assert measure(mask).width_mean == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("pixels", [2, 3, 5, 10, 50, 120])
def test_diagonal_lines_of_one_pixel_are_exact(pixels: int) -> None:
    last = 20 + pixels - 1
    for mask in (line((20, 20), (last, last)), line((last, 20), (20, last))):
        assert measure(mask).length == pytest.approx(pixels * np.sqrt(2), abs=0.1)
        assert measure(mask).pixels == pixels


@pytest.mark.parametrize("degrees", [10, 22.5, 30, 40])
def test_digitized_lines_of_one_pixel_have_their_euclidean_length(degrees: float) -> None:
    down, right = round(110 * np.sin(np.radians(degrees))), round(110 * np.cos(np.radians(degrees)))
    found = measure(line((20, 20), (20 + down, 20 + right)))
    assert found.length == pytest.approx(np.hypot(down, right) + 1, rel=0.02)


def close(length: float, true: float) -> bool:
    return abs(length - true) <= max(3, 0.03 * true)


@pytest.mark.parametrize("width", [1, 3, 6, 10])
def test_the_arms_of_an_l_add_up(width: int) -> None:
    if width == 1:
        mask, true = line((20, 30), (100, 30), (100, 130)), 80 + 100 + 1
    else:
        mask = np.zeros((160, 160), dtype=bool)
        mask[20 : 100 + width, 30 : 30 + width] = True
        mask[100 : 100 + width, 30:130] = True
        true = 80 + width / 2 + 100 - width / 2
    found = measure(mask)
    assert close(found.length, true) and found.components == 1
    assert ends(mask) == (2, 0) and found.width_mean == pytest.approx(width, abs=0.5)


@pytest.mark.parametrize("width", [1, 3, 6, 10])
def test_the_branches_of_a_t_add_up(width: int) -> None:
    mask = np.zeros((200, 200), dtype=bool)
    mask[50 : 50 + width, 30:150] = True
    mask[50:140, 90 : 90 + width] = True
    found = measure(mask)
    assert close(found.length, 120 + 90 - width / 2)
    assert ends(mask)[0] == 3 and found.components == 1
    assert found.width_mean == pytest.approx(width, abs=0.5)


@pytest.mark.parametrize("width", [1.5, 3, 5, 8])
@pytest.mark.parametrize("turn", [0, 17, 30])
def test_the_branches_of_a_y_add_up(turn: float, width: float) -> None:
    mask = ray(turn + 90, 70, width) | ray(turn + 210, 70, width) | ray(turn + 330, 70, width)
    found = measure(mask)
    assert close(found.length, 3 * 70)
    assert ends(mask)[0] == 3 and found.components == 1


def test_a_crossing_counts_once() -> None:
    for width in (1, 4, 7):
        mask = np.zeros((160, 160), dtype=bool)
        mask[70 : 70 + width, 20:140] = True
        mask[10:150, 80 : 80 + width] = True
        assert close(measure(mask).length, 120 + 140) and ends(mask)[0] == 4


@pytest.mark.parametrize("degrees", [0, 45, 90, 135])
@pytest.mark.parametrize("width", [2, 5, 9])
def test_orientation_turns_counterclockwise_from_horizontal(degrees: float, width: int) -> None:
    found = measure(centered(degrees, 120, width)).orientation
    assert turned(found, degrees) < 1 and 0 <= found < 180


def test_orientation_of_drawn_pixels() -> None:
    rising = np.fliplr(np.eye(40, dtype=bool))
    assert measure(rising).orientation == pytest.approx(45)
    assert measure(np.eye(40, dtype=bool)).orientation == pytest.approx(135)
    assert measure(line((20, 10), (20, 90))).orientation == pytest.approx(0)
    assert measure(line((10, 20), (90, 20))).orientation == pytest.approx(90)


def test_the_axis_of_opposite_directions_is_the_same_and_of_a_cross_is_unknown() -> None:
    for degrees in (0, 30, 90, 150):
        doubled = 2 * np.radians([degrees, degrees + 180])
        found = axis_degrees(np.cos(doubled), np.sin(doubled))
        assert all(turned(float(axis), degrees) < 1e-9 for axis in found)
    assert np.isnan(axis_degrees(np.array(0.0), np.array(0.0)))


@pytest.mark.parametrize("rounding", [0.0, -0.0, 1e-16, -1e-16, -1e-15])
def test_a_horizontal_axis_stays_below_180_degrees(rounding: float) -> None:
    assert 0 <= axis_degrees(np.array(1.0), np.array(rounding)) < 180


def test_components_are_eight_connected() -> None:
    mask = line((10, 10), (20, 20)) | line((21, 21), (30, 30)) | line((40, 40), (40, 60)) | line((42, 40), (42, 60))
    assert measure(mask).components == 3
    mask[100, 100] = True
    assert measure(mask).components == 4


def test_separate_cracks_add_up() -> None:
    first, second = ray(0, 90, 4), ray(60, 60, 6, (210.2, 30.3))
    both, alone = measure(first | second), (measure(first), measure(second))
    assert both.length == pytest.approx(sum(m.length for m in alone))
    assert both.width_sum == pytest.approx(sum(m.width_sum for m in alone))
    assert both.area == sum(m.area for m in alone) and both.components == 2
    assert both.width_max == max(m.width_max for m in alone)


def test_an_empty_mask_has_no_length_and_no_width() -> None:
    for shape in ((1, 1), (1, 20), (40, 30)):
        found = measure(np.zeros(shape, dtype=bool))
        assert (found.length, found.area, found.components, found.pixels) == (0, 0, 0, 0)
        assert np.isnan([found.width_mean, found.width_p95, found.width_max, found.orientation]).all()


def test_a_full_mask_has_a_length_but_no_known_width() -> None:
    for shape in ((30, 30), (40, 60), (1, 20), (20, 1), (2, 50), (101, 7)):
        found = measure(np.ones(shape, dtype=bool))
        assert found.area == shape[0] * shape[1] and found.components == 1
        assert np.isnan([found.width_mean, found.width_p95, found.width_max]).all()
        assert np.isfinite(found.length) and 0 < found.length <= 1.5 * max(shape)


def test_a_full_band_is_as_long_as_the_image() -> None:
    for shape in ((1, 20), (20, 1), (2, 50), (101, 7)):
        assert measure(np.ones(shape, dtype=bool)).length == pytest.approx(max(shape), rel=0.03, abs=0.5)


def test_a_pixel_is_one_pixel_long() -> None:
    assert measure(np.ones((1, 1), dtype=bool)).length == 1
    dot = np.zeros((20, 20), dtype=bool)
    for place in ((10, 10), (0, 0), (19, 7)):
        mask = dot.copy()
        mask[place] = True
        found = measure(mask)
        assert found.length == 1 and found.width_mean == pytest.approx(1, abs=0.1)
        assert found.components == found.pixels == found.area == 1 and np.isnan(found.orientation)


@pytest.mark.parametrize("width", [8, 14, 20, 30])
@pytest.mark.parametrize("degrees", [0, 22.5, 45, 80])
def test_wide_strokes_grow_no_spurs(degrees: float, width: int) -> None:
    mask = centered(degrees, 160, width)
    assert ends(mask) == (2, 0)
    found = measure(mask)
    assert found.length == pytest.approx(160, rel=0.02)
    assert found.width_mean == pytest.approx(drawn_width(mask, 160), abs=0.5)


def test_a_branch_that_stands_out_is_kept() -> None:
    mask = np.zeros((160, 160), dtype=bool)
    mask[70:78, 20:140] = True
    mask[40:70, 80:84] = True
    assert ends(mask)[0] == 3 and close(measure(mask).length, 120 + 34)


def test_a_crack_across_the_image_is_as_long_as_the_image() -> None:
    for width in (1, 2, 5, 10, 20):
        mask = np.zeros((120, 90), dtype=bool)
        mask[:, 40 : 40 + width] = True
        found = measure(mask)
        assert found.length == pytest.approx(120, rel=0.02) and found.width_mean == pytest.approx(width, abs=0.5)
        lying = measure(np.ascontiguousarray(mask.T))
        assert lying.length == pytest.approx(120, rel=0.02) and turned(lying.orientation, 0) < 1


def test_turned_and_mirrored_masks_measure_the_same() -> None:
    mask = ray(20, 90, 5) | ray(140, 60, 5) | ray(265, 70, 3)
    first = measure(mask)
    for other in (np.rot90(mask), np.rot90(mask, 2), np.fliplr(mask), np.flipud(mask)):
        again = measure(np.ascontiguousarray(other))
        assert again.length == pytest.approx(first.length, rel=0.01)
        assert again.width_mean == pytest.approx(first.width_mean, abs=0.1)
        assert (again.area, again.components) == (first.area, first.components)


def test_a_known_thinned_mask_changes_nothing() -> None:
    for mask in (ray(20, 90, 5), arc(60, 6, 200), line((10, 10), (70, 120), (20, 140))):
        assert measure(mask) == measure(mask, thin(mask)) == measure(mask, morphology.thin(mask))


def test_ragged_masks_can_be_measured() -> None:
    rng = np.random.default_rng(0)
    for density in (0.05, 0.3, 0.6, 0.9, 0.99):
        for shape in ((1, 1), (1, 15), (15, 1), (2, 2), (3, 40), (40, 40)):
            found = measure(rng.random(shape) < density)
            assert np.isfinite(found.length) and found.length >= found.components >= 0
            assert found.pixels <= found.area
            assert isinstance(found, Measurement) and (np.isnan(found.width_mean) or found.width_mean > 0)


LABEL, PREDICTION = centered(20, 150, 4), centered(20, 120, 7)


def counts_of(prediction: Mask, label: Mask) -> dict[str, float]:
    everywhere = np.ones_like(label)
    return count_crack(prediction, label, everywhere, everywhere, CrackSettings())


def with_boundary(counts: dict[str, float]) -> dict[str, NDArray[np.float64]]:
    names = ("label", "predicted", "label_near", "predicted_near")
    blank = {f"boundary_{name}": 0.0 for name in names} | {"band_both": 0.0, "band_either": 0.0}
    return {name: np.array(value, float) for name, value in (counts | blank).items()}


def test_measures_of_both_masks_are_compared() -> None:
    scores = crack_scores(with_boundary(counts_of(PREDICTION, LABEL)), CrackSettings())
    assert scores["length_px"] == pytest.approx(120, rel=0.02)
    assert scores["length_px.label"] == pytest.approx(150, rel=0.02)
    assert scores["length_px.absolute_error"] == pytest.approx(30, abs=3)
    assert scores["length_px.relative_error"] == pytest.approx(0.2, abs=0.02) == -scores["length_px.bias"]
    assert scores["width_px"] == pytest.approx(7, abs=0.5) and scores["width_px.label"] == pytest.approx(4, abs=0.5)
    assert scores["width_px.absolute_error"] == scores["width_px"] - scores["width_px.label"]
    assert scores["area_px"] == PREDICTION.sum() and scores["area_px.label"] == LABEL.sum()
    assert scores["orientation_error_deg"] == pytest.approx(0, abs=1)


@pytest.mark.parametrize(("first", "second", "angle"), [(2, 178, 4), (0, 90, 90), (30, 75, 45), (170, 20, 30)])
def test_the_error_of_a_direction_is_the_smaller_angle(first: float, second: float, angle: float) -> None:
    counts = counts_of(centered(first, 120, 4), centered(second, 120, 4))
    assert counts["orientation_both"] == 1 and counts["orientation_error"] == pytest.approx(angle, abs=1)
    found = orientations({name: np.array([value]) for name, value in counts.items()})
    assert turned(found["orientation_deg"][0], first) < 1 and turned(found["orientation_deg.label"][0], second) < 1


def test_measures_on_cut_images_are_those_of_the_whole_image() -> None:
    counts = counts_of(PREDICTION, LABEL)
    assert counts["length_predicted"] == pytest.approx(measure(PREDICTION).length)
    assert counts["width_sum_label"] == pytest.approx(measure(LABEL).width_sum)
    band = np.zeros((60, 200), dtype=bool)
    band[20:24] = True
    found = counts_of(band, band)
    assert found["length_label"] == pytest.approx(measure(band).length) == pytest.approx(200, rel=0.02)
    assert found["width_sum_label"] == pytest.approx(measure(band).width_sum)


@pytest.mark.parametrize("scale", [0.25, 1.0, 3.5])
def test_millimeters_scale_lengths_once_and_areas_twice(scale: float) -> None:
    counts = counts_of(PREDICTION, LABEL)
    both = in_millimeters(counts, scale)
    assert {name: both[name] for name in counts} == counts
    for side in ("predicted", "label"):
        assert both[f"length_{side}_mm"] == pytest.approx(scale * counts[f"length_{side}"])
        assert both[f"area_{side}_mm"] == pytest.approx(scale**2 * counts[f"area_{side}"])
    assert both["area_error_mm"] == pytest.approx(scale**2 * counts["area_error"])
    scores = crack_scores(with_boundary(both), CrackSettings())
    for pixels, millimeters in (("length_px", "length_mm"), ("width_px", "width_mm"), ("width_max_px", "width_max_mm")):
        assert scores[millimeters] == pytest.approx(scale * scores[pixels])
        assert scores[f"{millimeters}.label"] == pytest.approx(scale * scores[f"{pixels}.label"])
    for name in ("length", "width"):
        assert scores[f"{name}_mm.absolute_error"] == pytest.approx(scale * scores[f"{name}_px.absolute_error"])
        assert scores[f"{name}_mm.relative_error"] == pytest.approx(scores[f"{name}_px.relative_error"])
    assert scores["area_mm2"] == pytest.approx(scale**2 * scores["area_px"])
    assert "components_label_mm" not in both and "orientation_error_mm" not in both
