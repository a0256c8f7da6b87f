"""What is measured on a photograph: all cracks together, areas, the scale that turns px into mm, and where it is written."""

import html
import math
import os
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

from prune.errors import UserError


def checked_scale(mm_per_pixel: object) -> float | None:
    """The scale in mm per px as a number, None = unknown.

    Raises:
        TypeError: for anything but a number.
        UserError: for a number that is not above 0.
    """
    if mm_per_pixel is None:
        return None
    if not isinstance(mm_per_pixel, Real) or isinstance(mm_per_pixel, bool):
        raise TypeError(f"mm_per_pixel: expected a number, found {mm_per_pixel!r} ({type(mm_per_pixel).__name__})")
    if not 0 < float(mm_per_pixel) < math.inf:
        raise UserError(f"--mm_per_pixel: expected a number above 0, found {mm_per_pixel}")
    return float(mm_per_pixel)


@dataclass(frozen=True)
class CrackMeasurement:
    """How long and wide the regions of one class are, see ``prune.metrics.measurement``.

    Lengths and widths of a photograph without that class: length 0, widths and orientation NaN, for there is nothing to
    measure.

    Args:
        class_name: What was measured.
        length_px: Length of the center lines, all branches summed.
        width_mean_px: Mean width along them.
        width_max_px: Largest width.
        area_px: Pixels of the class.
        area_share: Their share (0…1) of the photograph.
        components: Pieces that do not touch.
        orientation: Mean direction in degrees, 0 = horizontal, 45 = rising to the right, 90 = vertical.
        mm_per_pixel: Side of a pixel on the surface, None = unknown.
    """

    class_name: str
    length_px: float
    width_mean_px: float
    width_max_px: float
    area_px: int
    area_share: float
    components: int
    orientation: float
    mm_per_pixel: float | None = None

    def _in_mm(self, pixels: float) -> float | None:
        return None if self.mm_per_pixel is None else pixels * self.mm_per_pixel

    @property
    def length_mm(self) -> float | None:
        """Length in mm, None without a scale."""
        return self._in_mm(self.length_px)

    @property
    def width_mean_mm(self) -> float | None:
        """Mean width in mm, None without a scale."""
        return self._in_mm(self.width_mean_px)

    @property
    def width_max_mm(self) -> float | None:
        """Largest width in mm, None without a scale."""
        return self._in_mm(self.width_max_px)

    def __str__(self) -> str:
        scale, unit = (1.0, "px") if self.mm_per_pixel is None else (self.mm_per_pixel, "mm")
        if not self.area_px:
            return f"{self.class_name}: none found"
        return (
            f"{self.class_name}: length {scale * self.length_px:.4g} {unit}, width {scale * self.width_mean_px:.3g} "
            f"{unit} (largest {scale * self.width_max_px:.3g} {unit}), {self.area_share:.2%} of the photograph, "
            f"direction {self.orientation:.0f} degrees"
        )

    def _repr_html_(self) -> str:
        """The sentence, for notebooks."""
        return f"<p>{html.escape(str(self))}</p>"


@dataclass(frozen=True)
class Area:
    """How much of a photograph a class covers.

    Args:
        area_px: Its pixels.
        share: Their share (0…1) of the photograph.
        mm_per_pixel: Side of a pixel on the surface, None = unknown.
    """

    area_px: int
    share: float
    mm_per_pixel: float | None = None

    @property
    def area_mm2(self) -> float | None:
        """Area in mm², None without a scale."""
        return None if self.mm_per_pixel is None else self.mm_per_pixel**2 * self.area_px


def checked_path(path: object, suffix: str, why: str = "") -> Path:
    """A path that a result is written to.

    Args:
        path: What was given.
        suffix: How its name must end.
        why: What the message says after the suffix.

    Raises:
        TypeError, UserError: for no path, and for another ending.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path: expected a path, found {type(path).__name__}")
    if Path(path).suffix.lower() != suffix:
        raise UserError(f"--path: expected a file that ends in {suffix}{why}, found {path}")
    return Path(path)
