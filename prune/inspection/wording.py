"""How measures are written: in mm only where the scale is known, and never finer than a pixel can tell."""

import math
from dataclasses import dataclass

RESOLUTION_PX = 1.0
"""Widths below one pixel are not resolved (docs/measuring.md): they are given as "less than", not as a number."""
UNKNOWN = "–"
"""A measure that is not known."""


def rounded(value: float) -> str:
    """A number with three digits, at most two after the decimal point, as tables of cracks show it."""
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"


@dataclass(frozen=True)
class Units:
    """How px are written.

    Args:
        mm_per_pixel: None = unknown: everything stays in px.
    """

    mm_per_pixel: float | None = None

    @property
    def unit(self) -> str:
        """The unit of lengths and widths: mm or px."""
        return "px" if self.mm_per_pixel is None else "mm"

    @property
    def factor(self) -> float:
        """What px are multiplied by."""
        return 1.0 if self.mm_per_pixel is None else self.mm_per_pixel

    @property
    def limit(self) -> str:
        """The resolution limit with its unit; a scale finer than 0.01 mm keeps three digits."""
        value = self.factor * RESOLUTION_PX
        return f"{value:.3g} {self.unit}"

    def length(self, px: float | None) -> str:
        """A length without its unit."""
        return UNKNOWN if px is None or math.isnan(px) else rounded(self.factor * px)

    def width(self, px: float | None) -> str:
        """A width without its unit; one below the resolution limit is "< limit"."""
        if px is None or math.isnan(px):
            return UNKNOWN
        if px < RESOLUTION_PX:
            return f"< {self.factor * RESOLUTION_PX:.3g}"
        return rounded(self.factor * px)

    def area(self, px: float) -> str:
        """An area with its unit: px, mm², or from 0.1 m² on m²."""
        if self.mm_per_pixel is None:
            return f"{px:,.0f} px"
        square = self.mm_per_pixel**2 * px
        return f"{square / 1e6:.2f} m²" if square >= 1e5 else f"{square:,.0f} mm²"

    def with_unit(self, text: str) -> str:
        """A written measure with the unit behind it."""
        return text if text == UNKNOWN else f"{text} {self.unit}"


def signed(value: float) -> str:
    """A difference with its sign, as ``rounded``; what rounds to nothing has none."""
    text = rounded(value)
    return text.lstrip("-") if not float(text) else text if value < 0 else f"+{text}"


def counted(number: int, thing: str) -> str:
    """How many things, as in "1 crack", "2 cracks"."""
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def direction(degrees: float | None) -> str:
    """The direction of a crack in whole degrees."""
    return UNKNOWN if degrees is None else str(round(degrees) % 180)
