"""The center line of a crack as a graph of pixels: length, direction and local width along it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from prune.metrics.thinning import thin

Mask = NDArray[np.bool_]
Points = NDArray[np.int64]
Floats = NDArray[np.float64]
HALF_NEIGHBORHOOD = ((0, 1), (1, 0), (1, 1), (1, -1))
"""One of the two directions of each of the eight neighbor relations: straight ones first."""
SMOOTHING = 10
"""Rounds of (¼, ½, ¼) averaging of the coordinates along the line before steps are summed: about a Gaussian of 2 px.

Plain steps of 1 and √2 overestimate a digitized straight line by up to 8% (at 22.5°); smoothed, by under 1%.
"""
DIRECTION_PIXELS = 5
"""Pixels of the line, at least, that the direction at its end is taken from."""
RAY_STEP = 1 / 32
"""Step in px in which the end of the mask is looked for."""
STEP, REACH = 0.5, 1.5
"""Sampling step of the cut across the line, and how far beyond the nearest background it may reach, in px."""
AT_A_TIME = 2**16
"""Places that are interpolated at a time: enough of them that calls cost little, few enough that memory does not matter."""


@dataclass(frozen=True)
class Graph:
    """The pixels of a thinned mask and which of them are neighbors.

    Args:
        points: int64 (N, 2), row and column of every pixel.
        edges: int64 (E, 2), pairs of indices of neighboring pixels.
        degree: int64 (N,), neighbors per pixel: 1 = free end, 3 and more = junction.
    """

    points: Points
    edges: Points
    degree: NDArray[np.int64]

    @classmethod
    def of(cls, points: Points, shape: tuple[int, int]) -> "Graph":
        """The graph of pixels int64 (N, 2) of an image of ``shape``."""
        edges = _edges(points, shape)
        return cls(points, edges, np.bincount(edges.ravel(), minlength=len(points)))

    @cached_property
    def neighbors(self) -> list[list[int]]:
        """The indices of the neighbors of every pixel, in the order of the edges."""
        pixel, other = self.edges.ravel(), self.edges[:, ::-1].ravel()
        others = other[np.argsort(pixel, kind="stable")].tolist()
        ends = [0, *np.cumsum(self.degree).tolist()]
        return [others[start:stop] for start, stop in pairwise(ends)]

    def smooth(self, values: NDArray[Any]) -> Floats:
        """Average values float64 (N, …) along the lines; those of free ends and junctions stay."""
        values = values.astype(float)
        interior, (first, second) = self._interior
        for _ in range(SMOOTHING):
            beside = values.take(first, axis=0) + values.take(second, axis=0)
            values[interior] = values.take(interior, axis=0) / 2 + beside / 4
        return values

    @cached_property
    def _interior(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pixels with two neighbors, int64 (I,), and these, int64 (2, I)."""
        interior = self.degree == 2
        ends = np.concatenate([self.edges, self.edges[:, ::-1]])
        ends = ends[interior[ends[:, 0]]]
        beside = ends[np.argsort(ends[:, 0], kind="stable"), 1].reshape(-1, 2).T
        return np.flatnonzero(interior), np.ascontiguousarray(beside)


@dataclass(frozen=True)
class CenterLine:
    """The line in the middle of a crack.

    Args:
        graph: Its pixels.
        places: float64 (N, 2), their coordinates, smoothed along the line.
        width: float64 (N,), width of the mask across the line in px; NaN when the mask has no background at all.
        length: Length of the line in px, up to where the mask ends.
        straight: bool (E,), edges that are not bent toward a corner at a free end.
        distance: float64 (N,), distance in px to the nearest background pixel.
        normals: float64 (N, 2), unit vectors across the line; zero when the mask has no background at all.
        beyond: float64 (N,), what ``length`` counts beyond the steps at each pixel in px: at free ends and single pixels.
        tips: float64 (N, 2), where the mask ends at a free end; elsewhere ``places``.
        bent: Pixels from each free end inward that a corner of the stroke can bend the line at.
    """

    graph: Graph
    places: Floats
    width: Floats
    length: float
    straight: Mask
    distance: Floats
    normals: Floats
    beyond: Floats
    tips: Floats
    bent: tuple[list[int], ...]

    def settled(self, cuts: Floats) -> Floats:
        """Widths float64 (N,) as they are reported: cuts across the line, smoothed along it.

        Near a free end that is bent toward a corner a cut misses part of the stroke, so it counts at least as much as the
        first one that is not bent.
        """
        width = self.graph.smooth(cuts)
        for path in self.bent:
            width[path] = np.maximum(width[path], width[path[-1]])
        return width

    @property
    def steps(self) -> Floats:
        """Vectors float64 (E, 2) along the edges: rows down, columns right, in px."""
        return self.places[self.graph.edges[:, 1]] - self.places[self.graph.edges[:, 0]]


def _edges(points: Points, shape: tuple[int, int]) -> Points:
    """Pairs of 8-neighbors, without diagonals that cut a corner of the line."""
    width = shape[1] + 2
    index = np.full((shape[0] + 2) * width, -1, dtype=np.int32)
    places = (points[:, 0] + 1) * width + points[:, 1] + 1
    index[places] = np.arange(len(points), dtype=np.int32)
    found = []
    for down, right in HALF_NEIGHBORHOOD:
        other = index[places + (down * width + right)]
        keep = other >= 0
        if down and right:
            keep &= (index[places + right] < 0) & (index[places + down * width] < 0)
        found.append(np.stack([np.flatnonzero(keep), other[keep]], axis=1))
    return np.concatenate(found)


def _points(mask: Mask) -> Points:
    """Row and column of every pixel of a mask, int64 (N, 2), as ``np.argwhere`` gives them, several times as fast."""
    return np.stack(np.divmod(np.flatnonzero(mask), mask.shape[1]), axis=1)


def _nearest_background(points: Points, mask: Mask) -> tuple[Floats, Floats]:
    """Distance in px float64 (N,) and unit direction float64 (N, 2) from mask pixels to the nearest background pixel."""
    background = _points(_rim(mask))
    if not len(background):
        return np.full(len(points), np.nan), np.zeros((len(points), 2))
    # Split at midpoints, whose depth the image's size bounds: the balanced tree of dense masks overflowed the stack.
    distance, nearest = cKDTree(background, balanced_tree=False).query(points)
    return distance, (points - background[nearest]) / distance[:, None]


def _rim(mask: Mask) -> Mask:
    """Background pixels with a mask pixel among their four neighbors: the nearest background is always one of them."""
    near = np.zeros_like(mask)
    near[1:] |= mask[:-1]
    near[:-1] |= mask[1:]
    near[:, 1:] |= mask[:, :-1]
    near[:, :-1] |= mask[:, 1:]
    return near & ~mask


def _spurs(graph: Graph, distance: Floats) -> Mask:
    """Pixels bool (N,) of the short branches that thinning grows into the corners of wide strokes.

    A spur is a branch between one junction and a free end that does not stand out of the stroke: its tip is no farther
    from the junction than the corner of the stroke, √2 times the ``distance`` to the background there.
    """
    inner = graph.degree < 3
    if inner.all():
        return ~inner
    link = graph.edges[inner[graph.edges].all(axis=1)]
    adjacency = coo_array((np.ones(len(link)), (link[:, 0], link[:, 1])), shape=(len(inner),) * 2)
    count, branch = connected_components(adjacency, directed=False)
    ends = np.bincount(branch[inner & (graph.degree <= 1)], minlength=count)
    crossing = graph.edges[inner[graph.edges].sum(axis=1) == 1]
    flipped = np.where(inner[crossing[:, :1]], crossing, crossing[:, ::-1])
    contacts = np.bincount(branch[flipped[:, 0]], minlength=count)
    junction = np.zeros(count, dtype=np.int64)
    junction[branch[flipped[:, 0]]] = flipped[:, 1]
    farthest = np.zeros(count)
    np.maximum.at(farthest, branch, np.linalg.norm(graph.points - graph.points[junction[branch]], axis=1))
    short = (ends == 1) & (contacts == 1) & (farthest <= np.sqrt(2) * distance[junction] + 1)
    return inner & short[branch]


def _normals(graph: Graph, places: Floats, toward_background: Floats) -> Floats:
    """Unit vectors float64 (N, 2) across the line; where it has no one direction, those toward the background."""
    down, right = (places[graph.edges[:, 1]] - places[graph.edges[:, 0]]).T
    # Axes, not arrows: angles are doubled, so that the order of the two pixels of an edge does not matter.
    length, angle = np.hypot(down, right), 2 * np.arctan2(down, right)
    ends, size = graph.edges.T.ravel(), len(places)
    cosines, sines = (np.bincount(ends, np.tile(length * f(angle), 2), minlength=size) for f in (np.cos, np.sin))
    direction = np.arctan2(sines, cosines) / 2
    vague = (graph.degree > 2) | (np.hypot(cosines, sines) < 1e-9)
    return np.where(vague[:, None], toward_background, np.stack([np.cos(direction), -np.sin(direction)], axis=1))


def _width(points: Points, mask: Mask, distance: Floats, normals: Floats) -> Floats:
    """Length of the cut through the mask across the line, in px.

    The distance to the nearest background pixel knows the width only to a pixel or so, because it counts from pixel
    center to pixel center; so it only bounds the cut, which sums the interpolated mask along the normal.
    """
    values, width = mask.astype(np.float32), np.zeros(len(points))
    for _, near, sides in across(values, points, distance, normals, REACH):
        for level in sides:
            width[near] += STEP * level
    return width


def across(
    values: NDArray[np.float32], points: Points, distance: Floats, normals: Floats, reach: float
) -> Iterator[tuple[float, NDArray[np.int64], NDArray[np.float32]]]:
    """Interpolated values on both sides of a line, step by step away from it.

    Args:
        values: float32 (H, W).
        points: int64 (N, 2), pixels of the line.
        distance: float64 (N,), to the nearest background in px.
        normals: float64 (N, 2), unit vectors across the line.
        reach: How far beyond the nearest background to go, in px.

    Yields:
        The distance from the line in px, rising by ``STEP``; the pixels that are followed so far, int64 (K,); and the values
        there on both sides, float32 (2, K).
    """
    offsets = np.arange(STEP / 2, distance.max() + reach, STEP)
    together = max(1, AT_A_TIME // (2 * len(points)))
    for start in range(0, len(offsets), together):
        part = offsets[start : start + together]
        near = [np.flatnonzero(offset <= distance + reach) for offset in part]
        counts = [len(one) for one in near]
        pixels = np.concatenate(near)
        away = np.repeat(part, counts)[:, None] * normals.take(pixels, axis=0)
        middle = points.take(pixels, axis=0)
        places = np.concatenate([middle + away, middle - away]).T
        levels = map_coordinates(values, places, order=1, mode="grid-constant", prefilter=False).reshape(2, -1)
        ends = np.cumsum(counts).tolist()
        for offset, one, stop in zip(part.tolist(), near, ends, strict=True):
            yield offset, one, levels[:, stop - len(one) : stop]


def _walk(tip: int, neighbors: list[list[int]]) -> Iterator[int]:
    """The pixels from a free end inward, the end first, up to a fork or the other end."""
    last, here = -1, tip
    while True:
        yield here
        forward = [n for n in neighbors[here] if n != last]
        if len(forward) != 1:
            return
        last, here = here, forward[0]


@dataclass(frozen=True)
class _End:
    """One free end of a line.

    Args:
        path: Pixels from the free end to the first one the corners of the stroke cannot bend.
        direction: Unit vector float64 (2,) out there.
        safe: Whether there is such a pixel; the path else reaches a fork or the other end.
    """

    path: list[int]
    direction: Floats
    safe: bool


def _straight_end(tip: int, neighbors: list[list[int]], places: Floats, distance: Floats) -> _End:
    """Follow a line from a free end inward to where its direction can be trusted."""
    path: list[int] = []
    safe = 0
    for pixel in _walk(tip, neighbors):
        path.append(pixel)
        if not safe and np.hypot(*(places[pixel] - places[tip])) > np.sqrt(2) * distance[pixel]:
            safe = len(path)
        if safe and len(path) >= safe + max(DIRECTION_PIXELS, distance[path[safe - 1]]):
            break
    end = safe or len(path)
    # Right at a fork there is nothing farther in to take the direction from.
    away = places[path[end - 1]] - places[path[-1]] if len(path) > end else places[tip] - places[path[-1]]
    return _End(path[:end], away / np.hypot(*away), bool(safe))


def _ray(start: Floats, direction: Floats, mask: Mask, limit: float) -> float:
    """How far the mask extends from ``start`` along a unit vector, in px, at most ``limit``."""
    offsets = np.arange(RAY_STEP, limit, RAY_STEP)
    rows, columns = np.rint(start + offsets[:, None] * direction).astype(int).T
    inside = (rows >= 0) & (columns >= 0) & (rows < mask.shape[0]) & (columns < mask.shape[1])
    inside[inside] = mask[rows[inside], columns[inside]]
    return float(RAY_STEP * ((len(inside) if inside.all() else inside.argmin()) + 0.5))


def _beyond(end: _End, places: Floats, distance: Floats, mask: Mask) -> tuple[float, Floats]:
    """What the mask extends beyond a free end of the line, in px, and where it ends there, float64 (2,).

    Thinning stops about half a width short of the end of a stroke, or bends into one of its corners. So the line is
    followed from a point safely inside, straight on to where the mask ends. A staircase of single pixels may leave that
    ray early; the pixel at the free end, projected on it, still counts.
    """
    origin = places[end.path[-1]]
    walked = float(np.hypot(*np.diff(places[end.path], axis=0).T).sum())
    half_pixel = 0.5 * np.abs(end.direction).sum()
    projected = float((places[end.path[0]] - origin) @ end.direction + half_pixel)
    reach = max(_ray(origin, end.direction, mask, walked + 2 * distance[end.path[-1]] + 2), projected)
    return reach - walked, origin + reach * end.direction


def center_line(mask: Mask, thinned: Mask | None = None) -> CenterLine:
    """Thin a mask bool (H, W), cut the spurs at the corners of wide strokes, and measure the width along the line.

    ``thinned`` is the thinned mask, when it is known already.
    """
    graph = Graph.of(_points(thin(mask) if thinned is None else thinned), mask.shape)
    distance, direction = _nearest_background(graph.points, mask)
    spurs = _spurs(graph, distance)
    if spurs.any():
        graph = Graph.of(graph.points[~spurs], mask.shape)
        distance, direction = distance[~spurs], direction[~spurs]
    places = graph.smooth(graph.points)
    if np.isnan(distance).any():  # no background anywhere
        distance = np.full(len(distance), (min(mask.shape) + 1) / 2)
        cuts, normals = np.full(len(distance), np.nan), np.zeros_like(places)
    else:
        normals = _normals(graph, places, direction)
        cuts = _width(graph.points, mask, distance, normals)
    neighbors = graph.neighbors
    ends = [_straight_end(tip, neighbors, places, distance) for tip in np.flatnonzero(graph.degree == 1).tolist()]
    bent = tuple(end.path for end in ends if end.safe)
    straight = np.ones(len(cuts), dtype=bool)
    for path in bent:
        straight[path[:-1]] = False
    beyond, tips = np.where(graph.degree == 0, 2 * distance - 1, 0.0), places.copy()
    alone, past_ends = float(beyond[graph.degree == 0].sum()), 0.0
    for end in ends:
        beyond[end.path[0]], tips[end.path[0]] = _beyond(end, places, distance, mask)
        past_ends += float(beyond[end.path[0]])
    straight_edges = np.all(straight[graph.edges], axis=1)
    line = CenterLine(graph, places, cuts, 0.0, straight_edges, distance, normals, beyond, tips, bent)
    return replace(line, width=line.settled(cuts), length=float(np.hypot(*line.steps.T).sum()) + alone + past_ends)
