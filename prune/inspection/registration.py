"""Two photographs of the same place laid over each other. Needs scikit-image (extra ``growth``)."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.errors import UserError
from prune.inspection.plane import apply, homography

Floats = NDArray[np.float64]
Picture = NDArray[np.uint8]
LONGEST = 1000
"""px: photographs are reduced to at most this side before features are looked for."""
MOST = 3000
"""Features of a photograph that are matched, those of the largest scale first."""
RATIO = 0.8
"""A match counts when it is this many times nearer than the second best (Lowe 2004)."""
THRESHOLD = 3.0
"""px of the reduced photograph: how far a match may miss the homography."""
ALPHA, BETA = 8.0, 0.3
"""Matches that fit must exceed ``ALPHA`` + ``BETA`` · all matches (Brown & Lowe 2007, p > 0.999 that the place is the same)."""
TRIALS = 1000
"""Of RANSAC: with 30% of the matches right, the fewest that count, 0.03% of the photographs are missed."""
OVERLAP = 0.2
"""Smallest share of the earlier photograph that the later one shows, too."""
FARTHEST = 5.0
"""Largest ratio of the sizes of pixels on the surface in the two photographs."""


@dataclass(frozen=True)
class Registration:
    """How a later photograph lies over an earlier one of the same flat place.

    Args:
        matrix: float64 (3, 3), the homography from (x, y, 1) in px of the later photograph to px of the earlier one.
        before: Height and width in px of the earlier photograph.
        after: Of the later one.
        matches: Features that fit.
        rms_px: Root mean square of the distances by which they miss, in px of the earlier photograph.
        overlap: Share (0…1) of the earlier photograph that the later one shows, too.
    """

    matrix: Floats = field(repr=False)
    before: tuple[int, int]
    after: tuple[int, int]
    matches: int
    rms_px: float
    overlap: float

    def to_before(self, points: NDArray[np.floating]) -> Floats:
        """Places float64 (N, 2) (x, y) in the earlier photograph of points (N, 2) in the later one."""
        return apply(self.matrix, points)

    def to_after(self, points: NDArray[np.floating]) -> Floats:
        """Places float64 (N, 2) (x, y) in the later photograph of points (N, 2) in the earlier one."""
        return apply(np.linalg.inv(self.matrix), points)

    def zoom(self, points: NDArray[np.floating]) -> Floats:
        """Side in px of the earlier photograph, float64 (N,), of a pixel at points (N, 2) (x, y) of the later one."""
        points = np.asarray(points, float)
        depth = points @ self.matrix[2, :2] + self.matrix[2, 2]
        return np.sqrt(abs(float(np.linalg.det(self.matrix))) / np.abs(depth) ** 3)

    def common_before(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether the later photograph shows points (N, 2) (x, y) of the earlier one, bool (N,)."""
        return _inside(self.to_after(points), self.after)

    def common_after(self, points: NDArray[np.floating]) -> NDArray[np.bool_]:
        """Whether the earlier photograph shows points (N, 2) (x, y) of the later one, bool (N,)."""
        return _inside(self.to_before(points), self.before)


def register(before: Picture, after: Picture) -> Registration:
    """Lay a later photograph over an earlier one of the same place, uint8 (H, W, 3), RGB, each.

    SIFT features (Lowe 2004), matched both ways, and a homography by RANSAC (Fischler & Bolles 1981) that is fitted again to
    all matches that agree. It holds for flat surfaces. Nothing is random: the same photographs give the same result.

    Raises:
        UserError: when scikit-image is missing, and when the fit is poor, as it is for photographs of different places.
    """
    try:
        from skimage.feature import match_descriptors
        from skimage.measure import ransac
        from skimage.transform import ProjectiveTransform
    except ImportError as error:
        raise UserError("scikit-image is not installed: pip install prune-crackseg[growth]") from error
    places, descriptors, shrinks = zip(*map(_features, (before, after)), strict=True)
    pairs = np.empty((0, 2), np.int64)
    if min(map(len, places)) >= 4:
        pairs = match_descriptors(*descriptors, cross_check=True, max_ratio=RATIO)
    needed = ALPHA + BETA * len(pairs)
    if len(pairs) <= needed:
        raise UserError(_poor(f"{len(pairs)} features that look alike"))
    first, second = places[0][pairs[:, 0]], places[1][pairs[:, 1]]
    _, fits = ransac(
        (second, first), ProjectiveTransform, min_samples=4, residual_threshold=THRESHOLD, max_trials=TRIALS, rng=0
    )
    found = 0 if fits is None else int(fits.sum())
    if fits is None or found <= needed:
        raise UserError(
            _poor(f"{found} of {len(pairs)} features in the same arrangement, more than {needed:.0f} are needed")
        )
    try:
        first, second = (
            _unshrunk(points[fits], shrink) for points, shrink in zip((first, second), shrinks, strict=True)
        )
        matrix = homography(second, first)
    except ValueError:
        raise UserError(_poor("features on one line only")) from None
    missed = np.hypot(*(apply(matrix, second) - first).T)
    sizes = before.shape[:2], after.shape[:2]
    found_so = Registration(matrix, *sizes, found, float(np.sqrt((missed**2).mean())), _overlap(matrix, *sizes))
    zoom = float(np.median(found_so.zoom(second)))
    if found_so.overlap < OVERLAP or not 1 / FARTHEST < zoom < FARTHEST:
        raise UserError(_poor(f"{100 * found_so.overlap:.0f}% of the first in the second, {zoom:.2g} times as large"))
    return found_so


def _poor(found: str) -> str:
    return f"expected two photographs of the same place, found {found}"


def _features(image: Picture) -> tuple[Floats, Any, float]:
    """Places float64 (N, 2) (x, y) in px of the reduced photograph, SIFT descriptors, and how far it was reduced."""
    from skimage.feature import SIFT

    shrink = max(1.0, max(image.shape[:2]) / LONGEST)
    gray = Image.fromarray(image).convert("L")
    size = (round(gray.width / shrink), round(gray.height / shrink))
    # Photographs differ in light: gray levels are stretched to the range between the 1st and 99th percentile.
    levels = np.asarray(gray.resize(size, Image.Resampling.BOX), np.float32)
    low, high = np.percentile(levels, (1, 99))
    detector = SIFT(upsampling=1)
    try:
        detector.detect_and_extract(np.clip((levels - low) / max(high - low, 1.0), 0, 1))
    except RuntimeError:  # nothing to be found in a photograph of one color
        return np.empty((0, 2)), np.empty((0, 128)), shrink
    largest = np.argsort(-detector.scales, kind="stable")[:MOST]
    return detector.positions[largest][:, ::-1], detector.descriptors[largest], shrink


def _unshrunk(points: Floats, shrink: float) -> Floats:
    return (points + 0.5) * shrink - 0.5


def _inside(points: Floats, shape: tuple[int, int]) -> NDArray[np.bool_]:
    return np.all((points >= -0.5) & (points < np.array(shape[::-1]) - 0.5), axis=1)


def _overlap(matrix: Floats, before: tuple[int, int], after: tuple[int, int]) -> float:
    """Share of the earlier photograph that the later one shows, from a grid of places."""
    rows, columns = (np.linspace(0, length - 1, 40) for length in before)
    grid = np.stack(np.meshgrid(columns, rows), axis=-1).reshape(-1, 2)
    inverse = np.linalg.inv(matrix)
    depth = grid @ inverse[2, :2] + inverse[2, 2]
    middle = float(depth[np.argmin(np.hypot(*(grid - grid.mean(axis=0)).T))])
    return float((_inside(apply(inverse, grid), after) & (depth * middle > 0)).mean())
