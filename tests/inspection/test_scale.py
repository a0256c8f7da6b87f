"""How large a pixel is: numbers, distances, points, checkerboards and targets."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from prune.errors import UserError
from prune.inspection.checkerboard import find_board
from prune.inspection.exif import PhotoFacts
from prune.inspection.plane import apply
from prune.inspection.scale import (
    ScaleReader,
    board_scale,
    distance_scale,
    plane_scale,
    read_points,
    target_scale,
    two_point_scale,
)
from prune.inspection.scale_settings import ScaleSettings

FACTS = PhotoFacts(4000, 3000, focal_mm=50.0, pitch_mm=0.005)
SHAPE = (3000, 4000)


def board(
    to_photo: NDArray[np.float64], shape: tuple[int, int] = (240, 320), columns: int = 8, rows: int = 6
) -> NDArray[np.uint8]:
    """A photograph of a checkerboard of squares of side 1 that a homography places in it, with soft edges and noise."""
    k = 3
    y, x = (np.mgrid[0 : shape[0] * k, 0 : shape[1] * k] + 0.5) / k - 0.5
    places = apply(np.linalg.inv(to_photo), np.stack([x.ravel(), y.ravel()], axis=1)).reshape(*y.shape, 2)
    cells = np.floor(places).astype(int)
    inside = ((cells >= 0) & (cells < [columns, rows])).all(axis=2)
    gray = np.where(inside, np.where(cells.sum(axis=2) % 2, 225.0, 30.0), 150.0)
    small = gray.reshape(shape[0], k, shape[1], k).mean(axis=(1, 3))
    small += np.random.default_rng(0).normal(0, 4, shape)
    return np.repeat(np.clip(small, 0, 255).astype(np.uint8)[:, :, None], 3, axis=2)


def similarity(square: float, degrees: float, x: float, y: float) -> NDArray[np.float64]:
    c, s = square * np.cos(np.radians(degrees)), square * np.sin(np.radians(degrees))
    return np.array([[c, -s, x], [s, c, y], [0, 0, 1]])


def test_the_distance_gives_the_ground_sampling_distance() -> None:
    scale = distance_scale(FACTS, 10)
    assert scale is not None and scale.mm_per_pixel == pytest.approx(0.005 * (10000 - 50) / 50)
    assert scale.source == "distance 10 m, focal length 50 mm, pixel pitch 5 µm (EXIF)" and scale.error is None
    film = distance_scale(PhotoFacts(4000, 3000, focal_35_mm=36.0), 2)
    assert film is not None and film.mm_per_pixel == pytest.approx(2000 * 43.26661531 / (36 * 5000))
    assert film.source == "distance 2 m, focal length 36 mm on 35-mm film (EXIF)"
    assert distance_scale(PhotoFacts(4000, 3000), 2) is None
    with pytest.raises(UserError, match="^distance_m: expected more than the focal length, 50 mm, found 0.05"):
        distance_scale(FACTS, 0.05)


def test_two_points_give_the_scale() -> None:
    scale = two_point_scale((10, 10), (40, 50), 25)
    assert scale.mm_per_pixel == 0.5 and scale.source == "two points 25 mm apart"
    assert scale.error == pytest.approx(np.sqrt(2) * 0.5 / 50)
    assert str(scale) == "0.5 mm per pixel ± 1.4% (two points 25 mm apart)"
    for points, length, message in (
        (((1, 1), (1, 2)), 5, "same spot"),
        (((1, 1), (9, 9)), 0, "more than 0 mm apart, found 0"),
    ):
        with pytest.raises(ValueError, match=message):
            two_point_scale(*points, length)


@pytest.mark.parametrize(("square", "degrees"), [(20, 0), (24.5, 10), (17, 45), (13, 30), (30, -70)])
def test_a_checkerboard_gives_the_scale(square: float, degrees: float) -> None:
    turn = similarity(square, degrees, 0, 0)
    middle = np.array([160, 120]) - (turn @ np.array([4, 3, 0]))[:2]
    image = board(similarity(square, degrees, *middle))
    found = find_board(image)
    assert found is not None and found.square_px == pytest.approx(square, rel=0.003)
    assert found.tilt < 8 and found.error < 0.003
    scale = board_scale(image, 10)
    assert scale is not None and scale.mm_per_pixel == pytest.approx(10 / square, rel=0.003)
    assert scale.source.startswith("checkerboard of ") and scale.source.endswith("corners, squares of 10 mm")


def test_all_corners_of_an_upright_board_are_found() -> None:
    found = find_board(board(similarity(20, 0, 80.3, 59.7)))
    assert found is not None and found.size in ((7, 5), (5, 7)) and len(found.corners) == 35
    expected = np.array([(80.3 + 20 * c, 59.7 + 20 * r) for r in range(1, 6) for c in range(1, 8)])
    places = found.corners[np.lexsort((found.corners[:, 0].round(-1), found.corners[:, 1].round(-1)))]
    assert np.abs(places - expected).max() < 0.25


def test_a_tilted_board_says_so() -> None:
    tilted = similarity(26, 5, 60, 40) @ np.array([[1, 0, 0], [0, np.cos(np.radians(40)), 0], [0.004, 0.012, 1]])
    found = find_board(board(tilted))
    middle = np.array([[4.0, 3.0], [4.001, 3], [4, 3.001]])
    a, b, c = apply(tilted, middle)
    assert found is not None and found.square_px == pytest.approx(
        np.sqrt(abs(np.linalg.det([b - a, c - a]))) * 1000, rel=0.03
    )
    assert 25 < found.tilt < 60
    scale = board_scale(board(tilted), 10)
    assert scale is not None and "tilted by about" in scale.source


def test_a_board_is_found_where_it_is_looked_for() -> None:
    image, there = board(similarity(20, 0, 80, 60)), np.zeros((240, 320), bool)
    assert find_board(image, there) is None
    there[40:200, 60:260] = True
    assert find_board(image, there) is not None


@pytest.mark.parametrize("seed", range(3))
def test_walls_show_no_board(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rough = np.asarray(Image.fromarray(rng.integers(60, 200, (60, 80), dtype=np.uint8)).resize((320, 240), 3))
    assert find_board(np.repeat(rough[:, :, None], 3, axis=2)) is None
    bricks = np.full((240, 320, 3), 150, np.uint8)
    bricks[::30] = bricks[1::30] = 90
    bricks[:, ::40] = 90
    assert find_board(bricks) is None and find_board(np.zeros((50, 50, 3), np.uint8)) is None


def test_targets_give_the_scale() -> None:
    targets = np.zeros((200, 300), bool)
    targets[20:60, 20:60] = targets[100:140, 150:190] = True
    scale = target_scale(targets, 100)
    assert scale is not None and scale.mm_per_pixel == pytest.approx(2.5) and scale.error == pytest.approx(1 / 40)
    assert scale.source == "2 targets of 100 mm"
    targets[:, :] = False
    targets[0:40, 20:60] = targets[100:109, 100:109] = True  # one is cut by the border, one is too small
    assert target_scale(targets, 100) is None


def test_four_points_give_a_plane() -> None:
    points = np.array([[100.0, 100], [900, 120], [880, 700], [110, 680]])
    places = np.array([[0.0, 0], [400, 0], [400, 300], [0, 300]])
    scale = plane_scale(points, places, (800, 1000))
    assert scale.plane is not None and scale.plane.to_mm(points) == pytest.approx(places, abs=1e-6)
    assert scale.mm_per_pixel == pytest.approx(0.5, rel=0.05) and scale.source == "4 points on the surface"
    assert scale.error == pytest.approx(0.5 * scale.mm_per_pixel / 500)


def table(path: Path, *rows: str, head: str = "image,x,y,x_mm,y_mm") -> str:
    path.write_text("\n".join([head, *rows]) + "\n")
    return str(path)


def test_points_are_read_by_photograph(tmp_path: Path) -> None:
    file = table(tmp_path / "p.csv", "a.jpg,0,0,0,0", "a.jpg,30,40,0,25", "*,1,1,0,0", "*,11,1,5,0")
    reader = ScaleReader(ScaleSettings(points=file), ["a", "b"])
    first, other = (reader.scale(stem, SHAPE, FACTS) for stem in ("a", "b"))
    assert first is not None and first.mm_per_pixel == 0.5 and other is not None and other.mm_per_pixel == 0.5
    oblique = table(
        tmp_path / "o.csv", "a,0,0,0,0", "a,3999,0,999.75,0", "a,3999,2999,999.75,749.75", "a,0,2999,0,749.75"
    )
    scale = ScaleReader(ScaleSettings(points=oblique), ["a"]).scale("a", SHAPE, FACTS)
    assert scale is not None and scale.plane is not None and scale.mm_per_pixel == pytest.approx(0.25)


def test_a_photograph_without_points_has_no_scale(tmp_path: Path) -> None:
    file = table(tmp_path / "p.csv", "a.jpg,0,0,0,0", "a.jpg,30,40,0,25")
    reader = ScaleReader(ScaleSettings(points=file), ["a", "b"])
    assert reader.scale("b", SHAPE, FACTS) is None and reader.why_not(FACTS) == f"no points of it in {file}"


@pytest.mark.parametrize(
    ("rows", "head", "message"),
    [
        (["a,1,2,3"], "image,x,y,x_mm", "expected the columns image,x,y,x_mm,y_mm, found image,x,y,x_mm"),
        (["a,1,2,3,x"], "image,x,y,x_mm,y_mm", "line 2: expected four numbers, found"),
        (["a,1,2,3,inf"], "image,x,y,x_mm,y_mm", "line 2: expected four numbers, found"),
        (["a,1,2,3,4"], "image,x,y,x_mm,y_mm", "image a: expected two points, or four and more, found 1"),
        (["a,1,2,3,4"] * 3, "image,x,y,x_mm,y_mm", "image a: expected two points, or four and more, found 3"),
    ],
)
def test_bad_tables_of_points_are_named(rows: list[str], head: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_points(table(tmp_path / "p.csv", *rows, head=head))


def test_points_that_give_no_scale_are_named(tmp_path: Path) -> None:
    file = table(tmp_path / "p.csv", "a,5,5,0,0", "a,5,5,0,25")
    with pytest.raises(UserError, match="p.csv, image a: expected two different points, found the same spot twice"):
        ScaleReader(ScaleSettings(points=file), ["a"]).scale("a", SHAPE, FACTS)
    line = table(tmp_path / "l.csv", *(f"a,{i},{i},{i},0" for i in range(4)))
    with pytest.raises(UserError, match="l.csv, image a: expected points of which no three lie on a line"):
        ScaleReader(ScaleSettings(points=line), ["a"]).scale("a", SHAPE, FACTS)
    with pytest.raises(UserError, match="p.csv: expected rows for the photographs, found none for any of them"):
        ScaleReader(ScaleSettings(points=file), ["b"])


def test_given_scales_and_their_absence(tmp_path: Path) -> None:
    scale = ScaleReader(ScaleSettings(mm_per_pixel="0.2"), ["a"]).scale("a", SHAPE, FACTS)
    assert scale is not None and (scale.mm_per_pixel, scale.source) == (0.2, "given")
    file = table(tmp_path / "s.csv", "a.jpg,0.3", head="image,mm_per_pixel")
    scale = ScaleReader(ScaleSettings(mm_per_pixel=file), ["a"]).scale("a", SHAPE, FACTS)
    assert scale is not None and scale.mm_per_pixel == 0.3
    nothing = ScaleReader(ScaleSettings(), ["a"])
    assert nothing.scale("a", SHAPE, FACTS) is None and nothing.why_not(FACTS) == ""
    distance = ScaleReader(ScaleSettings(distance_m=2), ["a"])
    assert distance.scale("a", SHAPE, PhotoFacts(1, 1)) is None
    assert distance.why_not(PhotoFacts(1, 1)) == "EXIF without focal length and sensor size"


def test_a_reader_looks_into_photographs_and_at_targets() -> None:
    reader = ScaleReader(ScaleSettings(square_mm=10), ["a"])
    image = board(similarity(20, 0, 80, 60))
    found = reader.scale("a", (240, 320), FACTS, image)
    assert reader.needs_image and found is not None and found.mm_per_pixel == pytest.approx(0.5, rel=0.003)
    assert "no checkerboard" in reader.why_not(FACTS)
    targets = np.zeros((99, 99), bool)
    targets[20:60, 20:60] = True
    by_target = ScaleReader(ScaleSettings(target_mm=20), ["a"])
    scale = by_target.from_targets(targets)
    assert scale is not None and scale.mm_per_pixel == 0.5 and reader.from_targets(targets) is None
    assert by_target.scale("a", (99, 99), FACTS) is None and by_target.why_not(FACTS) == "no whole control point found"


def test_settings_that_contradict_are_refused() -> None:
    with pytest.raises(
        UserError, match="^distance_m: expected one source of the scale, found mm_per_pixel and distance_m"
    ):
        ScaleSettings(mm_per_pixel="1", distance_m=2)
    with pytest.raises(UserError, match="^square_mm: expected a number above 0, found 0"):
        ScaleSettings(square_mm=0)
