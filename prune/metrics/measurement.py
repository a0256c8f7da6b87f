"""Measure cracks as an inspector would: how long, how wide, how many, in which direction."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prune.metrics.skeleton import center_line

Mask = NDArray[np.bool_]
EIGHT_CONNECTED = np.ones((3, 3), dtype=bool)


@dataclass(frozen=True)
class Measurement:
    """Cracks of one mask, in px.

    An empty mask has length, area and components 0; its widths and orientation are NaN, because there is nothing whose
    width could be 0.

    Args:
        length: Length of the center lines, ends included, all branches summed.
        width_sum: Sum of the local widths over the ``pixels`` pixels of the center lines.
        pixels: Pixels of the center lines.
        width_p95: 95th percentile of the local widths.
        width_max: Largest local width.
        area: Pixels of the mask.
        components: 8-connected pieces of the mask.
        direction: (Σ l·cos 2φ, Σ l·sin 2φ) over the pieces of line of length l and direction φ.
    """

    length: float
    width_sum: float
    pixels: int
    width_p95: float
    width_max: float
    area: int
    components: int
    direction: tuple[float, float]

    @property
    def width_mean(self) -> float:
        """Mean local width in px, NaN for an empty mask."""
        return self.width_sum / self.pixels if self.pixels else float("nan")

    @property
    def orientation(self) -> float:
        """Mean direction in degrees, 0 ≤ φ < 180 (see ``axis_degrees``)."""
        return float(axis_degrees(*np.array(self.direction)))


EMPTY = Measurement(0.0, 0.0, 0, float("nan"), float("nan"), 0, 0, (0.0, 0.0))


def axis_degrees(cosines: NDArray[np.float64], sines: NDArray[np.float64]) -> NDArray[np.float64]:
    """Direction of an axis from length-weighted sums of cos 2φ and sin 2φ.

    Returns:
        Degrees, 0 ≤ φ < 180: 0 = horizontal, 45 = rising to the right, 90 = vertical; NaN for a length of 0.
    """
    degrees = np.degrees(np.arctan2(sines, cosines)) / 2 % 180
    degrees = np.where(degrees < 180, degrees, 0.0)  # a tiny negative angle modulo 180 rounds up to 180
    return np.where((cosines == 0) & (sines == 0), np.nan, degrees)


def axis(steps: NDArray[np.float64]) -> tuple[float, float]:
    """Σ l·cos 2φ and Σ l·sin 2φ of steps float64 (N, 2) of length l and direction φ: rows down, columns right, in px."""
    down, right = steps.T
    lengths, angles = np.hypot(down, right), np.arctan2(-down, right)
    return float((lengths * np.cos(2 * angles)).sum()), float((lengths * np.sin(2 * angles)).sum())


def measure(mask: Mask, thinned: Mask | None = None) -> Measurement:
    """Measure a mask bool (H, W); ``thinned`` is the thinned mask, when it is known already.

    The center line is the thinned mask without spurs. Its length sums Euclidean steps (1 straight, √2 diagonal) after
    smoothing the staircase of pixels; at a free end half the width is added, since thinning eats that much. The local
    width is taken from the distance transform at the line (see ``prune.metrics.skeleton``). A mask that fills the whole
    image has no background to be measured against, so its widths are NaN.
    """
    if not mask.any():
        return EMPTY
    line = center_line(mask, thinned)
    known = not np.isnan(line.width).any()
    return Measurement(
        length=line.length,
        width_sum=float(line.width.sum()),
        pixels=len(line.width),
        width_p95=float(np.percentile(line.width, 95)) if known else float("nan"),
        width_max=float(line.width.max()),
        area=int(mask.sum()),
        components=int(ndimage.label(mask, EIGHT_CONNECTED)[1]),
        direction=axis(line.steps[line.straight if line.straight.any() else ...]),
    )
