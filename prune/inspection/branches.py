"""Center lines split at their junctions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from prune.metrics.skeleton import CenterLine

Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
BLUR = 3.0
"""px: how far the smoothing of widths along the line carries those of a junction."""


@dataclass(frozen=True)
class Branches:
    """Which branch every pixel and every step of a center line belongs to.

    Args:
        pixel: int64 (N,), branch of each pixel; -1 for pixels of junctions.
        edge: int64 (E,), branch of each step; -1 for steps inside junctions.
        length: float64 (B,), of the branches in px, ends included.
    """

    pixel: Ids
    edge: Ids
    length: Floats


def _pieces(count: int, edges: NDArray[np.int64]) -> Ids:
    """The connected piece of each of ``count`` pixels, int64 (N,)."""
    links = coo_array((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), shape=(count, count))
    return connected_components(links, directed=False)[1].astype(np.int64)


def split(line: CenterLine, crack: Ids) -> Branches:
    """Split a center line at its junctions.

    Where two wide lines cross, thinning makes two junctions with a short connection that lies inside both lines. A
    connection of two junctions that is shorter than the crack is wide there belongs to the junction.

    Args:
        line: Of any number of cracks.
        crack: int64 (N,), the crack of each pixel.
    """
    graph, count = line.graph, len(line.graph.points)
    fork = graph.degree > 2
    fork &= (np.bincount(crack, ~fork) > 0)[crack]  # a clump of nothing but junctions is one branch
    forks = fork[graph.edges]
    piece, cluster = (_pieces(count, graph.edges[(forks == kind).all(axis=1)]) for kind in (False, True))
    first, second = graph.edges.T
    edge = np.where(forks.all(axis=1), -1, piece[np.where(fork[first], second, first)])
    inside = edge >= 0
    steps: Floats = np.bincount(edge[inside], np.hypot(*line.steps[inside].T), minlength=count).astype(float)
    length = steps + np.bincount(piece[~fork], line.beyond[~fork], minlength=count)

    contact = forks.sum(axis=1) == 1
    junction = np.where(fork[first], first, second)[contact]
    near, lowest, highest = np.zeros(count), np.full(count, count), np.full(count, -1)
    np.maximum.at(near, edge[contact], line.distance[junction])
    np.minimum.at(lowest, edge[contact], cluster[junction])
    np.maximum.at(highest, edge[contact], cluster[junction])
    free = np.bincount(piece[~fork & (graph.degree < 2)], minlength=count) > 0
    kept = (length >= 2 * near) | (lowest >= highest) | free
    owner = np.zeros(count, dtype=np.int64)
    owner[piece[~fork]] = crack[~fork]
    used = np.unique(piece[~fork])
    kept |= (np.bincount(owner[used], kept[used]) == 0)[owner]  # a crack of nothing but short connections keeps them

    number = np.full(count + 1, -1)  # the last entry is for -1
    used = used[kept[used]]
    number[used] = np.arange(len(used))
    return Branches(number[np.where(fork, -1, piece)], number[edge], length[used])


def inside_junctions(line: CenterLine) -> Mask:
    """Pixels bool (N,) of a center line whose width a junction changes.

    They are at most ``BLUR`` px farther from a junction than the edge of the mask is there.
    """
    junctions = np.flatnonzero(line.graph.degree > 2)
    if not len(junctions):
        return np.zeros(len(line.graph.points), dtype=bool)
    apart, nearest = cKDTree(line.graph.points[junctions], balanced_tree=False).query(line.graph.points)
    return apart <= line.distance[junctions[nearest]] + BLUR


def beside(line: CenterLine, branch: Ids) -> Ids:
    """How many neighbors of each pixel are of its own branch, int64 (N,); -1 at junctions, where that says nothing.

    Args:
        line: The center line.
        branch: int64 (N,), branch of each pixel.
    """
    edges = line.graph.edges
    inner = edges[branch[edges[:, 0]] == branch[edges[:, 1]]]
    found = np.bincount(inner.ravel(), minlength=len(branch))
    return np.where(line.graph.degree > 2, -1, found)


def along(pixels: Ids, inner: Ids, branch: list[int], neighbors: list[list[int]]) -> Ids | list[int]:
    """The pixels of one branch in the order of the line, with the junction pixels that it meets.

    Args:
        pixels: int64 (N,), of the branch.
        inner: See ``beside``.
        branch: The branch of every pixel of the center line.
        neighbors: Of every pixel of it.
    """
    counts = inner[pixels]
    if counts.min() < 0:
        return pixels  # a clump of junctions has no order
    start = int(pixels[counts.argmin()])
    own = branch[start]
    path = [*[n for n in neighbors[start] if branch[n] != own][:1], start]
    last, here = path[0], start
    while True:
        for onward in neighbors[here]:
            if onward not in (last, start):
                break
        else:
            return path
        last, here = here, onward
        path.append(here)
        if branch[here] != own:
            return path
