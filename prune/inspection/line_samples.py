"""Center lines of cracks as places about every pixel, at two dates in the pixels of the earlier photograph."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.inspection.records import CrackRecord
from prune.inspection.registration import Registration

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Samples:
    """The center lines of many cracks, a place about every px.

    Args:
        points: float64 (N, 2), (x, y) in the earlier photograph.
        crack: int64 (N,), index of the crack.
        length: float64 (N,), what each place stands for in px of the earlier photograph.
        width: float64 (N,), mean width of its crack in px of the earlier photograph.
    """

    points: Floats
    crack: NDArray[np.int64]
    length: Floats
    width: Floats


@dataclass(frozen=True, eq=False)
class _Places:
    """Center lines in px of their own photograph, a place about every px.

    Args:
        points: float64 (N, 2), (x, y).
        along: float64 (N, 2), unit vectors along the line.
        length: float64 (N,), what each place stands for in px.
        crack: int64 (N,), index of the crack.
    """

    points: Floats
    along: Floats
    length: Floats
    crack: NDArray[np.int64]

    @classmethod
    def of(cls, cracks: Sequence[CrackRecord]) -> "_Places":
        """Those of some cracks; the length of each is shared out among its places."""
        parts = [(*_line(line), index) for index, crack in enumerate(cracks) for line in crack.lines]
        if not parts:
            return cls(np.empty((0, 2)), np.empty((0, 2)), np.empty(0), np.empty(0, np.int64))
        points, along, weight = (np.concatenate([part[i] for part in parts]) for i in range(3))
        crack = np.repeat([part[3] for part in parts], [len(part[0]) for part in parts])
        whole = np.array([one.length_px for one in cracks]) / np.bincount(crack, weight, minlength=len(cracks))
        return cls(points, along, weight * whole[crack], crack)

    def only(self, kept: NDArray[np.bool_]) -> "_Places":
        """Some of the places."""
        return _Places(self.points[kept], self.along[kept], self.length[kept], self.crack[kept])


def _line(line: Sequence[tuple[int, int]]) -> tuple[Floats, Floats, Floats]:
    """Places float64 (N, 2) (x, y) about every px of a line, unit vectors along it there, and what each stands for in px."""
    corners = np.array(line, float)[:, ::-1]
    lengths = np.hypot(*np.diff(corners, axis=0).T)
    ends = np.concatenate([[0.0], np.cumsum(lengths)])
    count = max(1, math.ceil(ends[-1]))
    stops = np.linspace(0, ends[-1], count + 1)
    steps = np.column_stack([np.interp(stops, ends, axis) for axis in corners.T])
    vectors = np.diff(steps, axis=0)
    size = np.hypot(*vectors.T)
    along = np.where(size[:, None] > 0, vectors / np.maximum(size, 1e-9)[:, None], [1.0, 0.0])
    return (steps[:-1] + steps[1:]) / 2, along, np.full(count, max(ends[-1], 1.0) / count)


def earlier_samples(cracks: Sequence[CrackRecord], registration: Registration) -> Samples:
    """Those of the earlier photograph, where the later one shows the place too."""
    places = _Places.of(cracks)
    places = places.only(registration.common_before(places.points))
    return Samples(places.points, places.crack, places.length, _widths(cracks)[places.crack])


def later_samples(cracks: Sequence[CrackRecord], registration: Registration) -> tuple[Samples, Floats]:
    """Those of the later photograph, where the earlier one shows the place too, and their (x, y) float64 (N, 2) in it."""
    places = _Places.of(cracks)
    places = places.only(registration.common_after(places.points))
    half = places.along / 2
    stretch = np.hypot(*(registration.to_before(places.points + half) - registration.to_before(places.points - half)).T)
    across = registration.zoom(places.points) ** 2 / stretch  # what areas are enlarged by and lengths are not
    width = across * _widths(cracks)[places.crack]
    return Samples(registration.to_before(places.points), places.crack, stretch * places.length, width), places.points


def _widths(cracks: Sequence[CrackRecord]) -> Floats:
    """Mean width of each crack in px, float64; NaN where it is not known."""
    return np.array([math.nan if one.width_mean_px is None else one.width_mean_px for one in cracks], float)
