"""Masks that are measured window by window, compared with measuring them at once."""

import tracemalloc
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from prune.errors import UserError
from prune.inspection.cracks import Crack, measure_cracks
from prune.inspection.streamed import Read, measure_streamed

Mask = NDArray[np.bool_]
EXACT = ("area_px", "box", "branches")
LENGTHS = ("length_px", "tortuosity")
CLOSE = ("orientation", "probability")
WIDTHS = ("width_mean_px", "width_p95_px", "width_max_px")


def reader(mask: Mask, probability: NDArray[np.float32] | None = None) -> Read:
    return lambda rows, columns: (mask[rows, columns], None if probability is None else probability[rows, columns])


def in_order(cracks: Sequence[Crack]) -> list[Crack]:
    return sorted(cracks, key=lambda crack: crack.box)


def assert_equal(found: Sequence[Crack], whole: Sequence[Crack], widths: float) -> None:
    """Lines are equal, and lengths up to the steps of 1/32 px in which ends are looked for.

    Widths may differ where a pixel has several nearest background pixels.
    """
    assert len(found) == len(whole)
    for one, other in zip(in_order(found), in_order(whole), strict=True):
        assert [getattr(one, name) for name in EXACT] == [getattr(other, name) for name in EXACT]
        assert np.array_equal(one.line, other.line)
        assert all(np.array_equal(a.line, b.line) for a, b in zip(one.segments, other.segments, strict=True))
        for names, error in ((CLOSE, 1e-9), (LENGTHS, 0.13), (WIDTHS, widths)):
            values = [[getattr(crack, name) for name in names] for crack in (one, other)]
            assert values[0] == pytest.approx(values[1], abs=error, rel=1e-9, nan_ok=True)


def crossing(width: int = 5) -> Mask:
    """Lines along, across and diagonally through many windows, with junctions, and one along the border."""
    mask = np.zeros((300, 420), bool)
    mask[40 : 40 + width, 10:400] = mask[20:290, 200 : 200 + width] = mask[0:3, 300:420] = True
    rows = np.arange(60, 280)
    for offset in range(width):
        mask[rows, rows + 100 + offset] = True
    mask[250:253, 10:80] = True
    return mask


@pytest.mark.parametrize("window", [64, 97, 150, 1000])
@pytest.mark.parametrize("width", [1, 5])
def test_cracks_are_not_cut_at_windows(window: int, width: int) -> None:
    mask = crossing(width)
    found = list(measure_streamed(reader(mask), mask.shape, window=window, margin=80))
    assert_equal(found, measure_cracks(mask), widths=1e-6 if width > 1 else 0.2)
    assert [crack.number for crack in found] == list(range(1, len(found) + 1)) and len(found) > 2


@pytest.mark.parametrize(("seed", "density"), [(0, 0.05), (1, 0.1), (2, 0.15), (3, 0.25)])
def test_ragged_masks_with_probabilities(seed: int, density: float) -> None:
    values = gaussian_filter(np.random.default_rng(seed).standard_normal((110, 150)), 1.5)
    mask, likely = values > density, (1 / (1 + np.exp(-20 * values))).astype(np.float32)
    for probability in (None, likely):
        found = list(measure_streamed(reader(mask, probability), mask.shape, window=50, margin=70, min_length=12))
        assert_equal(found, measure_cracks(mask, probability, min_length=12), widths=0.4)


def test_a_piece_that_meets_itself_again_is_one_crack() -> None:
    """A U, whose two arms are joined only in the last window, and a ring around a window's corner."""
    mask = np.zeros((200, 200), bool)
    mask[10:190, 20:24] = mask[10:190, 120:124] = mask[186:190, 20:124] = True
    mask[40:90, 40:90] = True
    mask[44:86, 44:86] = False
    found = list(measure_streamed(reader(mask), mask.shape, window=64, margin=70))
    assert_equal(found, measure_cracks(mask), widths=1e-6)
    assert sorted(crack.box for crack in found) == [(10, 20, 180, 104), (40, 40, 50, 50)]


def test_diagonal_neighbors_at_a_corner_of_windows_are_one_piece() -> None:
    mask = np.zeros((100, 100), bool)
    places = np.arange(20, 80)
    mask[places, places] = True
    (crack,) = measure_streamed(reader(mask), mask.shape, window=50)
    assert crack.area_px == 60 and crack.box == (20, 20, 60, 60)
    (crack,) = measure_streamed(reader(mask[:, ::-1]), mask.shape, window=50)
    assert crack.area_px == 60 and crack.length_px == pytest.approx(60 * np.sqrt(2), abs=0.1)


def test_the_margin_grows_with_the_width_of_cracks() -> None:
    mask = np.zeros((420, 600), bool)
    mask[180:220, 20:580] = True
    asked: list[int] = []

    def read(rows: slice, columns: slice) -> tuple[Mask, None]:
        asked.append(rows.stop - rows.start)
        return mask[rows, columns], None

    found = list(measure_streamed(read, mask.shape, window=100, margin=20))
    assert max(asked) > 140
    assert_equal(found, measure_cracks(mask), widths=1e-6)


def test_cracks_come_as_soon_as_they_end() -> None:
    mask = np.zeros((1000, 100), bool)
    mask[20:60, 50] = mask[300:900, 20] = mask[930:980, 70] = True
    read_to: list[int] = []

    def read(rows: slice, columns: slice) -> tuple[Mask, None]:
        read_to.append(rows.stop)
        return mask[rows, columns], None

    seen = [(crack.box[0], max(read_to)) for crack in measure_streamed(read, mask.shape, window=100, margin=50)]
    assert seen == [(20, 150), (300, 1000), (930, 1000)]  # a line from row 300 to 899 ends with the window below it


def peak(height: int) -> int:
    """Peak memory in bytes of measuring short cracks in a mask of this height that is made as it is read."""
    pattern = np.zeros((100, 200), bool)
    pattern[20:23, 30:170] = pattern[50:80, 100:103] = True

    def read(rows: slice, columns: slice) -> tuple[Mask, None]:
        return pattern[np.arange(rows.start, rows.stop) % 100][:, columns], None

    tracemalloc.start()
    count = sum(1 for _ in measure_streamed(read, (height, 200), window=100, margin=60))
    found = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert count == 2 * height // 100
    return found


def test_memory_does_not_depend_on_the_height() -> None:
    peak(300)
    assert peak(2000) < 1.1 * peak(500)


def test_nothing_and_mistakes() -> None:
    empty = np.zeros((50, 60), bool)
    assert list(measure_streamed(reader(empty), empty.shape)) == []
    with pytest.raises(UserError, match="^min_length: expected at least 0"):
        measure_streamed(reader(empty), empty.shape, min_length=-1)
