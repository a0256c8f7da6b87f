"""Oblique views: the homography between a photograph and a flat surface, and photographs seen from straight ahead."""

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.errors import UserError

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
GRID = 33
"""Places along each side of a photograph at which its scale is looked at."""
COARSEST = 3.0
"""Parts whose pixels are this many times longer on the surface than at the given points are left out: nothing of
their width is resolved, and a horizon lies not far behind them."""
LARGEST = 2.0
"""A rectified photograph has at most this many times the pixels of the original."""
FLATTEST = 1e-3
"""Smallest ratio of the two extents of points that lie on no line."""


@dataclass(frozen=True)
class Plane:
    """A flat surface as a photograph shows it.

    Args:
        matrix: float64 (3, 3), the homography from (x, y, 1) in px of the upright photograph, x to the right and y down,
            0 in the middle of the first pixel, to mm on the surface.
        middle: (x, y) in px near the points that it was found from.
        rms_mm: Root mean square of the distances by which these points miss it in mm; 0 for four points.
    """

    matrix: Floats = field(repr=False)
    middle: tuple[float, float]
    rms_mm: float = 0.0

    def to_mm(self, points: NDArray[np.floating]) -> Floats:
        """Places float64 (N, 2) in mm on the surface of points (N, 2) (x, y) in px."""
        return apply(self.matrix, points)

    def pixel_mm(self, points: NDArray[np.floating]) -> Floats:
        """Side in mm, float64 (N,), of the square that is as large as the pixel at points (N, 2) (x, y).

        It is NaN beyond the horizon. The area of a mapped pixel is |det M| / |w|³ with w the third coordinate, the
        determinant of the derivative of ``to_mm``.
        """
        points = np.asarray(points, float)
        depth = points @ self.matrix[2, :2] + self.matrix[2, 2]
        near = float(np.array(self.middle) @ self.matrix[2, :2] + self.matrix[2, 2])
        area = abs(float(np.linalg.det(self.matrix))) / np.maximum(np.abs(depth), 1e-12) ** 3
        return np.where(depth * near > 0, np.sqrt(area), np.nan)


def apply(matrix: NDArray[np.floating], points: NDArray[np.floating] | NDArray[np.integer]) -> Floats:
    """Points float64 (N, 2) that a homography (3, 3) maps the points (N, 2) to."""
    points = np.asarray(points, float)
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


def _normalizing(points: Floats) -> Floats:
    """The similarity (3, 3) that moves points to the origin, at a mean distance of √2."""
    center = points.mean(axis=0)
    size = math.sqrt(2) / max(float(np.hypot(*(points - center).T).mean()), 1e-12)
    return np.array([[size, 0, -size * center[0]], [0, size, -size * center[1]], [0, 0, 1.0]])


def homography(source: NDArray[np.floating] | NDArray[np.integer], target: NDArray[np.floating]) -> Floats:
    """The homography float64 (3, 3) that maps points (N, 2) to points (N, 2) best, N ≥ 4.

    Normalized direct linear transform (Hartley & Zisserman 2004, algorithm 4.2).

    Raises:
        ValueError: for fewer than four points, and when all but one lie on a line.
    """
    first, second = np.asarray(source, float), np.asarray(target, float)
    if len(first) < 4 or first.shape != second.shape:
        raise ValueError(f"expected at least four pairs of points, found {len(first)} and {len(second)}")
    before, after = _normalizing(first), _normalizing(second)
    (x, y), (u, v) = apply(before, first).T, apply(after, second).T
    zero, one = np.zeros_like(x), np.ones_like(x)
    upper = np.stack([x, y, one, zero, zero, zero, -u * x, -u * y, -u], axis=1)
    lower = np.stack([zero, zero, zero, x, y, one, -v * x, -v * y, -v], axis=1)
    _, values, rows = np.linalg.svd(np.concatenate([upper, lower]))
    matrix = rows[-1].reshape(3, 3)
    if values[7] < FLATTEST * values[0] or abs(np.linalg.det(matrix)) < FLATTEST**2:
        raise ValueError("expected points of which no three lie on a line")
    result = np.linalg.inv(after) @ matrix @ before
    return result / np.linalg.norm(result)


def plane_of(points: NDArray[np.floating], places_mm: NDArray[np.floating]) -> Plane:
    """The plane through known points.

    Args:
        points: (N, 2), (x, y) in px, N ≥ 4.
        places_mm: (N, 2), where they are on the surface in mm; axes of any direction.

    Raises:
        ValueError: see ``homography``; also when a horizon would run between the points.
    """
    points, places_mm = np.asarray(points, float), np.asarray(places_mm, float)
    matrix = homography(points, places_mm)
    depth = points @ matrix[2, :2] + matrix[2, 2]
    if depth.min() * depth.max() <= 0:
        raise ValueError("expected points in the order of their places, found some that cross over")
    missed = np.hypot(*(apply(matrix, points) - places_mm).T)
    middle = points.mean(axis=0)
    return Plane(matrix, (float(middle[0]), float(middle[1])), float(np.sqrt((missed**2).mean())))


@dataclass(frozen=True, eq=False)
class FrontView:
    """How a photograph looks from straight ahead.

    Args:
        mm_per_pixel: Side of its pixels on the surface in mm.
        size: Height and width in px.
        matrix: float64 (3, 3), the homography from its (x, y, 1) in px to px of the photograph.
        shape: Height and width of the photograph in px.
    """

    mm_per_pixel: float
    size: tuple[int, int]
    matrix: Floats = field(repr=False)
    shape: tuple[int, int]

    def warp(self, image: Picture) -> Picture:
        """The photograph uint8 (H, W) or (H, W, 3) as seen from there; what it does not show is 0."""
        # Pillow counts from the corner of the first pixel, we from its middle.
        shift = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])
        matrix = shift @ self.matrix @ np.linalg.inv(shift)
        numbers = (matrix / matrix[2, 2]).ravel()[:8].tolist()
        method, filter = Image.Transform.PERSPECTIVE, Image.Resampling.BICUBIC
        return np.array(Image.fromarray(image).transform(self.size[::-1], method, numbers, filter))

    def seen(self) -> NDArray[np.bool_]:
        """Pixels bool (H, W) that the photograph shows, without those at its border."""
        return self.warp(np.full(self.shape, 255, np.uint8)) >= 250

    def to_photo(self, points: NDArray[np.floating]) -> Floats:
        """Places float64 (N, 2) (x, y) in px of the photograph of points (N, 2) (x, y) of this view."""
        return apply(self.matrix, points)


def front_view(plane: Plane, shape: tuple[int, int]) -> FrontView:
    """The view from straight ahead of what a photograph of ``shape`` (H, W) shows of a plane.

    Its pixels are as large as the median of those of the photograph. Parts near the horizon are left out
    (``COARSEST``), and it is made coarser where it would have more than ``LARGEST`` times the pixels.

    Raises:
        UserError: when the photograph shows nothing of the plane that could be measured.
    """
    height, width = shape
    across, down = np.meshgrid(np.linspace(-0.5, width - 0.5, GRID), np.linspace(-0.5, height - 0.5, GRID))
    places = np.column_stack([across.ravel(), down.ravel()])
    side = plane.pixel_mm(places)
    reference = float(plane.pixel_mm(np.array([plane.middle]))[0])
    usable = side <= COARSEST * reference
    if usable.sum() < 4:
        raise UserError("expected points on the surface that the photograph shows, found some far beside it")
    pixel = float(np.median(side[usable]))
    corners = plane.to_mm(places[usable])
    low, high = corners.min(axis=0), corners.max(axis=0)
    pixel *= max(1.0, math.sqrt(float(np.prod(high - low)) / pixel**2 / (LARGEST * height * width)))
    columns, rows = (max(1, math.ceil(extent / pixel - 1e-6)) for extent in (high - low).tolist())
    # mm of the middle of a pixel of the view; the surface's y may point up, which mirrors the view as it should not.
    flip = _turns_over(plane)
    to_mm = np.array([[pixel, 0, low[0] + pixel / 2], [0, pixel, low[1] + pixel / 2], [0, 0, 1]])
    if flip:
        to_mm[1] = [0, -pixel, high[1] - pixel / 2]
    return FrontView(pixel, (rows, columns), np.linalg.inv(plane.matrix) @ to_mm, shape)


def _turns_over(plane: Plane) -> bool:
    """Whether the y axis of the surface points up where that of the photograph points down."""
    x, y = plane.middle
    here, right, below = plane.to_mm(np.array([[x, y], [x + 1, y], [x, y + 1]]))
    (a, b), (c, d) = (right - here).tolist(), (below - here).tolist()
    return a * d - b * c < 0
