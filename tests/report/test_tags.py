"""Labels beside lines: inside the picture, beside each other, and off the lines where there is room."""

import numpy as np
import pytest

from prune.report.tags import SMALLEST_SIDE, Tag, draw_tags


def line(row: int, first: int, last: int) -> np.ndarray:
    columns = np.arange(first, last)
    return np.stack([np.full_like(columns, row), columns], axis=1)


def white(picture: np.ndarray) -> np.ndarray:
    return (picture == 255).all(axis=2)


@pytest.mark.parametrize("shape", [(600, 800), (480, 300), (3000, 500)])
def test_large_pictures_keep_their_size_and_are_left_alone(shape: tuple[int, int]) -> None:
    picture = np.full((*shape, 3), 100, np.uint8)
    drawn = draw_tags(picture, [Tag(line(shape[0] // 2, 20, 280), "1: 260 px", "1")])
    assert drawn.shape == picture.shape and (picture == 100).all() and white(drawn).any()
    assert np.array_equal(draw_tags(picture, []), picture)


@pytest.mark.parametrize(("shape", "factor"), [((40, 100), 5), ((239, 240), 2), ((1, 1), 480), ((480, 9), 1)])
def test_small_pictures_are_enlarged_by_a_whole_factor(shape: tuple[int, int], factor: int) -> None:
    drawn = draw_tags(np.zeros((*shape, 3), np.uint8), [Tag(line(0, 0, 1), "1", "1")])
    assert drawn.shape == (factor * shape[0], factor * shape[1], 3) and max(drawn.shape) >= SMALLEST_SIDE


@pytest.mark.parametrize("row", [0, 3, 300, 596, 599])
def test_a_label_does_not_cover_its_line(row: int) -> None:
    drawn = draw_tags(np.zeros((600, 600, 3), np.uint8), [Tag(line(row, 100, 500), "1: 400 px", "1")])
    rows, columns = np.nonzero(white(drawn))
    assert white(drawn)[row, 100:500].sum() < 10  # its pointer touches it
    assert np.abs(rows - row).min() < 3 and columns.min() > 90 and columns.max() < 510


def test_labels_do_not_cover_each_other() -> None:
    empty = np.zeros((600, 600, 3), np.uint8)
    tags = [Tag(line(row, 280, 320), f"{row}: 40.0 px", str(row)) for row in range(200, 400, 20)]
    alone = sum(int(white(draw_tags(empty, [tag])).sum()) for tag in tags)
    together = int(white(draw_tags(empty, tags)).sum())
    assert together == pytest.approx(alone, rel=0.15)  # pointers may cross


def test_without_room_the_number_stands_alone() -> None:
    empty = np.zeros((480, 480, 3), np.uint8)
    few, many = ([Tag(line(240, 230, 250), f"{n}: 1234567890 px", str(n)) for n in range(count)] for count in (1, 200))
    assert white(draw_tags(empty, many)).sum() < 200 * white(draw_tags(empty, few)).sum() / 3
