"""How large a pixel is on the surface, in mm, and how that is known; without it there are no millimeters."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prune.data.pixel_size import read_scales
from prune.errors import UserError
from prune.inspection.checkerboard import find_board
from prune.inspection.exif import PhotoFacts
from prune.inspection.plane import Plane, front_view, plane_of
from prune.inspection.scale_settings import ScaleSettings
from prune.metrics.measurement import EIGHT_CONNECTED

Mask = NDArray[np.bool_]
Picture = NDArray[np.uint8]
COLUMNS = ("image", "x", "y", "x_mm", "y_mm")
EVERY_IMAGE = "*"
"""Name of an image in the table of points that stands for every photograph: a camera that does not move."""
CLICK = 0.5
"""px: standard error of a coordinate that was clicked on."""
CLOSEST = 2.0
"""px: nearer points are one spot that was clicked on twice."""
TILTED = 10.0
"""Degrees from which the tilt of a checkerboard is mentioned."""
SMALLEST_TARGET = 100
"""px: smaller pieces of the class Control Point are no targets."""


@dataclass(frozen=True)
class Scale:
    """How large a pixel is on the surface.

    Args:
        mm_per_pixel: Side of a pixel in mm; with a ``plane``, that of its front view.
        source: How it is known, in words.
        error: Its relative standard error, None = unknown.
        plane: For oblique views: how places in the photograph become places on the surface. The photograph has to be
            turned into a front view first, whose pixels are all ``mm_per_pixel`` wide (``prune.inspection.plane``).
    """

    mm_per_pixel: float
    source: str
    error: float | None = None
    plane: Plane | None = None

    def __str__(self) -> str:
        spread = "" if self.error is None else f" ± {100 * self.error:.2g}%"
        return f"{self.mm_per_pixel:.4g} mm per pixel{spread} ({self.source})"


def distance_scale(facts: PhotoFacts, distance_m: float) -> Scale | None:
    """The scale at a distance, None when the photograph does not say enough about lens and sensor.

    Ground sampling distance of a pinhole camera: GSD = p · D / c with the pixel pitch p, the distance D, and the distance c
    of the sensor behind the lens (Luhmann et al. 2020, Close-Range Photogrammetry, §3). A lens of focal length f that is
    focused at D has 1/f = 1/c + 1/D, so that GSD = p · (D − f) / f. Without a focal length, but an equivalent one of 35-mm
    film, GSD = D · 43.27 mm / (f35 · diagonal in px).
    """
    angle = facts.pixel_angle
    if angle is None:
        return None
    distance_mm = 1000 * distance_m - (facts.focal_mm or 0.0)
    if distance_mm <= 0:
        raise UserError(f"--distance_m: expected more than the focal length, {facts.focal_mm:g} mm, found {distance_m}")
    if facts.focal_mm and facts.pitch_mm:
        lens = f"focal length {facts.focal_mm:g} mm, pixel pitch {1000 * facts.pitch_mm:.3g} µm"
    else:
        lens = f"focal length {facts.focal_35_mm:g} mm on 35-mm film"
    return Scale(angle * distance_mm, f"distance {distance_m:g} m, {lens} (EXIF)")


def two_point_scale(first: Sequence[float], second: Sequence[float], length_mm: float) -> Scale:
    """The scale from two points (x, y) in px that are ``length_mm`` apart on the surface.

    Raises:
        ValueError: for points on the same spot, and for a length that is not above 0.
    """
    pixels = math.dist(first, second)
    if pixels < CLOSEST:
        raise ValueError("expected two different points, found the same spot twice")
    if not (length_mm > 0 and math.isfinite(length_mm)):
        raise ValueError(f"expected points more than 0 mm apart, found {length_mm}")
    return Scale(length_mm / pixels, f"two points {length_mm:.6g} mm apart", math.sqrt(2) * CLICK / pixels)


def board_scale(image: Picture, square_mm: float, inside: Mask | None = None) -> Scale | None:
    """The scale from a checkerboard in a photograph uint8 (H, W, 3) whose squares are ``square_mm`` wide.

    It holds in the middle of the board. ``inside`` bool (H, W) is where to look. None = no board was found.
    """
    board = find_board(image, inside)
    if board is None:
        return None
    tilt = f", tilted by about {board.tilt:.0f}°" if board.tilt >= TILTED else ""
    columns, rows = board.size
    source = f"checkerboard of {columns} × {rows} corners, squares of {square_mm:g} mm{tilt}"
    return Scale(square_mm / board.square_px, source, board.error)


def target_scale(targets: Mask, target_mm: float) -> Scale | None:
    """The scale from square targets of side ``target_mm``: the root of the area of each piece of a mask bool (H, W).

    Pieces at the border and of fewer than ``SMALLEST_TARGET`` px do not count; of several the median does. None = there is
    none.
    """
    labels, count = ndimage.label(targets, EIGHT_CONNECTED)
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    cut = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    areas[cut] = 0
    areas[0] = 0
    sides = np.sqrt(areas[areas >= SMALLEST_TARGET])
    if not len(sides):
        return None
    side = float(np.median(sides))
    # A border that is off by half a pixel all around changes the side by one.
    error = max(1 / side, float(sides.std() / np.sqrt(len(sides)) / side))
    plural = "s" if len(sides) > 1 else ""
    return Scale(target_mm / side, f"{len(sides)} target{plural} of {target_mm:g} mm", error)


def plane_scale(
    points: NDArray[np.floating], places_mm: NDArray[np.floating], shape: tuple[int, int], source: str = ""
) -> Scale:
    """The scale of the front view of a plane through four or more points, see ``prune.inspection.plane.plane_of``.

    Args:
        points: (N, 2), (x, y) in px.
        places_mm: (N, 2), where they are on the surface in mm.
        shape: Height and width of the photograph in px.
        source: How it is known, in words.

    Raises:
        ValueError: for points that give no plane.
        UserError: for points far beside the photograph.
    """
    plane = plane_of(points, places_mm)
    view = front_view(plane, shape)
    extent = float(np.hypot(*np.ptp(np.asarray(places_mm, float), axis=0)))
    said = source or f"{len(points)} points on the surface"
    return Scale(view.mm_per_pixel, said, math.hypot(plane.rms_mm, view.mm_per_pixel * CLICK) / extent, plane)


def read_points(file: str | Path) -> dict[str, NDArray[np.float64]]:
    """Known points of photographs: float64 (N, 4) with x, y, x_mm, y_mm by the stem of the image.

    Raises:
        UserError: for an unreadable file, missing columns, a cell that is no number, and one or three points of an image.
    """
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            found = reader.fieldnames or ()
            if not set(COLUMNS) <= set(found):
                raise UserError(
                    f"{file}: expected the columns {','.join(COLUMNS)}, found {','.join(found) or 'nothing'}"
                )
            rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a readable CSV file, found: {error}") from error
    points: dict[str, list[list[float]]] = {}
    for number, row in enumerate(rows, 2):
        cells = [row[name] for name in COLUMNS[1:]]
        try:
            values = [float(cell) for cell in cells]
        except (TypeError, ValueError):
            raise UserError(f"{file}, line {number}: expected four numbers, found {cells}") from None
        if not all(map(math.isfinite, values)):
            raise UserError(f"{file}, line {number}: expected four numbers, found {cells}")
        points.setdefault(Path(row["image"] or "").stem, []).append(values)
    for stem, listed in points.items():
        if len(listed) in (1, 3):
            raise UserError(f"{file}, image {stem}: expected two points, or four and more, found {len(listed)}")
    return {stem: np.array(listed) for stem, listed in points.items()}


class ScaleReader:
    """Finds the scale of photographs one by one.

    Args:
        settings: Where it comes from.
        stems: Names of all photographs without folder and suffix.

    Raises:
        UserError: for tables that cannot be read, and for a table of scales without a row for a photograph.
    """

    def __init__(self, settings: ScaleSettings, stems: Sequence[str]) -> None:
        self.settings = settings
        given = settings.mm_per_pixel
        self._given = {} if given is None else read_scales(str(given), stems)
        self._points = {} if settings.points is None else read_points(settings.points)
        if self._points and EVERY_IMAGE not in self._points and not set(stems) & set(self._points):
            raise UserError(f"{settings.points}: expected rows for the photographs, found none for any of them")

    @property
    def needs_image(self) -> bool:
        """Whether it looks into photographs."""
        return self.settings.square_mm is not None

    def scale(self, stem: str, shape: tuple[int, int], facts: PhotoFacts, image: Picture | None = None) -> Scale | None:
        """The scale of one photograph before it is predicted, None = unknown.

        Args:
            stem: Its name without folder and suffix.
            shape: Its height and width in px, upright.
            facts: What it says about itself.
            image: uint8 (H, W, 3), RGB, where ``needs_image``.

        Raises:
            UserError: for points that give no scale; the message names the photograph.
        """
        settings = self.settings
        if stem in self._given:
            return Scale(self._given[stem], "given")
        if settings.distance_m is not None:
            return distance_scale(facts, settings.distance_m)
        if settings.square_mm is not None and image is not None:
            return board_scale(image, settings.square_mm)
        points = self._points.get(stem, self._points.get(EVERY_IMAGE))
        if points is None:
            return None
        try:
            if len(points) > 2:
                return plane_scale(points[:, :2], points[:, 2:], shape)
            first, second = points[:, :2].tolist()
            return two_point_scale(first, second, float(np.hypot(*(points[0] - points[1])[2:])))
        except (UserError, ValueError) as error:
            raise UserError(f"{settings.points}, image {stem}: {error}") from error

    def from_targets(self, targets: Mask) -> Scale | None:
        """The scale from the targets that the network found, bool (H, W); None = unknown, or another source is set."""
        return None if self.settings.target_mm is None else target_scale(targets, self.settings.target_mm)

    def why_not(self, facts: PhotoFacts) -> str:
        """Why a photograph has no scale, in words; empty where none was asked for."""
        if self.settings.distance_m is not None:
            return f"EXIF without {facts.missing[0]}" if facts.pixel_angle is None else ""
        if self.settings.square_mm is not None:
            return "no checkerboard of at least 3 × 3 corners found"
        if self.settings.target_mm is not None:
            return "no whole control point found"
        return f"no points of it in {self.settings.points}" if self.settings.points else ""
