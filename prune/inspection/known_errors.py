"""The error that a network's measurements showed on labeled photographs: what a report prints beside each measure.

Every crack that is found is compared with the label around it: the mean width there, over the part of its center line that
has a labeled line at most ``TOLERANCE`` px away. Widths are grouped by what was *measured*, because that is what a reader of
a report knows.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from itertools import pairwise
from statistics import fmean, median, stdev
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from prune.inspection.cracks import Crack
from prune.inspection.likeness import Likeness
from prune.metrics.skeleton import center_line
from prune.shapes import Many, Maybe, check_shape

FORMAT, VERSION = "crack-errors", 1
TOLERANCE = 4.0
"""px between center lines of the same crack."""
MATCHED = 0.5
"""Share of a found crack's line that must have a labeled one beside it for its width to be compared."""
WIDTH_CLASSES = (0.0, 2.0, 3.0, 4.0, 6.0, 10.0, math.inf)
"""Bounds in px of the classes of measured mean width."""
_WIDTH = {"low": float, "high": Maybe(float), "cracks": int, "bias_px": Maybe(float), "spread_px": Maybe(float)}
_LENGTH = {"labeled_px": float, "measured_px": float, **dict.fromkeys(("typical", "found", "real"), Maybe(float))}
SHAPE = {
    **{"data": str, "images": int, "width": str, "min_length": float},
    "widths": Many(_WIDTH),
    "all_widths": _WIDTH,
    "length": _LENGTH,
    "likeness": Maybe({"mean": Many(float), "covariance": Many(Many(float)), "limit": float}),
}
"""What the errors hold as JSON."""
FEWEST = 5
"""Cracks, below which a class of widths has no error of its own."""


@dataclass(frozen=True)
class WidthError:
    """How far measured mean widths were from those of the labels, over the cracks of one class.

    Args:
        low: Smallest measured mean width of the class in px.
        high: Where the next class begins, None = open.
        cracks: How many there were.
        bias_px: Mean of measured minus labeled, None for fewer than ``FEWEST``.
        spread_px: Standard deviation of the same.
    """

    low: float
    high: float | None
    cracks: int
    bias_px: float | None
    spread_px: float | None

    def __str__(self) -> str:
        return f"{self.low:g} px and more" if self.high is None else f"{self.low:g} to {self.high:g} px"


@dataclass(frozen=True)
class LengthError:
    """How far measured lengths were from those of the labels.

    Args:
        labeled_px: Total length of the labeled cracks.
        measured_px: Total length measured.
        typical: Median over photographs with labeled cracks of the relative difference without sign; None without any.
        found: Share (0…1) of the labeled center line with a measured one at most ``TOLERANCE`` px away; None = no line.
        real: Share of the measured center line with a labeled one there; None = no line.
    """

    labeled_px: float
    measured_px: float
    typical: float | None
    found: float | None
    real: float | None

    @property
    def bias(self) -> float | None:
        """Total measured length over the labeled one, minus 1; None without labeled cracks."""
        return self.measured_px / self.labeled_px - 1 if self.labeled_px else None


@dataclass(frozen=True)
class KnownErrors:
    """What is known about the measurements of a network.

    Args:
        data: The photographs it was tested on.
        images: How many.
        width: How widths were measured, see ``prune.inspection.settings.MeasureSettings``.
        min_length: Cracks left out, in px.
        widths: Errors by class of measured mean width.
        all_widths: Of all cracks together.
        length: Of lengths.
        likeness: What the photographs look like, None = too few.
    """

    data: str
    images: int
    width: str
    min_length: float
    widths: tuple[WidthError, ...]
    all_widths: WidthError
    length: LengthError
    likeness: Likeness | None

    def of_width(self, px: float | None) -> WidthError | None:
        """The error of a measured mean width in px: that of its class, where it holds too few cracks that of all.

        None where nothing is known.
        """
        if px is None:
            return None
        own = next((one for one in self.widths if one.low <= px < (one.high or math.inf)), None)
        best = own if own is not None and own.bias_px is not None else self.all_widths
        return best if best.bias_px is not None else None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"format": FORMAT, "version": VERSION, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "KnownErrors":
        """What ``to_json`` made.

        Raises:
            UserError, ValueError: for anything else; the message says what.
        """
        check_shape(content, {"format": str, "version": int}, "the errors")
        if content["format"] != FORMAT or content["version"] != VERSION:
            raise ValueError(f"expected {FORMAT} {VERSION}, found {content['format']} {content['version']}")
        check_shape(content, SHAPE, "the errors")
        likeness = content["likeness"]
        return cls(
            data=str(content["data"]),
            images=int(content["images"]),
            width=str(content["width"]),
            min_length=float(content["min_length"]),
            widths=tuple(_known(WidthError, one) for one in content["widths"]),
            all_widths=_known(WidthError, content["all_widths"]),
            length=_known(LengthError, content["length"]),
            likeness=None if likeness is None else Likeness.from_json(likeness),
        )


def _known(kind: type[Any], content: Mapping[str, Any]) -> Any:
    """``kind`` with those of the values that it has."""
    return kind(**{item.name: content[item.name] for item in fields(kind)})


@dataclass
class ErrorCounts:
    """Collects photographs; ``result`` says what they show."""

    pairs: list[tuple[float, float]] = field(default_factory=list)
    lengths: list[tuple[float, float]] = field(default_factory=list)
    lines: NDArray[np.int64] = field(default_factory=lambda: np.zeros(4, np.int64))
    rows: list[NDArray[np.float64]] = field(default_factory=list)

    def add(self, found: Sequence[Crack], labeled: Sequence[Crack], label: NDArray[np.bool_]) -> None:
        """Count a photograph.

        Args:
            found: The cracks measured in it.
            labeled: The cracks measured in its label.
            label: The label, bool (H, W).
        """
        self.lengths.append((sum(c.length_px for c in found), sum(c.length_px for c in labeled)))
        own = np.concatenate([crack.line for crack in found]) if found else np.empty((0, 2), np.int64)
        line = center_line(label) if label.any() else None
        theirs = line.graph.points if line is not None else np.empty((0, 2), np.int64)
        apart, nearest = _nearest(own, theirs)
        near = apart <= TOLERANCE
        self.lines += (near.sum(), len(own), (_nearest(theirs, own)[0] <= TOLERANCE).sum(), len(theirs))
        ends = np.cumsum([len(crack.line) for crack in found])
        for crack, end in zip(found, ends.tolist(), strict=True):
            part = slice(end - len(crack.line), end)
            if line is not None and near[part].mean() >= MATCHED:
                width = float(line.width[nearest[part][near[part]]].mean())
                if not math.isnan(width + crack.width_mean_px):
                    self.pairs.append((crack.width_mean_px, width))

    def result(self, data: str, width: str, min_length: float) -> KnownErrors:
        """What the photographs of ``data`` show, measured with these settings."""
        widths = tuple(self._widths(low, high) for low, high in pairwise(WIDTH_CLASSES))
        relative = [abs(found / labeled - 1) for found, labeled in self.lengths if labeled]
        real, own, recalled, theirs = self.lines.tolist()
        length = LengthError(
            labeled_px=float(sum(labeled for _, labeled in self.lengths)),
            measured_px=float(sum(found for found, _ in self.lengths)),
            typical=median(relative) if relative else None,
            found=recalled / theirs if theirs else None,
            real=real / own if own else None,
        )
        every = self._widths(0.0, math.inf)
        return KnownErrors(data, len(self.lengths), width, min_length, widths, every, length, Likeness.of(self.rows))

    def _widths(self, low: float, high: float) -> WidthError:
        errors = [measured - labeled for measured, labeled in self.pairs if low <= measured < high]
        known = len(errors) >= FEWEST
        bias, spread = (fmean(errors), stdev(errors)) if known else (None, None)
        return WidthError(low, None if math.isinf(high) else high, len(errors), bias, spread)


def _nearest(points: NDArray[np.int64], others: NDArray[np.int64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance in px float64 (N,) and index int64 (N,) of the nearest of ``others`` to each point; infinite without any."""
    if not len(others) or not len(points):
        return np.full(len(points), np.inf), np.zeros(len(points), np.int64)
    apart, nearest = cKDTree(others, balanced_tree=False).query(points)
    return apart, nearest
