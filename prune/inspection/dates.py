"""Two surveys of the same place: which photographs belong together, and how their cracks have grown."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.data.images import read_image
from prune.errors import UserError
from prune.inspection.growth import Comparison, Growth, compare_cracks
from prune.inspection.known_errors import KnownErrors
from prune.inspection.records import PhotoRecord
from prune.inspection.registration import register
from prune.inspection.store import FORMAT, GROWTH, RECORDS, read_record
from prune.inspection.wording import Units
from prune.report.figures import save_image
from prune.report.paper import Picture
from prune.shapes import Many, check_shape, load_json
from prune.tables import harmless, write_csv

NEAR_M = 10.0
"""m between the positions of two photographs that are taken for the same place, when their names differ."""
METERS_PER_DEGREE = 111_320.0


@dataclass(frozen=True, eq=False)
class PhotoGrowth:
    """A photograph and the earlier one of the same place.

    Args:
        photo: The later one.
        earlier: The earlier one, None = there is none.
        growths: Of every crack; empty where they could not be compared.
        problem: Why they could not, empty = they were.
        picture: What is new, a file in the survey's folder; empty = none.
    """

    photo: PhotoRecord
    earlier: PhotoRecord | None
    growths: tuple[Growth, ...] = ()
    problem: str = ""
    picture: str = ""

    @property
    def units(self) -> Units:
        """Everything is given at the scale of the earlier photograph."""
        return Units(None if self.earlier is None else self.earlier.shot.mm_per_pixel)


def read_survey(folder: Path) -> tuple[str, list[PhotoRecord]]:
    """The date and the records of a survey.

    Raises:
        UserError: for a folder that holds none.
    """
    try:
        file = folder / "survey.json"
        content = load_json(file, "a survey")
        check_shape(content, {"format": str, "begun": str, "photographs": Many(str)}, str(file))
        if content["format"] != FORMAT:
            raise UserError(f"{file}: expected the format {FORMAT}, found {content['format']}")
        return content["begun"], [read_record(folder / RECORDS / f"{name}.json") for name in content["photographs"]]
    except UserError as error:
        raise UserError(f"--compare: expected a complete survey in {folder}, found: {error.message}") from error


def earlier_of(photo: PhotoRecord, earlier: Sequence[PhotoRecord]) -> PhotoRecord | None:
    """The earlier photograph of the same place: that of the same name, else the nearest one at most ``NEAR_M`` away."""
    same = next((one for one in earlier if one.name == photo.name), None)
    if same is not None or photo.shot.position is None:
        return same
    apart = [(distance_m(photo, one), number) for number, one in enumerate(earlier) if one.shot.position is not None]
    nearest = min(apart, default=(math.inf, 0))
    return earlier[nearest[1]] if nearest[0] <= NEAR_M else None


def distance_m(photo: PhotoRecord, other: PhotoRecord) -> float:
    """Meters between the positions of two photographs, both known."""
    here, there = photo.shot.position, other.shot.position
    assert here is not None and there is not None
    north = (here.latitude - there.latitude) * METERS_PER_DEGREE
    east = (here.longitude - there.longitude) * METERS_PER_DEGREE * math.cos(math.radians(here.latitude))
    return math.hypot(north, east)


def growth_of(
    photo: PhotoRecord,
    earlier: Sequence[PhotoRecord],
    read: Callable[[PhotoRecord], Picture],
    errors: KnownErrors | None,
    folder: Path,
) -> PhotoGrowth:
    """Compare a photograph with the earlier one of its place, and draw what is new.

    Args:
        photo: The later one.
        earlier: All of the earlier survey.
        read: Reads the later photograph as it was surveyed.
        errors: What is known about the measurements of the network.
        folder: Of the survey.
    """
    before = earlier_of(photo, earlier)
    if before is None:
        return PhotoGrowth(
            photo, None, problem="no photograph of the same name, or near its position, in the other survey"
        )
    try:
        pictures = _earlier_picture(before), read(photo)
        compared: Comparison = compare_cracks(before.cracks, photo.cracks, register(*pictures), errors)
    except UserError as error:
        return PhotoGrowth(photo, before, problem=error.message)
    path = save_image(compared.draw(pictures[1]), folder / GROWTH / f"{photo.name}.jpg")
    return PhotoGrowth(photo, before, compared.growths, picture=path.relative_to(folder).as_posix())


def _earlier_picture(before: PhotoRecord) -> Picture:
    """The earlier photograph.

    Raises:
        UserError: when it is gone, or was surveyed as another picture than its file holds.
    """
    if not Path(before.file).is_file():
        raise UserError(f"{before.file}: expected the earlier photograph, found none: it was moved or removed")
    image = read_image(Path(before.file))
    if image.shape[:2] != (before.height, before.width):
        raise UserError(f"{before.file}: expected {before.width}x{before.height} px as surveyed, found another size")
    return image


HEADER = ("photograph", "cracks", "earlier cracks", "verdict")
MEASURES = ("length_before", "length_after", "length_change", "length_error", "new_length")
WIDTHS = ("width_before", "width_after", "width_change", "width_error")


def write_growth(grown: Sequence[PhotoGrowth], path: Path) -> Path:
    """Write a row per crack as a CSV file, in px of the earlier photograph and in mm where its scale is known."""
    scaled = any(one.units.mm_per_pixel for one in grown)
    units = ("px", "mm") if scaled else ("px",)
    titles = [*HEADER, *(f"{name}_{unit}" for unit in units for name in (*MEASURES, *WIDTHS))]
    rows = [_row(one, growth, units) for one in grown for growth in one.growths]
    return write_csv(titles, rows, path)


def _row(one: PhotoGrowth, growth: Growth, units: Sequence[str]) -> list[Any]:
    row: list[Any] = [harmless(one.photo.name), numbers(growth.after), numbers(growth.before), growth.verdict]
    values = (growth.length_before_px, growth.length_after_px, growth.length_px, growth.length_error_px, growth.new_px)
    widths = (growth.width_before_px, growth.width_after_px, growth.width_px, growth.width_error_px)
    for unit in units:
        factor = 1.0 if unit == "px" else one.units.mm_per_pixel
        known = [None if value is None or math.isnan(value) else value for value in (*values, *widths)]
        row += [None if value is None or factor is None else float(f"{factor * value:.5g}") for value in known]
    return row


def numbers(cracks: Sequence[int]) -> str:
    """Numbers of cracks in a cell."""
    return " + ".join(map(str, cracks))
