"""Every crack of a mask on its own: length, width and where it is widest, direction, branches."""

from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_array
from scipy.sparse.csgraph import dijkstra

from prune.errors import UserError
from prune.inspection.branches import along, beside, inside_junctions, split
from prune.inspection.settings import MeasureSettings
from prune.metrics.box import bounding_box
from prune.metrics.measurement import EIGHT_CONNECTED, axis, axis_degrees
from prune.metrics.profile import profile_width
from prune.metrics.skeleton import CenterLine, center_line
from prune.options import settings_from, with_settings

Mask = NDArray[np.bool_]
Ids = NDArray[np.int64]
Floats = NDArray[np.float64]
AROUND = 8
"""px around a mask that its measures may depend on: profiles are followed 2.5 px beyond its edge."""
LOOKS = np.radians(np.arange(180))
"""Directions the free ends farthest apart are looked for in; between them distances are short by at most 4e-5."""


@dataclass(frozen=True, eq=False)
class Segment:
    """One branch of a crack, from junction or end to junction or end.

    Args:
        length_px: Length of its center line in px.
        width_mean_px: Mean width in px; NaN where a mask fills the whole image.
        width_max_px: Largest width in px; NaN as above.
        orientation: Mean direction in degrees, 0 = horizontal, 45 = rising to the right, 90 = vertical; NaN for one pixel.
        line: int64 (N, 2), rows and columns of its pixels in the order of the line, with the junctions that it meets.
    """

    length_px: float
    width_mean_px: float
    width_max_px: float
    orientation: float
    line: Ids = field(repr=False)


@dataclass(frozen=True, eq=False)
class Crack:
    """One connected crack.

    Args:
        number: 1 for the longest; cracks of equal length are numbered from top to bottom, then from left to right.
        length_px: Length of its center line in px, all branches summed.
        width_mean_px: Mean width along the line in px; this and the other widths are NaN where a mask fills the image.
        width_p95_px: 95th percentile of the width in px.
        width_max_px: Largest width in px.
        width_max_at: Row and column of the center line there.
        orientation: Mean direction in degrees, 0 = horizontal, 45 = rising to the right, 90 = vertical; NaN for one pixel.
        tortuosity: Length along the line between the two free ends that are farthest apart over their distance, at least
            1; NaN with fewer than two free ends, as in a closed loop.
        area_px: Pixels of the mask.
        box: Top, left, height and width in px of the smallest box around it.
        branches: Number of its branches; 1 = no junction.
        probability: Mean probability over its pixels; NaN where none is known.
        line: int64 (N, 2), rows and columns of the pixels of its center line.
        segments: Its branches, the longest first. What lies inside junctions belongs to none of them (see
            ``prune.inspection.branches.split``), so their lengths add up to less than ``length_px``.
    """

    number: int
    length_px: float
    width_mean_px: float
    width_p95_px: float
    width_max_px: float
    width_max_at: tuple[int, int]
    orientation: float
    tortuosity: float
    area_px: int
    box: tuple[int, int, int, int]
    branches: int
    probability: float
    line: Ids = field(repr=False)
    segments: tuple[Segment, ...] = field(repr=False)


@with_settings(MeasureSettings)
def measure_cracks(mask: Mask, probability: NDArray[np.floating] | None = None, **settings: Any) -> tuple[Crack, ...]:
    """Measure every crack of a mask.

    A crack is an 8-connected piece of the mask with its center line: the thinned mask without spurs, as in
    ``prune.metrics.measurement.measure``, whose length is the sum of these with ``min_length=0``. Widths are taken outside
    of junctions, where a cut across one branch runs along another.

    Args:
        mask: bool (H, W).
        probability: Of a crack at every pixel, (H, W), 0…1; for sub-pixel widths and the mean probability.
        **settings: ``min_length`` (shorter cracks are left out, in px) and ``width``: ``mask`` measures the cut through the
            mask across the line, ``profile`` integrates the probability along that cut (``prune.metrics.profile``), ``auto``
            does so where there is a probability and it falls off on both sides, and takes the mask elsewhere.

    Returns:
        The cracks, the longest first; empty for an empty mask.

    Raises:
        TypeError: for an unknown setting, and for arrays of another type.
        UserError: for arrays of another shape, and for ``profile`` without a probability.
    """
    how = settings_from(MeasureSettings, "measure_cracks", settings)
    _check(mask, probability, how)
    part = bounding_box(mask, AROUND)
    if not mask[part].any():
        return ()
    offset = int(part[0].start), int(part[1].start)
    found = _measured(mask[part], None if probability is None else probability[part], how)
    return tuple(_moved(crack, *offset) for crack in found) if any(offset) else found


def _moved(crack: Crack, down: int, right: int) -> Crack:
    """The crack with all places moved, from a part of a mask to the whole."""
    by, (row, column) = np.array([down, right]), crack.width_max_at
    top, left, height, width = crack.box
    return replace(
        crack,
        width_max_at=(row + down, column + right),
        box=(top + down, left + right, height, width),
        line=crack.line + by,
        segments=tuple(replace(segment, line=segment.line + by) for segment in crack.segments),
    )


def _measured(mask: Mask, probability: NDArray[np.floating] | None, how: MeasureSettings) -> tuple[Crack, ...]:
    """The cracks of the part of a mask that holds them all."""
    labels: NDArray[np.int32] = ndimage.label(mask, EIGHT_CONNECTED)[0]
    inside = np.flatnonzero(mask)
    pieces = labels.ravel()[inside]
    areas = np.bincount(pieces, minlength=1)
    # A line of n pixels is at most √2·n long: specks need not be thinned to be left out.
    large = np.sqrt(2) * areas + 1 >= how.min_length
    large[0] = False
    if not large.any():
        return ()
    measured = mask
    if not large[1:].all():
        measured = np.zeros(mask.shape, dtype=bool)
        measured.ravel()[inside[large[pieces]]] = True
    line = center_line(measured)
    found = CrackLines(
        line, labels[tuple(line.graph.points.T)].astype(np.int64), local_widths(line, probability, how.width)
    )
    length = found.lengths(len(areas))
    likely = np.full(len(areas), np.nan)
    if probability is not None:
        likely[1:] = np.bincount(pieces, probability[np.divmod(inside, mask.shape[1])])[1:] / areas[1:]
    boxes = [_box(slices) for slices in ndimage.find_objects(labels)]
    kept = np.flatnonzero(large & (length >= how.min_length)).tolist()
    kept.sort(key=lambda one: (-length[one], boxes[one - 1]))
    return tuple(
        found.crack(number, one, length[one], int(areas[one]), boxes[one - 1], float(likely[one]))
        for number, one in enumerate(kept, 1)
    )


def _check(mask: object, probability: object, how: MeasureSettings) -> None:
    """Find out whether the arrays can be measured."""
    if not isinstance(mask, np.ndarray) or mask.dtype != bool:
        found = f"{mask.dtype} values" if isinstance(mask, np.ndarray) else type(mask).__name__
        raise TypeError(f"mask: expected an array of bool, found {found}")
    if mask.ndim != 2 or not mask.size:
        raise UserError(f"--mask: expected pixels (H, W), found {mask.shape}")
    if probability is None:
        if how.width == "profile":
            raise UserError("--width: expected a probability to measure profiles of, found none")
        return
    if not isinstance(probability, np.ndarray) or not np.issubdtype(probability.dtype, np.floating):
        found = f"{probability.dtype} values" if isinstance(probability, np.ndarray) else type(probability).__name__
        raise TypeError(f"probability: expected an array of float, found {found}")
    if probability.shape != mask.shape:
        raise UserError(f"--probability: expected the shape of the mask, {mask.shape}, found {probability.shape}")


def local_widths(line: CenterLine, probability: NDArray[np.floating] | None, method: str) -> Floats:
    """Width along the line in px, float64 (N,)."""
    if probability is None or method == "mask":
        return line.width
    width, known = profile_width(line, probability)
    return width if method == "profile" else np.where(known, width, line.width)


def _box(slices: tuple[slice, slice]) -> tuple[int, int, int, int]:
    rows, columns = slices
    return rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start


def members(ids: Ids) -> dict[int, Ids]:
    """The places of every id in ``ids``, in rising order."""
    order = np.argsort(ids, kind="stable")
    names, starts = np.unique(ids[order], return_index=True)
    spans = pairwise([*starts.tolist(), len(ids)])
    return {name: order[start:stop] for name, (start, stop) in zip(names.tolist(), spans, strict=True)}


class CrackLines:
    """The center lines of all cracks of a mask, taken apart.

    Args:
        line: All of them.
        crack: int64 (N,), the crack of each pixel.
        width: float64 (N,), in px.
    """

    def __init__(self, line: CenterLine, crack: Ids, width: Floats) -> None:
        self.line, self.crack_of, self.width = line, crack, width
        self.first = line.graph.edges[:, 0]
        self.branches, self.blurred = split(line, crack), inside_junctions(line)
        self.steps = line.steps
        self.step = np.hypot(*self.steps.T)
        self.pixels, self.edges = members(crack), members(crack[self.first])
        self.branch_pixels, self.branch_edges = members(self.branches.pixel), members(self.branches.edge)
        self.neighbors, self.branch_of = line.graph.neighbors, self.branches.pixel.tolist()
        self.beside = beside(line, self.branches.pixel)

    def lengths(self, count: int) -> Floats:
        """Length of each of ``count`` cracks in px, float64; 0 for those without a line."""
        steps: Floats = np.bincount(self.crack_of[self.first], self.step, minlength=count).astype(float)
        return steps + np.bincount(self.crack_of, self.line.beyond, minlength=count)

    def crack(
        self, number: int, name: int, length: float, area: int, box: tuple[int, int, int, int], probability: float
    ) -> Crack:
        """All measures of one crack."""
        pixels, edges = self.pixels[name], self.edges.get(name, np.empty(0, np.int64))
        points, clear = self.line.graph.points, self._clear(pixels)
        width = self.width[clear]
        widest = points[clear[width.argmax()]]
        segments = self._segments(pixels)
        return Crack(
            number=number,
            length_px=float(length),
            width_mean_px=float(width.mean()),
            width_p95_px=float(np.percentile(width, 95)),
            width_max_px=float(width.max()),
            width_max_at=(int(widest[0]), int(widest[1])),
            orientation=self._orientation(edges),
            tortuosity=self._tortuosity(pixels, edges, length),
            area_px=area,
            box=box,
            branches=len(segments),
            probability=probability,
            line=points[pixels],
            segments=segments,
        )

    def _segments(self, pixels: Ids) -> tuple[Segment, ...]:
        """The branches of the crack with these pixels, the longest first."""
        names = np.unique(self.branches.pixel[pixels]).tolist()
        names = sorted((n for n in names if n >= 0), key=lambda n: (-self.branches.length[n], n))
        return tuple(map(self._segment, names))

    def _segment(self, name: int) -> Segment:
        pixels = self.branch_pixels[name]
        width = self.width[self._clear(pixels)]
        return Segment(
            length_px=float(self.branches.length[name]),
            width_mean_px=float(width.mean()),
            width_max_px=float(width.max()),
            orientation=self._orientation(self.branch_edges.get(name, np.empty(0, np.int64))),
            line=self.line.graph.points[along(pixels, self.beside, self.branch_of, self.neighbors)],
        )

    def _clear(self, pixels: Ids) -> Ids:
        """Those of the pixels whose width is known: all outside of junctions, all where there are no others."""
        clear = pixels[~self.blurred[pixels]]
        return clear if len(clear) else pixels

    def _orientation(self, edges: Ids) -> float:
        """Mean direction of steps in degrees; those that bend toward the corner of a stroke count only when all do."""
        straight = edges[self.line.straight[edges]]
        return float(axis_degrees(*np.array(axis(self.steps[straight if len(straight) else edges]))))

    def _tortuosity(self, pixels: Ids, edges: Ids, length: float) -> float:
        """Length along the line between the two free ends that are farthest apart, over their distance."""
        degree, tips = self.line.graph.degree[pixels], self.line.tips[pixels]
        ends = np.flatnonzero(degree == 1)
        if len(ends) < 2:
            return float("nan")
        seen = tips[ends] @ np.stack([np.sin(LOOKS), np.cos(LOOKS)])
        pairs = np.stack([ends[seen.argmin(axis=0)], ends[seen.argmax(axis=0)]], axis=1)
        apart = np.hypot(*(tips[pairs[:, 0]] - tips[pairs[:, 1]]).T)
        start, stop = pairs[apart.argmax()].tolist()
        if degree.max() > 2:
            first, second = np.searchsorted(pixels, self.line.graph.edges[edges].T)
            links = coo_array((self.step[edges], (first, second)), shape=(len(pixels),) * 2).tocsr()
            between = float(dijkstra(links, directed=False, indices=start)[stop])
            length = between + float(self.line.beyond[pixels[[start, stop]]].sum())
        return max(1.0, length / float(apart.max()))
