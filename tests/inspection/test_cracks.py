"""Cracks one by one, on drawings whose measures are known."""

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from prune.errors import UserError
from prune.inspection.cracks import Crack, measure_cracks
from prune.metrics.measurement import measure

Mask = NDArray[np.bool_]


def blank(size: int = 120) -> Mask:
    return np.zeros((size, size), dtype=bool)


def only(mask: Mask, **settings: object) -> Crack:
    """The one crack of a mask."""
    (crack,) = measure_cracks(mask, **settings)
    return crack


def turned(first: float, second: float) -> float:
    """The angle between two axes in degrees."""
    return min((first - second) % 180, (second - first) % 180)


def test_a_horizontal_line_has_its_measures() -> None:
    mask = blank()
    mask[50:55, 10:90] = True
    crack = only(mask)
    assert crack.length_px == pytest.approx(80, abs=0.1) and crack.area_px == 400
    assert crack.width_mean_px == crack.width_p95_px == crack.width_max_px == pytest.approx(5, abs=1e-5)
    assert crack.orientation == pytest.approx(0) and crack.tortuosity == pytest.approx(1, abs=1e-3)
    assert crack.box == (50, 10, 5, 80) and (crack.number, crack.branches) == (1, 1) and np.isnan(crack.probability)
    assert crack.width_max_at[0] == 52 and set(crack.line[:, 0].tolist()) == {52}
    (segment,) = crack.segments
    assert segment.length_px == crack.length_px and segment.width_max_px == crack.width_max_px
    assert (np.diff(segment.line[:, 1]) == 1).all() or (np.diff(segment.line[:, 1]) == -1).all()


def test_a_diagonal_line_of_one_pixel_is_exact() -> None:
    mask = blank()
    mask[np.arange(20, 70), np.arange(20, 70)[::-1]] = True
    crack = only(mask)
    assert crack.length_px == pytest.approx(50 * np.sqrt(2), abs=0.1) and crack.orientation == pytest.approx(45)
    assert crack.tortuosity == pytest.approx(1, abs=1e-3) and (crack.area_px, crack.branches) == (50, 1)
    assert len(crack.line) == len(crack.segments[0].line) == 50


def test_the_tortuosity_of_an_l_is_its_length_over_the_distance_of_its_ends() -> None:
    mask = blank()
    mask[20:81, 30] = mask[80, 30:111] = True
    crack = only(mask)
    assert crack.length_px == pytest.approx(60 + 80, abs=3) and crack.branches == 1
    assert crack.tortuosity == pytest.approx(140 / 100, rel=0.02) and crack.box == (20, 30, 61, 81)


def test_a_y_has_three_branches() -> None:
    mask = blank()
    mask[60:63, 10:60] = True
    for step in range(45):
        mask[60 - step : 63 - step, 58 + step] = mask[60 + step : 63 + step, 58 + step] = True
    crack = only(mask)
    lengths = [segment.length_px for segment in crack.segments]
    assert crack.branches == 3 and lengths == sorted(lengths, reverse=True)
    # The arms are drawn 3 px high, so 2.1 px across: they end half of that farther out.
    assert lengths == pytest.approx([45 * np.sqrt(2)] * 2 + [49], abs=3)
    assert sum(lengths) == pytest.approx(crack.length_px, abs=2) and sum(lengths) <= crack.length_px
    angles = sorted(segment.orientation for segment in crack.segments)
    assert all(turned(angle, true) < 5 for angle, true in zip(angles, (0, 45, 135), strict=True))
    assert [segment.width_mean_px for segment in crack.segments] == pytest.approx([2.1, 2.1, 3], abs=0.3)
    # From the end of the stem to that of an arm, over their distance.
    assert crack.tortuosity == pytest.approx((49 + 45 * np.sqrt(2)) / np.hypot(94, 45), rel=0.01)


def test_branches_end_at_the_junction_they_meet() -> None:
    mask = blank()
    mask[60, 10:100] = mask[20:60, 55] = True
    crack = only(mask)
    assert crack.branches == 3
    ends = [{tuple(segment.line[0].tolist()), tuple(segment.line[-1].tolist())} for segment in crack.segments]
    junction = set.intersection(*ends)
    assert len(junction) == 1 and ends[0] | ends[1] | ends[2] == junction | {(60, 10), (60, 99), (20, 55)}
    for segment in crack.segments:
        assert np.abs(np.diff(segment.line, axis=0)).max() == 1  # every pixel touches the next


@pytest.mark.parametrize("width", [1, 4, 9])
def test_a_crossing_has_four_branches(width: int) -> None:
    mask = blank()
    mask[50 : 50 + width, 10:110] = mask[10:110, 60 : 60 + width] = True
    for one in (mask, np.rot90(mask).copy()):
        assert only(one).branches == 4 and only(one).length_px == pytest.approx(200, abs=5)


def test_slanted_wide_lines_that_cross_have_four_branches() -> None:
    rows, columns = np.indices((160, 160))
    first, second = rows - 80 - 0.3 * (columns - 80), rows - 80 + 0.5 * (columns - 80)
    near = np.hypot(rows - 80, columns - 80) < 70
    assert only(((np.abs(first) < 5) | (np.abs(second) < 5)) & near).branches == 4


def test_a_circle_is_closed() -> None:
    rows, columns = np.indices((120, 120))
    crack = only(np.abs(np.hypot(rows - 60.3, columns - 59.6) - 40) < 2.5)
    assert crack.length_px == pytest.approx(2 * np.pi * 40, rel=0.01) and crack.width_mean_px == pytest.approx(
        5, abs=0.2
    )
    assert np.isnan(crack.tortuosity) and crack.branches == 1
    assert len(crack.segments[0].line) == len(crack.line)


def test_cracks_are_numbered_by_length_then_place() -> None:
    mask = blank()
    mask[90, 10:60] = mask[10, 70:100] = mask[10, 20:50] = mask[40:60, 80:84] = True
    found = measure_cracks(mask)
    assert [crack.number for crack in found] == [1, 2, 3, 4]
    assert [crack.box[:2] for crack in found] == [(90, 10), (10, 20), (10, 70), (40, 80)]
    assert [round(crack.length_px) for crack in found] == [50, 30, 30, 20]


def test_short_cracks_are_left_out() -> None:
    mask = blank()
    mask[20, 10:70] = mask[40, 10:19] = mask[60, 10:20] = mask[80, 80] = True
    assert [round(crack.length_px) for crack in measure_cracks(mask)] == [60, 10]
    assert [round(crack.length_px) for crack in measure_cracks(mask, min_length=30)] == [60]
    assert [round(crack.length_px) for crack in measure_cracks(mask, min_length=0)] == [60, 10, 9, 1]
    assert measure_cracks(mask, min_length=61) == ()


def test_nothing_and_everything() -> None:
    assert measure_cracks(blank()) == () == measure_cracks(blank(), np.zeros((120, 120), np.float32))
    for probability in (None, np.ones((30, 40), np.float32)):
        (crack,) = measure_cracks(
            np.ones((30, 40), dtype=bool), probability, width="mask" if probability is None else "auto"
        )
        assert np.isnan([crack.width_mean_px, crack.width_p95_px, crack.width_max_px]).all()
        assert crack.area_px == 1200 and crack.box == (0, 0, 30, 40) and np.isfinite(crack.length_px)


def test_a_pixel_and_a_line_of_one_pixel() -> None:
    mask = blank()
    mask[7, 9] = True
    crack = only(mask, min_length=0)
    assert (crack.length_px, crack.area_px, crack.box, crack.branches) == (1, 1, (7, 9, 1, 1), 1)
    assert np.isnan([crack.orientation, crack.tortuosity]).all() and crack.width_max_at == (7, 9)
    assert crack.width_mean_px == pytest.approx(1, abs=0.1)
    mask = blank()
    mask[30, 20:60] = True
    assert only(mask).length_px == pytest.approx(40, abs=0.1) and only(mask).width_max_px == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_a_crack_along_and_across_the_border(turns: int) -> None:
    along, across = blank(), blank()
    along[0:4, 20:90] = across[:, 30:36] = True
    crack = only(np.rot90(along, turns).copy())
    assert crack.length_px == pytest.approx(70, rel=0.02) and crack.width_mean_px == pytest.approx(4, abs=0.1)
    crack = only(np.rot90(across, turns).copy())
    assert crack.length_px == pytest.approx(120, rel=0.02) and crack.width_mean_px == pytest.approx(6, abs=1e-4)


def test_the_widest_place_is_where_the_bulge_is() -> None:
    mask = blank()
    mask[50:53, 10:100] = True
    mask[46:57, 60:70] = True
    crack = only(mask)
    assert crack.width_max_at[0] == 51 and 58 <= crack.width_max_at[1] <= 71
    assert crack.width_max_px == pytest.approx(11, abs=1.5) and crack.width_mean_px < 5


def ragged(seed: int, density: float) -> Mask:
    """Clouds and specks, as a bad network makes them."""
    noise = np.random.default_rng(seed).standard_normal((90, 130))
    return gaussian_filter(noise, 1.5) > density


@pytest.mark.parametrize("seed", range(6))
def test_cracks_add_up_to_what_the_whole_mask_measures(seed: int) -> None:
    mask = ragged(seed, (-0.05, 0.0, 0.05, 0.1, 0.15, 0.25)[seed])
    found, whole = measure_cracks(mask, min_length=0), measure(mask)
    assert sum(crack.length_px for crack in found) == pytest.approx(whole.length, rel=1e-9)
    assert len(found) == whole.components and sum(crack.area_px for crack in found) == whole.area
    assert sum(len(crack.line) for crack in found) == whole.pixels
    assert 0 < max(crack.width_max_px for crack in found) <= whole.width_max
    for crack in found:
        parts = [segment.length_px for segment in crack.segments]
        assert sum(parts) <= crack.length_px + 1e-9 and len(parts) == crack.branches >= 1
        assert crack.tortuosity >= 1 or np.isnan(crack.tortuosity)
        pixels = {tuple(pixel) for pixel in crack.line.tolist()}
        assert all(tuple(pixel) in pixels for segment in crack.segments for pixel in segment.line.tolist())


@pytest.mark.parametrize("seed", range(3))
def test_leaving_out_specks_changes_no_other_crack(seed: int) -> None:
    mask = ragged(seed, 0.12)
    everything = {crack.box: crack for crack in measure_cracks(mask, min_length=0)}
    found = measure_cracks(mask, min_length=15)
    assert {crack.box for crack in found} == {box for box, crack in everything.items() if crack.length_px >= 15}
    assert len(found) > 3
    for crack in found:
        assert crack.length_px == pytest.approx(everything[crack.box].length_px, abs=1e-9)
        # Cuts are taken toward one of several nearest background pixels where a line has no direction.
        assert crack.width_mean_px == pytest.approx(everything[crack.box].width_mean_px, abs=0.3)


def test_widths_without_junctions_are_those_of_the_whole_mask() -> None:
    mask = blank()
    mask[20:23, 10:90] = mask[50:57, 10:70] = True
    found, whole = measure_cracks(mask, min_length=0), measure(mask)
    widths = sum(crack.width_mean_px * len(crack.line) for crack in found)
    assert widths == pytest.approx(whole.width_sum) and found[1].width_max_px == whole.width_max


def test_widths_are_taken_outside_of_junctions() -> None:
    mask = blank()
    mask[50:58, 10:110] = mask[10:110, 60:68] = True
    crack = only(mask)
    assert measure(mask).width_max > 9
    assert crack.width_mean_px == pytest.approx(8, abs=0.05) and crack.width_max_px < 8.1
    assert all(segment.width_max_px == pytest.approx(8, abs=0.1) for segment in crack.segments)


def test_turned_masks_have_the_same_cracks() -> None:
    mask = ragged(3, 0.12)
    first = measure_cracks(mask, min_length=20)
    again = measure_cracks(np.rot90(mask, 2).copy(), min_length=20)
    assert len(first) == len(again)
    assert sorted(c.area_px for c in first) == sorted(c.area_px for c in again)
    assert sum(c.length_px for c in again) == pytest.approx(sum(c.length_px for c in first), rel=0.05)


def blurred(width: float, sigma: float, level: float = 0.0) -> NDArray[np.float32]:
    """The probability of a horizontal line that ``width`` px wide in the middle of row 60, with soft edges."""
    rows = np.arange(120)
    low, high = np.maximum(rows - 0.5, 60 - width / 2), np.minimum(rows + 0.5, 60 + width / 2)
    sharp = np.repeat(np.clip(high - low, 0, 1)[:, None], 120, axis=1)
    sharp[:, :20] = sharp[:, 100:] = 0
    return np.clip(gaussian_filter(sharp, sigma) + level, 0, 1).astype(np.float32)


@pytest.mark.parametrize("width", [1.5, 2.0, 2.6, 3.3, 5.0, 8.4])
def test_the_profile_knows_widths_between_whole_pixels(width: float) -> None:
    probability = blurred(width, 0.8)
    crack = measure_cracks(probability > 0.5, probability)[0]
    assert crack.width_mean_px == pytest.approx(width, abs=0.06)
    assert 0.5 < crack.probability < 1


@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
def test_the_profile_hardly_depends_on_the_threshold(threshold: float) -> None:
    probability = blurred(3.0, 1.0)
    mask = probability > threshold
    assert measure_cracks(mask, probability)[0].width_mean_px == pytest.approx(3, abs=0.17)
    if threshold != 0.5:
        assert abs(measure_cracks(mask)[0].width_mean_px - 3) > 0.9


def test_the_mask_is_measured_where_the_probability_does_not_fall_off() -> None:
    probability = blurred(5.0, 0.7, level=0.3)
    mask = probability > 0.7
    by_mask, by_profile, chosen = (measure_cracks(mask, probability, width=w)[0] for w in ("mask", "profile", "auto"))
    assert chosen.width_mean_px == by_mask.width_mean_px == pytest.approx(5, abs=0.1)
    assert by_profile.width_mean_px > 6


def test_a_neighboring_crack_is_not_counted() -> None:
    probability = np.maximum(blurred(3.0, 0.5), np.roll(blurred(3.0, 0.5), 6, axis=0))
    first, second = measure_cracks(probability > 0.5, probability)
    assert first.width_mean_px == pytest.approx(3, abs=0.15) == second.width_mean_px


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ((blank().astype(int),), TypeError, "mask: expected an array of bool, found int64 values"),
        (([[True]],), TypeError, "mask: expected an array of bool, found list"),
        ((np.ones((3, 4, 5), bool),), UserError, r"^mask: expected pixels \(H, W\), found \(3, 4, 5\)"),
        ((np.ones((0, 4), bool),), UserError, r"found \(0, 4\)"),
        ((blank(), blank()), TypeError, "probability: expected an array of float, found bool values"),
        ((blank(), 0.5), TypeError, "probability: expected an array of float, found float"),
        ((blank(), np.zeros((9, 9))), UserError, r"^probability: .* mask, \(120, 120\), found \(9, 9\)"),
    ],
)
def test_other_arrays_are_refused(arguments: tuple[object, ...], kind: type, message: str) -> None:
    with pytest.raises(kind, match=message):
        measure_cracks(*arguments)  # type: ignore[arg-type]


def test_other_settings_are_refused() -> None:
    with pytest.raises(UserError, match="^width: expected one of auto, mask, profile, found 'area'"):
        measure_cracks(blank(), width="area")
    with pytest.raises(UserError, match="^width: expected a probability to measure profiles of, found none"):
        measure_cracks(blank(), width="profile")
    with pytest.raises(UserError, match="^min_length: expected at least 0, found -1"):
        measure_cracks(blank(), min_length=-1)
    with pytest.raises(TypeError, match=r"measure_cracks\(\) has no argument 'min_len', did you mean min_length"):
        measure_cracks(blank(), min_len=3)


@pytest.mark.parametrize("density", [0.3, 0.5, 0.7, 0.9])
def test_every_crack_has_a_branch(density: float) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = measure_cracks(rng.random((25, 25)) < density, rng.random((25, 25)), min_length=0)
        assert found and all(crack.branches == len(crack.segments) >= 1 for crack in found)
