"""The cracks of an orthophoto as lines on the map, with lengths and widths as attributes."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.inspection.geo_files import Feature, Value, write_geojson, write_geopackage
from prune.inspection.orthophoto import Orthophoto
from prune.inspection.records import CrackRecord
from prune.inspection.wording import RESOLUTION_PX, Units

LAYER = "cracks"
"""Name of the layer of a GeoPackage."""
DIGITS = 4
"""Significant digits of attributes: more than is known."""


def write_crack_map(
    photo: Orthophoto,
    cracks: Sequence[CrackRecord],
    mm_per_pixel: float | None,
    geojson: str | Path | None,
    geopackage: str | Path | None,
) -> tuple[Path, ...]:
    """Write the center lines of cracks in coordinates of the map.

    Args:
        photo: The orthophoto they are of.
        cracks: What was measured.
        mm_per_pixel: Size of a pixel on the surface, None = unknown: lengths and widths are in px.
        geojson: File in degrees (WGS 84); not written for an orthophoto that has no place on Earth.
        geopackage: File in the coordinate system of the orthophoto; in px, with y up, where it has none.

    Returns:
        The files that were written.

    Raises:
        UserError: when they cannot be written.
    """
    written = []
    if geojson is not None and photo.to_degrees(np.zeros((1, 2))) is not None:
        written.append(write_geojson(geojson, _features(cracks, mm_per_pixel, photo, degrees=True)))
    if geopackage is not None:
        features = _features(cracks, mm_per_pixel, photo, degrees=False)
        written.append(write_geopackage(geopackage, LAYER, _columns(mm_per_pixel), features, photo.system))
    return tuple(written)


def _columns(scale: float | None) -> dict[str, type]:
    """Attributes and their types, in mm where the scale is known and in px where it is not."""
    unit = Units(scale).unit
    measures = {f"{name}_{unit}": float for name in ("length", "width_mean", "width_p95", "width_max")}
    return {"number": int, **measures, "width": str, "orientation_deg": float, "branches": int, "probability": float}


def _features(
    cracks: Iterable[CrackRecord], scale: float | None, photo: Orthophoto, *, degrees: bool
) -> Iterator[Feature]:
    for crack in cracks:
        lines = []
        for line in crack.lines:
            places = _ends(np.array(line, float)[:, ::-1])
            placed = photo.to_degrees(places) if degrees else photo.to_map(places)
            assert placed is not None
            lines.append([(x, y) for x, y in placed.tolist()])
        yield Feature(lines, _attributes(crack, scale))


def _ends(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """A line (N, 2) (x, y) in px with two ends: a single pixel becomes a line across it."""
    return points if len(points) > 1 else points[0] + np.array([[-0.5, 0], [0.5, 0]])


def _attributes(crack: CrackRecord, scale: float | None) -> dict[str, Value]:
    """Measures of a crack; a width that is not resolved is blank, and ``width`` says what it is less than."""
    written = Units(scale)
    known = {
        f"{name}_{written.unit}": getattr(crack, f"{name}_px") for name in ("width_mean", "width_p95", "width_max")
    }
    widths = {
        name: None if px is None or px < RESOLUTION_PX else _digits(written.factor * px) for name, px in known.items()
    }
    return {
        "number": crack.number,
        f"length_{written.unit}": _digits(written.factor * crack.length_px),
        **widths,
        "width": written.with_unit(written.width(crack.width_max_px)),
        "orientation_deg": _digits(crack.orientation),
        "branches": crack.branches,
        "probability": _digits(crack.probability),
    }


def _digits(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.{DIGITS}g}")
