"""Where photographs were taken: as GeoJSON for maps, and as a small drawing for the report."""

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prune.files import write_json
from prune.inspection.findings import Findings
from prune.inspection.records import PhotoRecord
from prune.inspection.rows import remarks
from prune.inspection.wording import RESOLUTION_PX, Units

METERS_PER_DEGREE = 111_320.0
"""Of latitude; of longitude times the cosine of the latitude."""
SIDE, MARGIN = 640, 40
"""px of the drawing and of the free space around its points."""


def placed(photos: Sequence[PhotoRecord]) -> list[PhotoRecord]:
    """Photographs whose position is known."""
    return [photo for photo in photos if photo.shot.position is not None]


def write_geojson(found: Findings, path: Path) -> Path | None:
    """Write a point per photograph with what was found there (RFC 7946, WGS 84); None where no position is known."""
    photos = placed(found.photos)
    if not photos:
        return None
    return write_json(path, {"type": "FeatureCollection", "features": [_feature(photo) for photo in photos]})


def _feature(photo: PhotoRecord) -> dict[str, Any]:
    place, scale = photo.shot.position, photo.shot.mm_per_pixel
    assert place is not None
    coordinates = [place.longitude, place.latitude, *([] if place.altitude_m is None else [place.altitude_m])]
    properties: dict[str, Any] = {"photograph": photo.name, "cracks": len(photo.cracks)}
    properties |= {"length_px": round(photo.length_px, 2)}
    width = photo.width_max_px
    for unit, factor in {"px": 1.0, **({} if scale is None else {"mm": scale})}.items():
        properties[f"length_{unit}"] = round(factor * photo.length_px, 2)
        if width is not None:
            below = width < RESOLUTION_PX
            properties[f"width_max_{unit}"] = f"< {factor:.3g}" if below else round(factor * width, 3)
    properties |= {f"{area.class_name} share": round(photo.share(area), 6) for area in photo.areas}
    properties |= {"remark": "; ".join(remarks(photo))} if remarks(photo) else {}
    return {"type": "Feature", "geometry": {"type": "Point", "coordinates": coordinates}, "properties": properties}


def map_svg(photos: Sequence[PhotoRecord], number: dict[str, int]) -> str:
    """Positions as an inline SVG with a scale bar, north up; the more crack a photograph shows, the larger its point.

    Args:
        photos: With a position.
        number: Of each photograph in the report, by name.
    """
    places = [photo.shot.position for photo in photos if photo.shot.position is not None]
    middle = sum(place.latitude for place in places) / len(places)
    shrink = math.cos(math.radians(middle))
    east = [place.longitude * METERS_PER_DEGREE * shrink for place in places]
    north = [place.latitude * METERS_PER_DEGREE for place in places]
    extent = max(max(east) - min(east), max(north) - min(north), 1.0)
    factor = (SIDE - 2 * MARGIN) / extent
    height = 2 * MARGIN + factor * (max(north) - min(north))
    longest = max(photo.length_px for photo in photos) or 1.0
    marks = []
    for photo, x, y in zip(photos, east, north, strict=True):
        left, top = MARGIN + factor * (x - min(east)), MARGIN + factor * (max(north) - y)
        radius = 4 + 8 * math.sqrt(photo.length_px / longest)
        title = f"{number[photo.name]}: {photo.name}, {len(photo.cracks)} cracks"
        marks.append(
            f'<a href="#photo-{number[photo.name]}"><circle cx="{left:.1f}" cy="{top:.1f}" r="{radius:.1f}" '
            f'class="{"found" if photo.cracks else "clear"}"><title>{html.escape(title)}</title></circle>'
            f'<text x="{left + radius + 2:.1f}" y="{top + 4:.1f}">{number[photo.name]}</text></a>'
        )
    bar = _bar(extent)
    ends = f'x1="{MARGIN}" x2="{MARGIN + factor * bar:.1f}" y1="{height + 8:.1f}" y2="{height + 8:.1f}"'
    label = f"{bar:g} m" if bar < 1000 else f"{bar / 1000:g} km"
    return (
        f'<svg class="map" viewBox="0 0 {SIDE} {height + 34:.0f}" role="img" aria-label="Map of the photographs">'
        f"{''.join(marks)}<line {ends}/>"
        f'<text x="{MARGIN}" y="{height + 26:.1f}">{label}, north is up</text></svg>'
    )


def _bar(extent: float) -> float:
    """Length of the scale bar in m: 1, 2 or 5 times a power of ten, at most a third of the map."""
    power = 10.0 ** math.floor(math.log10(extent / 3))
    return max(step * power for step in (1, 2, 5) if step * power <= extent / 3)


def where(photo: PhotoRecord) -> str:
    """The position of a photograph in words, empty = unknown."""
    place = photo.shot.position
    if place is None:
        return ""
    sides = ("N" if place.latitude >= 0 else "S"), ("E" if place.longitude >= 0 else "W")
    height = "" if place.altitude_m is None else f", {place.altitude_m:.0f} m"
    return f"{abs(place.latitude):.6f}° {sides[0]}, {abs(place.longitude):.6f}° {sides[1]}{height}"


def scale_words(photo: PhotoRecord) -> str:
    """The scale of a photograph in words."""
    scale = Units(photo.shot.mm_per_pixel)
    if scale.mm_per_pixel is None:
        return "no scale: lengths and widths in px"
    return f"{scale.mm_per_pixel:.4g} mm per px" + (f" ({photo.shot.scale_from})" if photo.shot.scale_from else "")
