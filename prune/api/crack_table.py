"""The cracks of a photograph one by one, as an object to look at, draw and write."""

import html
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prune.api.measures import checked_path
from prune.errors import UserError
from prune.report.paper import Picture
from prune.report.tags import Tag, draw_tags
from prune.tables import data_frame, html_table, text_table, write_csv

if TYPE_CHECKING:
    from prune.inspection.cracks import Crack

LENGTHS = ("length", "width_mean", "width_p95", "width_max")
"""What is measured in px and, with a scale, in mm."""
CSV_DIGITS = 6
"""Significant digits in files: far more than is known."""


@dataclass(frozen=True, eq=False)
class CrackTable:
    """The cracks of one photograph, the longest first.

    Without a scale no millimeters appear anywhere.

    Args:
        cracks: What was measured of each, in px (``prune.inspection.cracks.Crack``).
        class_name: The class they belong to.
        mm_per_pixel: Side of a pixel on the surface, None = unknown.
        min_length: Shorter cracks were left out, in px.
        name: Of the photograph's file, empty for an array.
    """

    cracks: "tuple[Crack, ...]"
    class_name: str
    mm_per_pixel: float | None = None
    min_length: float = 0.0
    name: str = ""
    _overlay: Callable[[], Picture] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.cracks)

    @property
    def length_px(self) -> float:
        """Length of all cracks in px."""
        return float(sum(crack.length_px for crack in self.cracks))

    @property
    def length_mm(self) -> float | None:
        """Length of all cracks in mm, None without a scale."""
        return None if self.mm_per_pixel is None else self.mm_per_pixel * self.length_px

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of the data frame and of the CSV file."""
        scaled = [] if self.mm_per_pixel is None else [*(f"{name}_mm" for name in LENGTHS), "area_mm2"]
        places = ["width_max_row", "width_max_column", "top", "left", "height", "width"]
        shape = ["orientation_deg", "tortuosity", "branches", "probability"]
        return ("number", *scaled, *(f"{name}_px" for name in LENGTHS), "area_px", *shape, *places)

    def _row(self, crack: "Crack") -> dict[str, Any]:
        values: dict[str, Any] = {f"{name}_px": getattr(crack, f"{name}_px") for name in (*LENGTHS, "area")}
        if self.mm_per_pixel is not None:
            values |= {f"{name}_mm": self.mm_per_pixel * values[f"{name}_px"] for name in LENGTHS}
            values["area_mm2"] = self.mm_per_pixel**2 * crack.area_px
        values |= {"number": crack.number, "orientation_deg": crack.orientation, "tortuosity": crack.tortuosity}
        values |= {"branches": crack.branches, "probability": crack.probability}
        values |= dict(zip(("width_max_row", "width_max_column"), crack.width_max_at, strict=True))
        values |= dict(zip(("top", "left", "height", "width"), crack.box, strict=True))
        return {name: values[name] for name in self.columns}

    def to_frame(self) -> Any:
        """A pandas ``DataFrame`` with a row per crack; a list of dicts where pandas is not installed.

        Columns are those of ``columns``: lengths, widths and boxes in px, with a scale also in mm, directions in degrees.
        """
        frame = data_frame([self._row(crack) for crack in self.cracks])
        return frame if isinstance(frame, list) else frame.reindex(columns=list(self.columns))

    def to_csv(self, path: str | Path) -> Path:
        """Write a row per crack as a CSV file and return its path; what is unknown is blank.

        Raises:
            TypeError, UserError: for no path, another ending than .csv, and a file that cannot be written.
        """
        file = checked_path(path, ".csv")
        rows = [[_cell(value) for value in self._row(crack).values()] for crack in self.cracks]
        return write_csv(self.columns, rows, file)

    def draw(self, image: Picture | None = None) -> Picture:
        """A picture with the number and length of every crack, uint8 (H, W, 3), RGB.

        Text grows with the picture. One whose longer side is below 480 px is enlarged by a whole factor. Where there is no
        room for the length, only the number is drawn.

        Args:
            image: What to draw on, uint8 (H, W, 3), RGB; None = the photograph with the cracks in color.

        Raises:
            UserError: without an image for a table that no photograph belongs to.
        """
        if image is None:
            if self._overlay is None:
                raise UserError("--image: expected pixels to draw on, found a table without a photograph")
            image = self._overlay()
        scale, unit = self._scale
        tags = [
            Tag(crack.segments[0].line, f"{crack.number}: {_number(scale * crack.length_px)} {unit}", str(crack.number))
            for crack in self.cracks
        ]
        return draw_tags(image, tags)

    @property
    def _scale(self) -> tuple[float, str]:
        return (1.0, "px") if self.mm_per_pixel is None else (self.mm_per_pixel, "mm")

    def _shown(self) -> tuple[list[str], list[list[str]]]:
        """Header and cells of the table that is shown."""
        scale, unit = self._scale
        head = ["crack", f"length {unit}", f"mean width {unit}", f"largest width {unit}", "direction °", "branches"]
        measures = ("length_px", "width_mean_px", "width_max_px")
        return head, [
            [
                str(crack.number),
                *(_number(scale * getattr(crack, name)) for name in measures),
                "" if math.isnan(crack.orientation) else str(round(crack.orientation) % 180),
                str(crack.branches),
            ]
            for crack in self.cracks
        ]

    @property
    def _sum(self) -> str:
        """One line about all of them."""
        scale, unit = self._scale
        count, left_out = (
            len(self.cracks),
            f" (shorter than {self.min_length:g} px left out)" if self.min_length else "",
        )
        if not count:
            return f"{self.class_name}: none found{left_out}"
        return f"{self.class_name}: {count} found{left_out}, total length {scale * self.length_px:.4g} {unit}"

    def __str__(self) -> str:
        return "\n".join([text_table(*self._shown()), self._sum] if self.cracks else [self._sum])

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        return (html_table(*self._shown()) if self.cracks else "") + f"<p>{html.escape(self._sum)}</p>"


def _number(value: float) -> str:
    """A measure with three digits, at most two after the decimal point; blank when it is unknown."""
    if math.isnan(value):
        return ""
    return f"{value:.{2 if value < 9.995 else 1 if value < 99.95 else 0}f}"


def _cell(value: float) -> float | int | None:
    if isinstance(value, int):
        return value
    return None if np.isnan(value) else float(f"{value:.{CSV_DIGITS}g}")
