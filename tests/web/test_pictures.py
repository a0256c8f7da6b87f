from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.data.labels import CRACK, S2DS
from prune.report.paper import share_text
from prune.web.pictures import (
    Style,
    block_maximum,
    corrected,
    difference,
    downloaded_overlay,
    factor,
    layer_classes,
    marked,
    mask_layer,
    reduced,
    shown_heat,
    shown_overlay,
    written,
)
from tests.conftest import refused


@pytest.mark.parametrize(("size", "by"), [((1600, 900), 1), ((900, 1601), 2), ((3200, 10), 2), ((6000, 8000), 5)])
def test_pictures_are_reduced_by_a_whole_factor(size: tuple[int, int], by: int) -> None:
    assert factor(size) == by
    assert max(reduced(np.zeros((*size, 3), np.uint8), by).shape) <= 1600


def test_thin_cracks_stay_on_reduced_pictures() -> None:
    ids = np.zeros((5, 7), np.uint8)
    ids[3, :] = 6
    ids[0, 6] = 2
    assert block_maximum(ids, 2).tolist() == [[0, 0, 0, 2], [6, 6, 6, 6], [0, 0, 0, 0]]
    assert reduced(np.zeros((5, 7, 3), np.uint8), 2).shape == (3, 4, 3)
    assert block_maximum(ids, 1) is ids


def test_a_line_of_one_pixel_is_drawn_on_the_reduced_overlay() -> None:
    ids = np.zeros((4, 3300), np.uint8)
    ids[1, 5] = 1
    drawn = shown_overlay(np.full((4, 3300, 3), 128, np.uint8), ids, CRACK, Style(opacity=1.0))
    assert drawn.shape == (2, 1100, 3)
    assert np.argwhere((drawn != 128).any(2)).tolist() == [[0, 1]]
    assert drawn[0, 1].tolist() == list(CRACK.recolored("standard", on_photograph=True).colors[1])


def test_warmth_is_that_of_the_levels() -> None:
    drawn = shown_heat(np.full((1, 2, 3), 100, np.uint8), np.array([[0, 255]], np.uint8))
    assert drawn.tolist() == [[[100, 100, 100], [255, 240, 120]]]  # the gray photograph, and the warmest color


def test_downloads_have_the_photographs_own_size_and_a_legend() -> None:
    ids = np.zeros((100, 1700), np.uint8)
    picture = downloaded_overlay(np.zeros((100, 1700, 3), np.uint8), ids, CRACK, Style())
    assert picture.shape[1] == 1700 and picture.shape[0] > 100 and not picture[:100].any()


def test_the_difference_of_two_networks() -> None:
    masks = np.zeros((2, 30, 40), bool)
    masks[0, 5, :30] = True
    masks[1, 5, :30] = True
    masks[1, 25, :10] = True
    found = difference(np.zeros((30, 40, 3), np.uint8), (masks[0], masks[1]), ("a", "b"), "Crack")
    assert found.share == 0.75
    texts = [text for _, text in found.entries]
    names = ("Crack: found by both", "only a", "only b")
    assert [text.split("  ")[0] for text in texts] == list(names)
    assert texts[0].endswith(share_text(30 / 1200)) and texts[2].endswith(share_text(10 / 1200))
    assert found.picture[5, 3].tolist() != found.picture[25, 3].tolist() != found.picture[15, 3].tolist()
    empty = np.zeros((30, 40), bool)
    assert difference(np.zeros((30, 40, 3), np.uint8), (empty, empty), ("a", "b"), "Crack").share is None


def test_marks_of_the_scale() -> None:
    plain = np.full((100, 200, 3), 90, np.uint8)
    one, two = marked(plain, [(50, 50)]), marked(plain, [(50, 50), (150, 50)])
    assert one[50, 50].tolist() == [0, 0, 0] and one[50, 100].tolist() == [90, 90, 90]
    assert two[50, 100].tolist() == [0, 0, 0] and two[80, 100].tolist() == [90, 90, 90]
    assert (plain == 90).all()


def test_the_editors_layer_gives_the_class_map_back() -> None:
    classes = S2DS.recolored("standard", on_photograph=True)
    ids = np.arange(7, dtype=np.uint8)[None].repeat(2, axis=0)
    layer = mask_layer(ids, classes)
    assert layer.shape == (2, 7, 4) and layer[0, 0, 3] == 0
    assert (layer_classes(layer, classes) == ids).all()
    layer[..., 3] //= 3  # the soft rim of a brush
    assert not layer_classes(layer, classes).any()
    layer[..., 3] = 255
    layer[0, 6, :3] = np.clip(layer[0, 6, :3].astype(int) + 9, 0, 255)  # colors of a lossy format
    assert layer_classes(layer, classes)[0, 6] == 6


def test_corrections_change_only_what_was_painted() -> None:
    before = np.zeros((3201, 4), np.uint8)
    before[1, 1] = before[7, 2] = 1
    painted = block_maximum(before, 3)
    assert painted[0, 0] == painted[2, 0] == 1
    assert (corrected(before, painted) == before).all()
    painted[2, 0], painted[5, 0] = 0, 1
    after = corrected(before, painted)
    assert after[1, 1] == 1 and after[7, 2] == 0
    assert after[15:18, 0:3].all() and after.sum() == 10
    with refused("^expected a mask of 2x1067 px, found 4x3201$"):
        corrected(before, before)


def test_pictures_are_written_as_jpeg(tmp_path: Path) -> None:
    with Image.open(written(np.zeros((4, 6, 3), np.uint8), tmp_path, "photograph")) as file:
        assert file.format == "JPEG" and file.size == (6, 4) and Path(str(file.filename)).parent == tmp_path
