"""Crack widths that standards name, as context for the widths of a survey; never a verdict on safety."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.inspection.records import CrackRecord, PhotoRecord
from prune.inspection.wording import RESOLUTION_PX


@dataclass(frozen=True)
class WidthLimit:
    """A width that a standard gives for some exposure.

    Args:
        mm: The width.
        source: The standard.
        exposure: What it is given for.
    """

    mm: float
    source: str
    exposure: str


EN, ACI = "EN 1992-1-1", "ACI 224R-01"
LIMITS = (
    WidthLimit(0.10, ACI, "water-retaining structures"),
    WidthLimit(0.15, ACI, "seawater and spray, wetting and drying"),
    WidthLimit(0.18, ACI, "deicing chemicals"),
    WidthLimit(0.20, EN, "prestressed members with bonded tendons, X0, XC1 to XC4"),
    WidthLimit(0.30, EN, "reinforced members, XC2 to XC4, XD1, XD2, XS1 to XS3"),
    WidthLimit(0.30, ACI, "humidity, moist air, soil"),
    WidthLimit(0.40, EN, "reinforced members, X0, XC1"),
    WidthLimit(0.41, ACI, "dry air or protective membrane"),
)
"""Recommended limits of the calculated width of EN 1992-1-1:2004, table 7.1N, and the guide to reasonable widths of
ACI 224R-01, table 4.1."""


@dataclass(frozen=True)
class Wider:
    """How many cracks are wider than a limit.

    Args:
        limit: Which.
        cracks: Those whose 95th percentile of the width along the line is above it.
        length_mm: Their length.
        unresolved: Cracks in photographs in which the limit is below the resolution limit: they may be on either side.
    """

    limit: WidthLimit
    cracks: int
    length_mm: float
    unresolved: int


def wider_than(cracks: Sequence[tuple[PhotoRecord, CrackRecord]]) -> list[Wider]:
    """Every limit with the cracks above it, by the width that 95% of a crack's line stay below, as the standards' w_k.

    Args:
        cracks: Those of photographs without a scale do not count.
    """
    widths = [
        (crack.width_p95_px, photo.shot.mm_per_pixel, crack.length_px)
        for photo, crack in cracks
        if crack.width_p95_px is not None and photo.shot.mm_per_pixel is not None
    ]
    rows = []
    for limit in LIMITS:
        above = [
            scale * length
            for px, scale, length in widths
            if px is not None and scale is not None and px >= RESOLUTION_PX and px * scale > limit.mm
        ]
        unclear = sum(
            px is not None and scale is not None and px < RESOLUTION_PX and limit.mm < RESOLUTION_PX * scale
            for px, scale, _ in widths
        )
        rows.append(Wider(limit, len(above), sum(above), unclear))
    return rows
