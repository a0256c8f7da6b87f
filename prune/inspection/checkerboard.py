"""Find a checkerboard in a photograph: the corners between its squares, in a lattice."""

from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage
from scipy.spatial import cKDTree

from prune.inspection.plane import apply, homography

Floats = NDArray[np.float64]
LONGEST = 2000
"""px: photographs are reduced to at most this side before corners are looked for."""
SIGMA = 2.0
"""px: how far gray values are smoothed before their second derivatives are taken."""
FAINTEST = 0.02
"""Corners of less than this share of the strongest response are not looked at."""
MOST = 4000
"""Corners that are looked at, the strongest first."""
RING, RING_RADIUS = 32, 5.0
"""Places on a circle around a corner, and its radius in px."""
ALIKE = 0.7
"""Smallest correlation of the two halves of that circle: a corner looks the same when turned by 180°."""
CONTRAST = 8.0
"""Smallest standard deviation of gray values (0…255) on that circle."""
OPPOSITE = 0.6
"""Where one corner is dark its neighbors are bright: smallest cosine of the angle between the two patterns, turned over."""
NEAR = 0.25
"""How far from its expected place, as a share of the step, the next corner of the lattice may lie."""
FEWEST = 9
"""Corners of the smallest board that is believed: 3 × 3."""
EXACT = 0.06
"""Largest root mean square distance of the corners from a flat lattice, as a share of the step."""


@dataclass(frozen=True, eq=False)
class Board:
    """A checkerboard.

    Args:
        corners: float64 (N, 2), (x, y) in px of the photograph of the corners between its squares.
        cells: int64 (N, 2), their column and row on the board.
        square_px: Side of a square in px in the middle of the board: the root of its area.
        error: Relative standard error of ``square_px``, from how well the corners fit a flat lattice.
        tilt: Angle in degrees by which the board is turned away from the camera, as far as its squares show it.
    """

    corners: Floats = field(repr=False)
    cells: NDArray[np.int64] = field(repr=False)
    square_px: float
    error: float
    tilt: float

    @property
    def size(self) -> tuple[int, int]:
        """Columns and rows of corners."""
        columns, rows = (self.cells.max(axis=0) - self.cells.min(axis=0) + 1).tolist()
        return columns, rows


def find_board(image: NDArray[np.uint8], inside: NDArray[np.bool_] | None = None) -> Board | None:
    """Find the largest checkerboard of a photograph.

    Corners are maxima of Lxy² − Lxx·Lyy, which is large at saddle points of the gray values (Chen & Zhang 2005); they are
    located by the quadratic surface there and linked to a lattice step by step, so that perspective and gaps do not
    matter.

    Args:
        image: uint8 (H, W, 3), RGB.
        inside: bool (H, W), where to look; None = everywhere.

    Returns:
        The board, None when there is none with at least 3 × 3 corners.
    """
    shrink = -(-max(image.shape[:2]) // LONGEST)
    small = Image.fromarray(image).convert("L").reduce(shrink)
    gray = ndimage.gaussian_filter(np.asarray(small, dtype=np.float32), 0.7)
    corners, patterns = _corners(gray)
    if inside is not None and len(corners):
        places = np.rint(_unshrunk(corners, shrink)).astype(int)
        x, y = np.clip(places, 0, np.array(inside.shape[::-1]) - 1).T
        corners, patterns = corners[inside[y, x]], patterns[inside[y, x]]
    lattice = _lattice(corners, patterns)
    if lattice is None:
        return None
    members, cells = lattice
    return _board(_unshrunk(corners[members], shrink), cells)


def _unshrunk(points: Floats, shrink: int) -> Floats:
    """Points of a picture reduced ``shrink`` times in px of the original."""
    return (points + 0.5) * shrink - 0.5


def _corners(gray: NDArray[np.float32]) -> tuple[Floats, NDArray[np.complex128]]:
    """Places float64 (N, 2) (x, y) in px where gray values (H, W) have a saddle, the strongest first, and their patterns.

    A pattern is the direction of the bright quarters as a complex number of size 1 and twice their angle.
    """
    across, down, mixed = (ndimage.gaussian_filter(gray, SIGMA, order=o) for o in ((0, 2), (2, 0), (1, 1)))
    saddle = mixed**2 - across * down
    peaks = (saddle == ndimage.maximum_filter(saddle, 5)) & (saddle > FAINTEST * saddle.max(initial=0))
    margin = int(RING_RADIUS) + 2
    peaks[:margin] = peaks[-margin:] = peaks[:, :margin] = peaks[:, -margin:] = False
    rows, columns = np.nonzero(peaks)
    strongest = np.argsort(-saddle[rows, columns], kind="stable")[:MOST]
    rows, columns = rows[strongest], columns[strongest]
    crossing, patterns = _crossings(gray, rows, columns)
    rows, columns, patterns = rows[crossing], columns[crossing], patterns[crossing]
    # The place where the gradient of the quadratic surface is 0.
    right, below = (ndimage.gaussian_filter(gray, SIGMA, order=o)[rows, columns] for o in ((0, 1), (1, 0)))
    xx, yy, xy = across[rows, columns], down[rows, columns], mixed[rows, columns]
    determinant = xx * yy - xy**2
    x, y = (xy * below - yy * right) / determinant, (xy * right - xx * below) / determinant
    close = np.hypot(x, y) < 2
    return np.column_stack([columns + x, rows + y])[close].astype(float), patterns[close]


def _crossings(
    gray: NDArray[np.float32], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.complex128]]:
    """Whether two dark and two bright quarters meet at each place, bool (N,), and the patterns."""
    angles = np.arange(RING) * 2 * np.pi / RING
    y = rows[:, None] + RING_RADIUS * np.sin(angles)
    x = columns[:, None] + RING_RADIUS * np.cos(angles)
    ring = ndimage.map_coordinates(gray, [y, x], order=1, mode="nearest")
    ring = ring - (ring.min(axis=1, keepdims=True) + ring.max(axis=1, keepdims=True)) / 2
    changes = ((ring > 0) != (np.roll(ring, 1, axis=1) > 0)).sum(axis=1)
    spread = ring.std(axis=1)
    centered = ring - ring.mean(axis=1, keepdims=True)
    turned = (centered * np.roll(centered, RING // 2, axis=1)).mean(axis=1)
    wave = centered @ np.exp(2j * angles)
    patterns = wave / np.maximum(np.abs(wave), 1e-9)
    return (changes == 4) & (spread >= CONTRAST) & (turned >= ALIKE * spread**2), patterns


def _lattice(corners: Floats, patterns: NDArray[np.complex128]) -> tuple[NDArray[np.int64], NDArray[np.int64]] | None:
    """The largest lattice among the corners: indices int64 (N,) and cells int64 (N, 2); None = none is large enough."""
    if len(corners) < FEWEST:
        return None
    tree, taken = cKDTree(corners), np.zeros(len(corners), bool)
    best: dict[tuple[int, int], int] = {}
    for seed in range(len(corners)):
        if taken[seed]:
            continue
        steps = _first_steps(corners, tree, seed)
        grown = {} if steps is None else _grow(corners, patterns, tree, seed, steps)
        if len(grown) >= FEWEST:
            taken[list(grown.values())] = True
        best = grown if len(grown) > len(best) else best
    cells = np.array(list(best), dtype=np.int64).reshape(-1, 2)
    if len(best) < FEWEST or min((cells.max(axis=0) - cells.min(axis=0)).tolist()) < 2:
        return None
    return np.array(list(best.values()), dtype=np.int64), cells


def _first_steps(corners: Floats, tree: cKDTree, seed: int) -> tuple[Floats, Floats] | None:
    """The steps to the next corner along the two axes of the lattice around a corner, None = it has none."""
    _, near = tree.query(corners[seed], k=min(9, len(corners)))
    offsets = corners[near[1:]] - corners[seed]
    first = offsets[0]
    for second in offsets[1:]:
        lengths = np.hypot(*first), np.hypot(*second)
        sine = (first[0] * second[1] - first[1] * second[0]) / (lengths[0] * lengths[1])
        if abs(sine) > 0.5 and lengths[1] < 2.5 * lengths[0]:
            return first, second
    return None


def _grow(
    corners: Floats, patterns: NDArray[np.complex128], tree: cKDTree, seed: int, steps: tuple[Floats, Floats]
) -> dict[tuple[int, int], int]:
    """Cells of the lattice around a corner with the corner in each."""
    found: dict[tuple[int, int], int] = {(0, 0): seed}
    used, waiting = {seed}, deque([((0, 0), steps)])
    while waiting:
        cell, (first, second) = waiting.popleft()
        for axis, sign in ((0, 1), (0, -1), (1, 1), (1, -1)):
            neighbor = (cell[0] + sign, cell[1]) if axis == 0 else (cell[0], cell[1] + sign)
            if neighbor in found:
                continue
            step = sign * (first, second)[axis]
            place = corners[found[cell]]
            apart, near = tree.query(place + step)
            opposite = -(patterns[near] * patterns[found[cell]].conjugate()).real
            if near in used or apart > NEAR * np.hypot(*step) or opposite < OPPOSITE:
                continue
            found[neighbor] = int(near)
            used.add(int(near))
            # Steps change along a board that is tilted: the next one is taken from the last.
            seen = sign * (corners[near] - place)
            waiting.append((neighbor, (seen, second) if axis == 0 else (first, seen)))
    return found


def _board(corners: Floats, cells: NDArray[np.int64]) -> Board | None:
    """The measures of a lattice of corners, None when it is not flat."""
    try:
        matrix = homography(cells, corners)
    except ValueError:
        return None
    middle = cells.mean(axis=0)
    here, right, below = apply(matrix, middle + np.array([[0, 0], [1e-3, 0], [0, 1e-3]]))
    steps = np.column_stack([right - here, below - here]) / 1e-3
    square = float(np.sqrt(abs(np.linalg.det(steps))))
    rms = float(np.sqrt(((apply(matrix, cells) - corners) ** 2).sum(axis=1).mean()))
    if not rms < EXACT * square:
        return None
    short, long = np.linalg.svd(steps, compute_uv=False)[::-1].tolist()
    # A slope over n corners spread by s cells has the standard error rms / (s·√n).
    error = rms / (float(cells.std(axis=0).mean()) * np.sqrt(len(cells)) * square)
    return Board(corners, cells, square, float(error), float(np.degrees(np.arccos(min(1.0, short / long)))))
