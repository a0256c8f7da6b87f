"""Tables of a survey: one row per crack, per photograph, and per total; mm only where the scale is known."""

from collections.abc import Sequence
from typing import Any

from prune.inspection.findings import UNLIKE, Findings, crack_id
from prune.inspection.records import CrackRecord, PhotoRecord
from prune.inspection.wording import RESOLUTION_PX

LENGTHS = ("length", "width_mean", "width_p95", "width_max")
DIGITS = 6
"""Significant digits in files: far more than is known."""
Table = tuple[list[str], list[list[Any]]]
"""Titles of the columns, and rows; None is blank."""


def crack_table(found: Findings) -> Table:
    """A row per crack. A width below the resolution limit is the text "< limit", in px and in mm."""
    scaled, placed = found.scaled, found.placed
    titles = ["photograph", "crack", "id"]
    titles += [f"{name}_mm" for name in LENGTHS] + ["area_mm2", "mm_per_pixel"] if scaled else []
    titles += [*(f"{name}_px" for name in LENGTHS), "area_px", "orientation_deg", "tortuosity", "branches"]
    titles += ["probability", "width_max_row", "width_max_column", "top", "left", "height", "width"]
    titles += ["width_bias_px", "width_spread_px"] if found.about.errors else []
    titles += ["latitude", "longitude"] if placed else []
    return titles, [_crack_row(found, photo, crack, scaled, placed) for photo, crack in found.cracks]


def _crack_row(found: Findings, photo: PhotoRecord, crack: CrackRecord, scaled: bool, placed: bool) -> list[Any]:
    row: list[Any] = [photo.name, crack.number, crack_id(photo, crack)]
    scale, position = photo.shot.mm_per_pixel, photo.shot.position
    if scaled:
        row += [None] * 6 if scale is None else [*_lengths(crack, scale), _short(crack.area_px * scale**2), scale]
    row += [*_lengths(crack, 1.0), crack.area_px, _short(crack.orientation), _short(crack.tortuosity), crack.branches]
    row += [_short(crack.probability), *crack.width_max_at, *crack.box]
    if found.about.errors:
        error = found.about.errors.of_width(crack.width_mean_px)
        row += [_short(error.bias_px), _short(error.spread_px)] if error else [None, None]
    if placed:
        row += [position.latitude, position.longitude] if position else [None, None]
    return row


def _lengths(crack: CrackRecord, factor: float) -> list[Any]:
    """Length and widths times a factor."""
    return [_short(factor * crack.length_px), *(_width(getattr(crack, f"{n}_px"), factor) for n in LENGTHS[1:])]


def _width(px: float | None, factor: float) -> Any:
    if px is not None and px < RESOLUTION_PX:
        return f"< {factor * RESOLUTION_PX:.3g}"
    return None if px is None else _short(factor * px)


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")


def photo_table(found: Findings) -> Table:
    """A row per photograph, the broken ones with their cause."""
    areas, scaled = list(found.areas()), found.scaled
    titles = ["photograph", "file", "width_px", "height_px", "cracks"]
    titles += ["length_mm", "width_max_mm", "mm_per_pixel", "scale_from"] if scaled else []
    titles += ["length_px", "width_max_px", *(f"{name} share" for name in areas)]
    titles += ["latitude", "longitude", "altitude_m", "unlike_tested", "remark"]
    rows = [_photo_row(photo, areas, scaled, found.placed) for photo in found.photos]
    blank = [None] * (len(titles) - 3)
    return titles, [*rows, *([None, one.file, *blank, f"not surveyed: {one.cause}"] for one in found.broken)]


def _photo_row(photo: PhotoRecord, areas: Sequence[str], scaled: bool, placed: bool) -> list[Any]:
    shot, width = photo.shot, photo.width_max_px
    row: list[Any] = [photo.name, photo.file, photo.width, photo.height, len(photo.cracks)]
    if scaled:
        scale = shot.mm_per_pixel
        row += [None] * 4 if scale is None else [_short(scale * photo.length_px), _width(width, scale), scale]
        row += [] if scale is None else [shot.scale_from]
    shares = {area.class_name: photo.share(area) for area in photo.areas}
    row += [_short(photo.length_px), _width(width, 1.0), *(_short(shares.get(name, 0.0)) for name in areas)]
    place = shot.position
    row += [place.latitude, place.longitude, place.altitude_m] if place else [None] * 3
    return [*row, _short(photo.unlike), "; ".join(remarks(photo, placed)) or None]


def remarks(photo: PhotoRecord, placed: bool = False) -> list[str]:
    """What is to be said of a photograph; that it has no position only where others are ``placed``."""
    strange = photo.unlike is not None and photo.unlike >= UNLIKE
    said = ["unlike the photographs the network was tested on"] if strange else []
    said += ["no GPS position in the file"] if placed and photo.shot.position is None else []
    return [*said, *photo.shot.notes]


def total_table(found: Findings) -> Table:
    """Name, value and unit of every sum."""
    rows: list[list[Any]] = [
        ["photographs", len(found.photos), None],
        ["photographs not surveyed", len(found.broken), None],
        ["photographs with cracks", sum(bool(photo.cracks) for photo in found.photos), None],
        ["cracks", len(found.cracks), None],
        ["total length of cracks", _short(found.length_px), "px"],
    ]
    if found.length_mm is not None:
        rows += [["total length of cracks in photographs with a scale", _short(found.length_mm), "mm"]]
        rows += [["photographs without a scale", len(found.unscaled), None]]
    rows += [["cracks with a mean width below the resolution limit", found.unresolved, None]]
    for name, (pixels, share) in found.areas().items():
        rows += [[f"{name}, area", pixels, "px"], [f"{name}, share of all photographs", _short(share), None]]
    if found.about.errors and found.about.errors.likeness:
        rows += [["photographs unlike those the network was tested on", len(found.unlike), None]]
    return ["total", "value", "unit"], rows


def settings_table(found: Findings) -> Table:
    """Name and value of everything the survey was made with."""
    about = found.about
    rows: list[list[Any]] = [["survey", about.title], ["begun", about.begun], ["network", about.network]]
    return ["setting", "value"], [*rows, *([name, value] for name, value in about.settings.items())]
