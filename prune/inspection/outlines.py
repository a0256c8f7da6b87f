"""Outlines of the pieces of a mask as polygons, for correction in COCO and LabelMe programs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prune.inspection.records import needed
from prune.metrics.measurement import EIGHT_CONNECTED

Mask = NDArray[np.bool_]
Ring = list[tuple[float, float]]
"""Corners (x, y) in px, whole and half ones, 0 = the left and the upper edge of the image; clockwise, the first is not repeated."""
TOLERANCE = 0.5
"""px: how far a polygon may be from the edge of the pixels, so that a diagonal is a line and not a staircase."""


def polygons(mask: Mask, tolerance: float = TOLERANCE) -> list[Ring]:
    """Polygons without holes that together cover a mask bool (H, W), up to ``tolerance`` px at their edges.

    Both formats know no holes: a piece that has some is cut through them, so it gives several polygons.
    """
    return [_corners(ring, tolerance) for ring in _rings(mask, 0)]


def _rings(mask: Mask, left: int) -> Iterator[NDArray[np.int64]]:
    """Closed rings int64 (N, 2) of corners (row, column) along pixel edges; ``left`` is the first column of ``mask``."""
    labels, count = ndimage.label(mask, EIGHT_CONNECTED)
    for number, (rows, columns) in enumerate(ndimage.find_objects(labels, count), 1):
        piece, start = labels[rows, columns] == number, left + columns.start
        offset = np.array([rows.start, start])
        outer, cut = _outline(piece)
        if cut is None:
            yield outer + offset
            continue
        for part, first in ((piece[:, :cut], 0), (piece[:, cut:], cut)):
            yield from (ring + np.array([rows.start, 0]) for ring in _rings(part, start + first))


def _outline(piece: Mask) -> tuple[NDArray[np.int64], int | None]:
    """The outer ring of an 8-connected piece, and the column of a cut through a hole, None without one."""
    following, corners = _edges(np.pad(piece, 1))
    free, ring, cut = set(following), np.empty((0, 2), np.int64), None
    for first in list(following):
        if first not in free:
            continue
        edge, path = first, []
        while edge in free:
            free.discard(edge)
            path.append(edge)
            edge = following[edge]
        found = np.array([corners[edge] for edge in path]) - 1
        if _area(found) > 0:
            ring = found
        else:
            columns = found[:, 1]
            cut = int(columns.min() + columns.max()) // 2
    return ring, cut


def _edges(padded: Mask) -> tuple[dict[int, int], dict[int, tuple[int, int]]]:
    """Directed edges between the pixels of a mask and what lies around, with the mask at their right.

    Returns:
        The edge that follows each, and the corner (row, column) where each begins. Where two pixels touch at a corner only,
        the ring turns left and keeps them together.
    """
    width = padded.shape[1]
    sides = (((0, 1), (-1, 0), (0, 0)), ((1, 0), (0, 1), (0, 1)), ((0, -1), (1, 0), (1, 1)), ((-1, 0), (0, -1), (1, 0)))
    starts: dict[int, tuple[int, int]] = {}
    leaving: dict[tuple[int, int], list[int]] = {}
    for number, (_, (down, right), (row, column)) in enumerate(sides):
        outside = ~np.roll(padded, (-down, -right), (0, 1)) & padded
        for r, c in np.argwhere(outside).tolist():
            edge, corner = (r * width + c) * 4 + number, (r + row, c + column)
            starts[edge] = corner
            leaving.setdefault(corner, []).append(edge)
    following = {}
    for edge, (row, column) in starts.items():
        down, right = sides[edge % 4][0]
        options = leaving[row + down, column + right]
        left = (edge - 1) % 4
        following[edge] = next((o for o in options if o % 4 == left), options[0]) if len(options) > 1 else options[0]
    return following, starts


def _area(ring: NDArray[np.int64]) -> float:
    """Signed area in px² of a ring of corners (row, column): positive when it runs clockwise in the image."""
    rows, columns = ring.T
    return float((columns * np.roll(rows, -1) - np.roll(columns, -1) * rows).sum() / 2)


def _corners(ring: NDArray[np.int64], tolerance: float) -> Ring:
    """A ring of unit steps as the middles of its steps, which lie on a line along a diagonal, and its real corners.

    A corner is real where both sides are at least two pixels long; two points far apart stay, whatever lies between.
    """
    steps = np.roll(ring, -1, axis=0) - ring
    turns = (steps != np.roll(steps, 1, axis=0)).any(axis=1)
    straight = ~turns
    real = turns & np.roll(straight, -1) & np.roll(straight, 1)
    points = np.stack([ring.astype(float), ring + steps / 2], axis=1).reshape(-1, 2)
    points = points[np.stack([real, np.ones(len(ring), bool)], axis=1).ravel()]
    middle = int(np.hypot(*(points - points[0]).T).argmax())
    halves = points[: middle + 1], np.concatenate([points[middle:], points[:1]])
    kept = np.concatenate([half[needed(half, tolerance)[:-1]] for half in halves])
    return [(column, row) for row, column in kept.tolist()]
