"""Polygons of masks, and the files of labeling programs they are written to."""

import json
from pathlib import Path

import numpy as np
import pytest
from matplotlib.path import Path as Outline
from numpy.typing import NDArray

import prune
from prune.inspection.outlines import Ring, polygons
from tests.inspection.drawn import dark_model, photograph


def filled(rings: list[Ring], shape: tuple[int, int]) -> NDArray[np.bool_]:
    """The pixels whose middle lies in one of the polygons."""
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    middles = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    inside = [Outline([*ring, ring[0]]).contains_points(middles) for ring in rings]
    return np.any([np.zeros(len(middles), bool), *inside], axis=0).reshape(shape)


def test_a_box_has_four_corners() -> None:
    mask = np.zeros((10, 12), bool)
    mask[2:5, 3:7] = True
    assert polygons(mask) == [[(3, 2), (7, 2), (7, 5), (3, 5)]]
    assert polygons(np.zeros((4, 4), bool)) == []


def test_a_hole_cuts_a_piece_in_two() -> None:
    mask = np.ones((3, 3), bool)
    mask[1, 1] = False
    rings = polygons(mask)
    assert len(rings) == 2 and (filled(rings, (3, 3)) == mask).all()


def test_pixels_that_touch_at_a_corner_are_one_piece() -> None:
    assert len(polygons(np.eye(6, dtype=bool))) == 1


@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_polygons_are_exact_without_tolerance(share: float) -> None:
    mask = np.random.default_rng(0).random((30, 40)) < share
    assert (filled(polygons(mask, 0.0), mask.shape) == mask).all()


def test_a_diagonal_needs_few_corners_and_keeps_its_pixels() -> None:
    mask = np.zeros((100, 100), bool)
    for step in range(90):
        mask[step : step + 4, step] = True
    (ring,) = polygons(mask)
    assert len(ring) < 12 and (filled([ring], mask.shape) ^ mask).sum() <= 0.02 * mask.sum()


def test_coco_and_labelme_hold_the_same_polygons(tmp_path: Path) -> None:
    photograph(tmp_path / "photos/a.png", [(20, 10, 4, 60), (60, 10, 5, 90)])
    photograph(tmp_path / "photos/b.png", [])
    prune.survey(tmp_path / "photos", dark_model(), output=tmp_path / "out")
    coco = json.loads((tmp_path / "out/coco.json").read_text())
    assert coco["categories"] == [{"id": 1, "name": "Crack"}] and len(coco["images"]) == 2
    first, second = coco["annotations"]
    assert first["bbox"] == [10, 60, 90, 5] and first["area"] == 450 and first["attributes"] == {"crack": 1}
    assert (
        first["segmentation"] == [[10, 60, 100, 60, 100, 65, 10, 65]] and first["image_id"] == second["image_id"] == 1
    )
    assert (tmp_path / "out" / coco["images"][0]["file_name"]).resolve() == tmp_path / "photos/a.png"
    labelme = json.loads((tmp_path / "out/labelme/a.json").read_text())
    assert labelme["shapes"][0]["points"] == [[10, 60], [100, 60], [100, 65], [10, 65]]
    assert (labelme["imageHeight"], labelme["imageWidth"]) == (120, 160) and labelme["imageData"] is None
    assert (tmp_path / "out/labelme" / labelme["imagePath"]).resolve() == tmp_path / "photos/a.png"
    assert json.loads((tmp_path / "out/labelme/b.json").read_text())["shapes"] == []
