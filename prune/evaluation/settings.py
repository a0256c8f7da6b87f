"""How masks are scored, and what counts as kept."""

from dataclasses import dataclass

from prune.data.settings import CLASS_SETS, PALETTE, PALETTES, DataOptions
from prune.errors import UserError
from prune.inference.settings import CopySettings, LoadSettings
from prune.options import PROTOCOLS, check, option

MAX_TOLERANCE = 64
"""Largest tolerance in px; the largest published one is 32."""
CRACK_ERRORS = ("off", "measure", "store")
"""What is done about the errors of single cracks."""


@dataclass(frozen=True)
class ScoringSettings:
    """How masks from any source are scored."""

    protocol: str = option(
        "plain", "what is scored; s2ds leaves out a band along the borders of areal classes", choices=PROTOCOLS
    )
    tolerances: tuple[int, ...] = option((0, 2, 4, 8), "tolerances of the line scores, in px")
    f1_tolerances: tuple[int, ...] = option((2, 5), "tolerances of the pixel F1, in px")
    boundary_px: int = option(2, "tolerance of boundary F1 and band width of boundary IoU, in px", low=1)
    mm_per_pixel: str | None = option(
        None, "millimeters per pixel: a number, or a CSV file with the columns image,mm_per_pixel"
    )
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
class EvaluateSettings(ScoringSettings, LoadSettings, CopySettings, DataOptions):
    """How networks are scored on labeled images."""

    classes: str | None = option(None, "classes of an export made by another tool", choices=CLASS_SETS)
    resize: int = option(
        0, "scale images to this longer side in px before the network, 0 = whole images as they are", low=0
    )
    crop: int = option(0, "score only the central square of this side in px, 0 = whole images", low=0)
    calibration: bool = option(False, "measure calibration: expected calibration error and reliability diagram")
    crack_errors: str = option(
        "off",
        "compare every crack that is found with the labels, as a survey measures it: measure writes the errors into the "
        "JSON file; store also stores them in the network's file, for the reports of its surveys",
        choices=CRACK_ERRORS,
    )
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes, 0 = do not measure", low=0)
    workers: int = option(1, "processes that read, and as many that score; 0 = none", low=0)
    figures: int = option(0, "photographs on the sheet of errors that goes beside the workbook, 0 = no sheet", low=0)
    palette: str = option("standard", PALETTE, choices=PALETTES)


@dataclass(frozen=True)
class MaskSettings(ScoringSettings, DataOptions):
    """How masks of any program are scored."""

    classes: str = option(
        "auto",
        "classes to score: all of S2DS, or crack and background; auto: crack unless predictions and labels both use S2DS classes",
        choices=("auto", *CLASS_SETS),
    )
    workers: int = option(1, "processes that score, 0 = none", low=0)


@dataclass(frozen=True)
class VerdictLimits:
    """What counts as kept and as lost, in percentage points."""

    keep_miou: float = option(2.0, "mIoU counts as kept when it drops by at most this many points", low=0)
    lose_crack: float = option(5.0, "cracks count as lost when ltIoU@4 drops by more than this many points", low=0)


@dataclass(frozen=True)
class CompareSettings(VerdictLimits):
    """How evaluations are compared."""

    seed: int = option(0, "seed of the bootstrap", low=0)

    def __post_init__(self) -> None:
        check(self)
