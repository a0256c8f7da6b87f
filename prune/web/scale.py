"""The scale of a photograph from two clicks on a known length."""

import math

from prune.errors import UserError

Point = tuple[float, float]
CLOSEST = 10.0
"""px: nearer points are taken for one spot that was clicked twice; as a known length they would be too short anyway."""


def scale_of(first: Point, second: Point, length_mm: float | None) -> float:
    """Side of a pixel on the surface in mm, from two points (x, y) in px of the photograph that are ``length_mm`` apart.

    Raises:
        UserError: for two points on the same spot, and for a length that is no positive number.
    """
    pixels = math.dist(first, second)
    if pixels < CLOSEST:
        raise UserError("expected two different points, found two clicks on the same spot")
    if length_mm is None or not (length_mm > 0 and math.isfinite(length_mm)):
        raise UserError(f"expected a length above 0 mm between the two points, found {length_mm}")
    return length_mm / pixels
