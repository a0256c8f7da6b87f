"""Homographies, and views from straight ahead."""

import numpy as np
import pytest

from prune.errors import UserError
from prune.inspection.plane import apply, front_view, homography, plane_of

CORNERS = np.array([[0.0, 0], [99, 0], [99, 79], [0, 79]])
OBLIQUE = np.array([[1.0, 0.2, 5], [0.1, 1.1, -3], [0.001, 0.002, 1]])


def test_four_points_give_the_exact_homography() -> None:
    found = homography(CORNERS, apply(OBLIQUE, CORNERS))
    assert found / found[2, 2] == pytest.approx(OBLIQUE, abs=1e-9)


def test_more_points_average_their_errors() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 100, (200, 2))
    found = homography(points, apply(OBLIQUE, points) + rng.normal(0, 0.3, (200, 2)))
    assert apply(found, CORNERS) == pytest.approx(apply(OBLIQUE, CORNERS), abs=0.3)


@pytest.mark.parametrize(
    "points",
    [
        [[0, 0], [1, 1], [2, 2], [3, 3]],
        [[0, 0], [1, 1], [2, 2], [5, 0]],
        [[0, 0], [0, 0], [9, 0], [9, 9]],
        [[0, 0], [1, 0], [0, 1]],
    ],
)
def test_points_on_a_line_are_refused(points: list[list[float]]) -> None:
    with pytest.raises(ValueError, match="expected "):
        homography(np.array(points, float), CORNERS[: len(points)])


def test_crossed_points_are_refused() -> None:
    with pytest.raises(ValueError, match="points in the order of their places"):
        plane_of(CORNERS, CORNERS[[0, 2, 1, 3]])


def test_a_plane_maps_points_and_knows_the_size_of_pixels() -> None:
    plane = plane_of(CORNERS, 2 * CORNERS)
    assert plane.to_mm(np.array([[10.0, 20]])) == pytest.approx(np.array([[20.0, 40]]))
    assert plane.pixel_mm(CORNERS) == pytest.approx([2, 2, 2, 2]) and plane.rms_mm == pytest.approx(0, abs=1e-9)
    oblique = plane_of(CORNERS, apply(OBLIQUE, CORNERS))
    here = np.array([[30.0, 40], [30.001, 40], [30, 40.001]])
    a, b, c = oblique.to_mm(here)
    side = np.sqrt(abs(np.linalg.det([b - a, c - a]))) / 0.001
    assert oblique.pixel_mm(here[:1]) == pytest.approx([side], rel=1e-4)


def test_beyond_the_horizon_there_is_no_size() -> None:
    plane = plane_of(CORNERS, apply(OBLIQUE, CORNERS))
    assert np.isnan(plane.pixel_mm(np.array([[-2000.0, 0]]))).all()


def test_a_view_of_a_parallel_surface_is_the_photograph() -> None:
    image = np.random.default_rng(0).integers(0, 255, (80, 100, 3), dtype=np.uint8)
    view = front_view(plane_of(CORNERS, 0.5 * CORNERS), (80, 100))
    assert view.mm_per_pixel == pytest.approx(0.5) and view.size == (80, 100) and view.seen().all()
    assert np.abs(view.warp(image).astype(int) - image).max() <= 1
    assert view.to_photo(CORNERS) == pytest.approx(CORNERS, abs=1e-9)


def test_a_square_on_an_oblique_surface_becomes_square() -> None:
    """A square of 40 mm, drawn as an oblique camera sees it, measures 40 mm both ways from straight ahead."""
    to_photo = np.array([[2.0, 0.3, 40], [0.2, 1.6, 30], [0.001, 0.004, 1]])
    rows, columns = np.mgrid[0:260, 0:260]
    places = apply(np.linalg.inv(to_photo), np.stack([columns, rows], axis=-1).reshape(-1, 2)).reshape(260, 260, 2)
    image = (((places >= 30) & (places < 70)).all(axis=2) * 255).astype(np.uint8)
    known = np.array([[10.0, 10], [90, 10], [90, 90], [10, 90]])
    view = front_view(plane_of(apply(to_photo, known), known), image.shape)
    seen = view.warp(image) > 127
    height, width = (int(seen.any(axis=axis).sum()) for axis in (1, 0))
    assert (height * view.mm_per_pixel, width * view.mm_per_pixel) == pytest.approx((40, 40), abs=2 * view.mm_per_pixel)
    assert seen.sum() * view.mm_per_pixel**2 == pytest.approx(1600, rel=0.02)
    middle = np.argwhere(seen).mean(axis=0)[None, ::-1]
    assert view.to_photo(middle) == pytest.approx(apply(to_photo, np.array([[50.0, 50]])), abs=1)


def test_axes_that_point_up_do_not_mirror_the_view() -> None:
    image = np.zeros((80, 100), np.uint8)
    image[:20] = 255
    upward = CORNERS * [1, -1]
    view = front_view(plane_of(CORNERS, upward), (80, 100))
    assert (view.warp(image)[:15] == 255).all() and (view.warp(image)[25:] == 0).all()


def test_parts_near_the_horizon_are_left_out() -> None:
    to_photo = np.array([[1.0, 0, 50], [0, 0.2, 60], [0, 0.01, 1]])  # the horizon is row 20
    known = np.array([[-20.0, 0], [20, 0], [20, 40], [-20, 40]])
    view = front_view(plane_of(apply(to_photo, known), known), (100, 100))
    assert view.size[0] * view.size[1] <= 2.1 * 100 * 100
    edge = np.array([[x, y] for x in range(view.size[1]) for y in (0, view.size[0] - 1)], float)
    rows = view.to_photo(edge)[:, 1]
    assert 22 < rows.min() < 40 and rows.max() > 95 and view.seen().mean() > 0.2


def test_points_far_beside_the_photograph_are_refused() -> None:
    plane = plane_of(apply(OBLIQUE, CORNERS) - 5000, CORNERS)
    with pytest.raises(UserError, match="expected points on the surface that the photograph shows"):
        front_view(plane, (80, 100))
