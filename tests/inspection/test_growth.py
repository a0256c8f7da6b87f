"""Two dates: photographs of one place laid over each other, and how cracks have grown."""

import math
import sys
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, map_coordinates

from prune.errors import UserError
from prune.inspection.cracks import measure_cracks
from prune.inspection.growth import Growth, compare_cracks
from prune.inspection.known_errors import KnownErrors, LengthError, WidthError
from prune.inspection.plane import apply
from prune.inspection.records import CrackRecord
from prune.inspection.registration import Registration, register

SHAPE = (300, 400)
MOVED = np.array([[0.96, -0.10, 22.0], [0.09, 0.98, -14.0], [2e-5, -3e-5, 1.0]])
"""From px of the later photograph to px of the earlier one."""
ERRORS = KnownErrors(
    "test", 9, "auto", 10, (), WidthError(0, None, 9, 0.1, 0.3), LengthError(100, 101, 0.05, 0.9, 0.9), None
)


def wall(seed: int, shape: tuple[int, int] = SHAPE) -> NDArray[np.float64]:
    """Rough concrete, gray levels (H, W): stains, pores, grain."""
    rng = np.random.default_rng(seed)
    coarse, fine = (gaussian_filter(rng.standard_normal(shape), s) for s in (9, 1.5))
    values = 140 + 25 * coarse / coarse.std() + 12 * fine / fine.std()
    for y, x, r in zip(
        rng.integers(0, shape[0], 90), rng.integers(0, shape[1], 90), rng.integers(1, 5, 90), strict=True
    ):
        values[max(0, y - r) : y + r, max(0, x - r) : x + r] -= 50
    return values


def photograph(values: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.repeat(np.clip(values, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def seen_as(
    values: NDArray[np.float64], matrix: NDArray[np.float64], shape: tuple[int, int] = SHAPE
) -> NDArray[np.float64]:
    """What a later photograph shows whose pixels lie at ``matrix`` in the earlier one."""
    rows, columns = np.mgrid[0 : shape[0], 0 : shape[1]]
    x, y = apply(matrix, np.stack([columns.ravel(), rows.ravel()], axis=1)).T
    return map_coordinates(values, [y, x], order=1, mode="reflect").reshape(shape)


def test_photographs_of_one_place_are_laid_over_each_other() -> None:
    before = wall(0)
    rng = np.random.default_rng(5)
    after = 0.8 * seen_as(before, MOVED) + 30 + rng.normal(0, 3, SHAPE)  # darker, less contrast, other noise
    found = register(photograph(before), photograph(after))
    corners = np.array([[20.0, 20], [380, 20], [380, 280], [20, 280]])
    assert np.abs(found.to_before(corners) - apply(MOVED, corners)).max() < 1.5
    assert found.matches > 40 and found.rms_px < 1.5
    grid = np.stack(np.meshgrid(np.arange(400), np.arange(300)), axis=-1).reshape(-1, 2)
    inside = apply(np.linalg.inv(MOVED), grid)
    share = ((inside >= -0.5) & (inside < np.array([399.5, 299.5]))).all(axis=1).mean()
    assert found.overlap == pytest.approx(share, abs=0.03)
    assert found.to_after(found.to_before(corners)) == pytest.approx(corners)
    again = register(photograph(before), photograph(after))
    assert np.array_equal(again.matrix, found.matrix)


def test_photographs_of_different_sizes_fit() -> None:
    before = wall(1)
    small = np.array(Image.fromarray(photograph(before)).resize((200, 150), Image.Resampling.BOX))
    found = register(photograph(before), small)
    assert found.to_before(np.array([[99.5, 74.5]])) == pytest.approx(np.array([[199.5, 149.5]]), abs=1)
    assert found.zoom(np.array([[99.5, 74.5]])) == pytest.approx([2], abs=0.02) and found.overlap > 0.97


@pytest.mark.parametrize("after", [wall(3), np.full(SHAPE, 128.0)])
def test_photographs_of_different_places_are_refused(after: NDArray[np.float64]) -> None:
    with pytest.raises(UserError, match="expected two photographs of the same place, found "):
        register(photograph(wall(2)), photograph(after))


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage.feature", None)
    with pytest.raises(UserError, match=r"^scikit-image is not installed: pip install prune-crackseg\[growth\]"):
        register(photograph(wall(2)), photograph(wall(2)))


def overlay(matrix: NDArray[np.float64] | None = None, rms: float = 0.5) -> Registration:
    return Registration(np.eye(3) if matrix is None else matrix, SHAPE, SHAPE, 100, rms, 1.0)


def crack(number: int, width: float | None, *lines: list[tuple[int, int]]) -> CrackRecord:
    """A crack along straight lines (row, column) with its length."""
    length = sum(math.dist(a, b) for line in lines for a, b in pairwise(line))
    parts = tuple(map(tuple, lines))
    return CrackRecord(
        number, length, width, width, width, lines[0][0], 0.0, 1.0, 1, (0, 0, 1, 1), len(lines), 0.9, parts
    )


def test_a_crack_that_grew_is_longer_and_wider() -> None:
    before = [crack(1, 3.0, [(100, 50), (100, 150)])]
    after = [crack(1, 5.0, [(101, 50), (101, 200)])]
    (growth,) = compare_cracks(before, after, overlay(), ERRORS).growths
    assert (growth.before, growth.after) == ((1,), (1,))
    assert (growth.length_before_px, growth.length_after_px) == pytest.approx((100, 150))
    assert (growth.length_px, growth.width_px) == pytest.approx((50, 2)) and growth.new_px == pytest.approx(46, abs=1.1)
    stretch = 0.5 / (300 * 10) * 150
    assert growth.length_error_px == pytest.approx(
        math.sqrt((1.4826 * 5) ** 2 + (1.4826 * 7.5) ** 2 + 2**2 + stretch**2)
    )
    assert growth.width_error_px == pytest.approx(0.3 * math.sqrt(2)) and growth.verdict == "longer and wider"


def test_a_difference_within_the_error_is_no_growth() -> None:
    before = [crack(1, 3.0, [(100, 50), (100, 150)])]
    (growth,) = compare_cracks(before, [crack(1, 3.5, [(100, 50), (100, 160)])], overlay(), ERRORS).growths
    assert growth.verdict == "no growth beyond the error" and growth.length_px == pytest.approx(10)
    (growth,) = compare_cracks(before, [crack(1, None, [(100, 50), (100, 190)])], overlay(), ERRORS).growths
    assert growth.verdict == "longer" and math.isnan(growth.width_px) and growth.width_error_px is None
    (growth,) = compare_cracks(before, before, overlay()).growths
    assert growth.verdict == "error not known" and growth.length_error_px is None and growth.new_px == 0


def test_new_and_missing_cracks() -> None:
    before = [crack(1, 3.0, [(100, 50), (100, 150)]), crack(2, 2.0, [(200, 50), (200, 90)])]
    after = [crack(7, 3.0, [(100, 50), (100, 150)]), crack(8, 2.0, [(20, 50), (20, 110)])]
    found = compare_cracks(before, after, overlay(), ERRORS)
    assert [(one.before, one.after, one.verdict) for one in found.growths] == [
        ((), (8,), "new"),
        ((1,), (7,), "no growth beyond the error"),
        ((2,), (), "not found again"),
    ]
    new, _, gone = found.growths
    assert new.new_px == pytest.approx(60) and math.isnan(new.width_before_px) and new.width_after_px == 2
    assert gone.length_px == pytest.approx(-40) and gone.width_error_px is None
    assert set(found.new[:, 1]) == {20} and set(found.gone[:, 1]) == {200} and set(found.known[:, 1]) == {100}


def test_cracks_that_grew_together_are_one() -> None:
    before = [crack(1, 3.0, [(100, 50), (100, 100)]), crack(2, 1.0, [(100, 120), (100, 220)])]
    (growth,) = compare_cracks(before, [crack(1, 3.0, [(100, 50), (100, 220)])], overlay(), ERRORS).growths
    assert growth.before == (1, 2) and growth.length_px == pytest.approx(20)
    assert growth.width_before_px == pytest.approx((50 * 3 + 100 * 1) / 150)
    assert growth.new_px == pytest.approx(12, abs=1.1)  # 20 without the 4 px beside each end


def test_crossing_cracks_stay_two() -> None:
    before = [crack(1, 3.0, [(100, 50), (100, 150)])]
    after = [crack(1, 3.0, [(100, 50), (100, 150)]), crack(2, 3.0, [(60, 100), (160, 100)])]
    found = compare_cracks(before, after, overlay()).growths
    assert [(one.before, one.after) for one in found] == [((), (2,)), ((1,), (1,))]


def test_only_what_both_photographs_show_is_compared() -> None:
    shifted = np.array([[1.0, 0, 100], [0, 1, 0], [0, 0, 1]])  # the later photograph begins at column 100
    before = [crack(1, 3.0, [(50, 20), (50, 220)]), crack(2, 3.0, [(150, 10), (150, 80)])]
    after = [crack(1, 3.0, [(50, 0), (50, 120)]), crack(2, 3.0, [(250, 310), (250, 390)])]
    (growth,) = compare_cracks(before, after, overlay(shifted)).growths
    assert growth.length_before_px == pytest.approx(120, abs=1) and growth.length_after_px == pytest.approx(120)
    assert growth.new_px == 0


def test_a_nearer_camera_makes_no_growth() -> None:
    halved = np.diag([0.5, 0.5, 1])  # pixels of the later photograph are half as large
    before = [crack(1, 3.0, [(50, 20), (50, 120)])]
    (growth,) = compare_cracks(before, [crack(1, 6.0, [(100, 40), (100, 240)])], overlay(halved), ERRORS).growths
    assert growth.length_px == pytest.approx(0, abs=1e-6) and growth.width_px == pytest.approx(0)


def test_measured_masks_of_an_oblique_pair() -> None:
    """A crack of 3 px that grew from 150 to 220 px, seen again from elsewhere, with the true overlay."""
    masks = []
    for end in (200, 270):
        drawn = np.zeros(SHAPE)
        drawn[150:153, 50:end] = 1
        masks.append(drawn)
    later = seen_as(masks[1], MOVED) > 0.5
    before, after = ([CrackRecord.of(one) for one in measure_cracks(mask)] for mask in (masks[0] > 0.5, later))
    (growth,) = compare_cracks(before, after, overlay(MOVED), ERRORS).growths
    assert growth.length_px == pytest.approx(70, abs=2.5) and growth.width_px == pytest.approx(0, abs=0.3)


def test_the_picture_shows_what_is_new() -> None:
    before = [crack(1, 3.0, [(100, 50), (100, 150)]), crack(2, 2.0, [(200, 50), (200, 90)])]
    after = [crack(7, 3.0, [(100, 50), (100, 250)])]
    image = np.full((*SHAPE, 3), 100, np.uint8)
    picture = compare_cracks(before, after, overlay(), ERRORS).draw(image)
    assert picture[100, 100].tolist() == [0, 114, 178] and picture[100, 200].tolist() == [213, 94, 0]
    assert picture[200, 70].tolist() == [240, 228, 66] and picture[20, 20].tolist() == [193] * 3
    assert picture.shape[0] > 300 and (image == 100).all()


def test_nothing_to_compare() -> None:
    assert compare_cracks([], [], overlay()).growths == ()
    (growth,) = compare_cracks([], [crack(3, 2.0, [(9, 9), (9, 30)])], overlay()).growths
    assert isinstance(growth, Growth) and growth.verdict == "new"
