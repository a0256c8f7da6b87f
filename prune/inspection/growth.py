"""How cracks have grown between two photographs of the same place, with the error of the difference."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from prune.inspection.known_errors import KnownErrors
from prune.inspection.line_samples import Samples, earlier_samples, later_samples
from prune.inspection.records import CrackRecord
from prune.inspection.registration import Registration
from prune.report.paper import Picture, with_legend

Floats = NDArray[np.float64]
BESIDE = 4.0
"""px of the earlier photograph, at least: center lines this near are of the same crack."""
MISSES = 3.0
"""The same, as a multiple of the root mean square by which the photographs miss each other."""
LINKED = 0.2
"""Two cracks are one when this share of the shorter one lies beside the other."""
SURE = 2.0
"""A difference is called growth from this many standard errors on."""
SIGMA = 1.4826
"""Standard deviation of a normal distribution whose median absolute deviation is 1."""
ENDS = 2.0
"""px: standard error of where the two ends of a crack lie, beside what the network misses (docs/measuring.md)."""
NEW, KNOWN, GONE = (213, 94, 0), (0, 114, 178), (240, 228, 66)
"""Colors of lines, RGB, that color-blind readers can tell apart (Okabe & Ito 2008)."""
FAINT = 0.6
"""Share of white that is mixed into the photograph behind the lines."""


@dataclass(frozen=True)
class Growth:
    """One crack at two dates; all in px of the earlier photograph, and only where both photographs show the place.

    Args:
        before: Numbers of the earlier cracks that belong to it; empty = it is new.
        after: Numbers of the later ones; empty = it is not found any more.
        length_before_px: Length of the earlier ones.
        length_after_px: Length of the later ones.
        length_error_px: Standard error of the difference; None = nothing is known about the network.
        width_before_px: Mean width of the earlier ones, weighted by length; NaN without any.
        width_after_px: Of the later ones.
        width_error_px: Standard error of their difference; None as above, and for a crack that is new or gone.
        new_px: Length of the later center line with no earlier one beside it.
    """

    before: tuple[int, ...]
    after: tuple[int, ...]
    length_before_px: float
    length_after_px: float
    length_error_px: float | None
    width_before_px: float
    width_after_px: float
    width_error_px: float | None
    new_px: float

    @property
    def length_px(self) -> float:
        """How much longer it is in px."""
        return self.length_after_px - self.length_before_px

    @property
    def width_px(self) -> float:
        """How much wider it is in px; NaN for a crack that is new or gone."""
        return self.width_after_px - self.width_before_px

    @property
    def verdict(self) -> str:
        """What can be said: new, not found, grown, or no change beyond the error; the last needs a known error."""
        if not self.before:
            return "new"
        if not self.after:
            return "not found again"
        pairs = ((self.length_px, self.length_error_px, "longer"), (self.width_px, self.width_error_px, "wider"))
        known = [(value, error, name) for value, error, name in pairs if error is not None]
        if not known:
            return "error not known"
        return (
            " and ".join(name for value, error, name in known if value > SURE * error) or "no growth beyond the error"
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """All cracks of two photographs of the same place.

    Args:
        registration: How they lie over each other.
        growths: One by one, the most new length first.
        new: float64 (N, 2), places (x, y) in the later photograph of center lines that are new.
        known: Likewise of those that were there before.
        gone: Likewise of earlier ones that were not found again.
    """

    registration: Registration
    growths: tuple[Growth, ...]
    new: Floats = field(repr=False)
    known: Floats = field(repr=False)
    gone: Floats = field(repr=False)

    def draw(self, after: Picture) -> Picture:
        """The later photograph uint8 (H, W, 3), RGB, in pale, with new, known and missing lines and a legend."""
        pale = np.rint(255 * FAINT + (1 - FAINT) * after).astype(np.uint8)
        canvas = Image.fromarray(pale)
        draw = ImageDraw.Draw(canvas)
        radius = max(1.0, max(after.shape[:2]) / 600)
        kinds = ((self.known, KNOWN), (self.gone, GONE), (self.new, NEW))
        for points, color in kinds:
            for x, y in points.tolist():
                draw.ellipse([x - radius, y - radius, x + radius, y + radius], fill=color)
        names = ("found before, too", "not found again", "new")
        entries = [(color, name) for (points, color), name in zip(kinds, names, strict=True) if len(points)]
        return with_legend(np.asarray(canvas), entries)


def compare_cracks(
    before: Sequence[CrackRecord],
    after: Sequence[CrackRecord],
    registration: Registration,
    errors: KnownErrors | None = None,
) -> Comparison:
    """Match the cracks of two photographs of the same place and measure their growth.

    Center lines of the later photograph are laid over the earlier one. Cracks that run beside each other are one; several
    may have grown together. Lengths of the later photograph are multiplied by how long its pixels are there along the line, widths by how long they are across.

    The standard error of a difference of lengths combines the relative error of each (``SIGMA`` times the median of
    ``errors``), the ends (``ENDS``), and how well the photographs fit; that of widths the spread of the network for that width, twice. A bias is
    the same at both dates and drops out.

    Args:
        before: Cracks of the earlier photograph.
        after: Cracks of the later one.
        registration: How the photographs lie over each other.
        errors: What is known about the measurements of the network, None = nothing.

    Returns:
        Every crack that is seen by both photographs at least in part.
    """
    first = earlier_samples(before, registration)
    second, places = later_samples(after, registration)
    near = max(BESIDE, MISSES * registration.rms_px)
    there, back = _nearest(second.points, first.points), _nearest(first.points, second.points)
    fresh, missing = there[0] > near, back[0] > near
    group = _groups(len(before), len(after), first, second, (there, back), near)
    growths = []
    for number in np.unique(np.concatenate([group[0][first.crack], group[1][second.crack]])).tolist():
        mine, theirs = group[0][first.crack] == number, group[1][second.crack] == number
        growths.append(
            _growth(
                tuple(before[i].number for i in np.unique(first.crack[mine]).tolist()),
                tuple(after[i].number for i in np.unique(second.crack[theirs]).tolist()),
                (first.length[mine], first.width[mine]),
                (second.length[theirs], second.width[theirs]),
                float(second.length[theirs & fresh].sum()),
                errors,
                registration,
            )
        )
    growths.sort(key=lambda one: (-one.new_px, one.before, one.after))
    gone = registration.to_after(first.points[missing])
    return Comparison(registration, tuple(growths), places[fresh], places[~fresh], gone)


def _nearest(points: Floats, others: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """Distance in px float64 (N,) and index int64 (N,) of the nearest of ``others``; infinite without any."""
    if not len(points) or not len(others):
        return np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    apart, index = cKDTree(others).query(points)
    return apart, index


def _groups(
    count_before: int,
    count_after: int,
    first: Samples,
    second: Samples,
    nearest: tuple[tuple[Floats, NDArray[np.int64]], tuple[Floats, NDArray[np.int64]]],
    near: float,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The group of every earlier and of every later crack: those that run beside each other are in one."""
    (apart, index), (apart_back, index_back) = nearest
    beside = np.zeros((2, count_before, count_after))
    if len(first.points) and len(second.points):
        close = apart <= near
        np.add.at(beside[0], (first.crack[index[close]], second.crack[close]), second.length[close])
        close = apart_back <= near
        np.add.at(beside[1], (first.crack[close], second.crack[index_back[close]]), first.length[close])
    lengths = (
        np.bincount(first.crack, first.length, minlength=count_before),
        np.bincount(second.crack, second.length, minlength=count_after),
    )
    shorter = np.minimum(lengths[0][:, None], lengths[1])
    linked = np.argwhere((beside.max(axis=0) >= LINKED * shorter) & (shorter > 0))
    total = count_before + count_after
    links = coo_array((np.ones(len(linked)), (linked[:, 0], count_before + linked[:, 1])), shape=(total, total))
    group = connected_components(links, directed=False)[1].astype(np.int64)
    return group[:count_before], group[count_before:]


def _growth(
    before: tuple[int, ...],
    after: tuple[int, ...],
    first: tuple[Floats, Floats],
    second: tuple[Floats, Floats],
    new_px: float,
    errors: KnownErrors | None,
    registration: Registration,
) -> Growth:
    """The measures of one group: lengths and widths of its samples at both dates."""
    lengths = float(first[0].sum()), float(second[0].sum())
    widths = _mean(first[1], first[0]), _mean(second[1], second[0])
    length_error, width_error = None, None
    if errors is not None and errors.length.typical is not None:
        share = SIGMA * errors.length.typical
        # How far the whole picture may be stretched: its features miss by rms, over its extent.
        stretch = registration.rms_px / (min(registration.before) * math.sqrt(registration.matches)) * lengths[1]
        length_error = math.hypot(share * lengths[0], share * lengths[1], ENDS, stretch)
    if errors is not None:
        spreads = [
            found.spread_px for width in widths if (found := errors.of_width(None if math.isnan(width) else width))
        ]
        known = [spread for spread in spreads if spread is not None]
        width_error = math.hypot(*known) if len(known) == 2 and before and after else None
    return Growth(before, after, *lengths, length_error, *widths, width_error, new_px)


def _mean(values: Floats, weights: Floats) -> float:
    """Weighted mean of those that are known, NaN without any."""
    known = ~np.isnan(values)
    return float(np.average(values[known], weights=weights[known])) if known.any() else math.nan
