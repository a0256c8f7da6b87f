"""How masks are scored, and what counts as kept."""

from dataclasses import dataclass

from prune.errors import UserError
from prune.options import check, option

MAX_TOLERANCE = 64
"""Largest tolerance in px; the largest published one is 32."""


@dataclass(frozen=True)
class ScoringSettings:
    """How masks are scored, whoever made them."""

    protocol: str = option("plain", "s2ds leaves out a band along areal classes", choices=("plain", "s2ds"))
    tolerances: tuple[int, ...] = option((0, 2, 4, 8), "of the line scores, in px")
    f1_tolerances: tuple[int, ...] = option((2, 5), "of the pixel F1, in px")
    boundary_px: int = option(2, "tolerance of boundary F1, band of boundary IoU, in px", low=1)
    mm_per_pixel: str | None = option(None, "scale: a number, or a CSV file with the columns image,mm_per_pixel")
    seed: int = option(0, "seed of the bootstrap", low=0)

    def __post_init__(self) -> None:
        check(self)
        for name in ("tolerances", "f1_tolerances"):
            values = getattr(self, name)
            if not values or min(values) < 0 or max(values) > MAX_TOLERANCE or len(set(values)) < len(values):
                found = ",".join(map(str, values)) or "none"
                raise UserError(f"--{name}: expected different numbers from 0 to {MAX_TOLERANCE}, found {found}")
            object.__setattr__(self, name, tuple(sorted(values)))


@dataclass(frozen=True)
class VerdictLimits:
    """What counts as kept and as lost, in points of a hundredth."""

    keep_miou: float = option(2.0, "mIoU counts as kept when it drops by at most this many points", low=0)
    lose_crack: float = option(5.0, "cracks count as lost when ltIoU@4 drops by more than this many points", low=0)
