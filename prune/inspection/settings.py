"""How cracks are measured and surveys made; light enough for ``--help``."""

from dataclasses import dataclass

from prune.data.settings import PALETTE, PALETTES
from prune.errors import UserError
from prune.inference.settings import CopySettings
from prune.inspection.scale_settings import ScaleSettings
from prune.options import check, option

WIDTH_METHODS = ("auto", "mask", "profile")
"""How widths are measured: from the mask, from the probability across the line, or from the latter where it can be."""


@dataclass(frozen=True)
class MeasureSettings:
    """What counts as a crack, and how its width is measured."""

    min_length: float = option(10.0, "shorter cracks are left out, in px", low=0)
    width: str = option("auto", "auto: from the probability where it is known and falls off", choices=WIDTH_METHODS)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class InspectionSettings(ScaleSettings, MeasureSettings, CopySettings):
    """How photographs become a survey."""

    recursive: bool = option(False, "also read subfolders")
    every: int = option(1, "videos: survey every n-th frame", low=1)
    fps: float | None = option(None, "videos: survey so many frames a second instead", metavar="FPS")
    palette: str = option("standard", f"{PALETTE}; mask files keep the colors of the data set", choices=PALETTES)
    report_pictures: int = option(
        200, "pictures in the report, of the photographs with the longest cracks; 0 = none", low=0
    )
    pdf: bool = option(False, "also write report.pdf, for which Chromium or Chrome must be installed")

    def __post_init__(self) -> None:
        ScaleSettings.__post_init__(self)
        if self.fps is not None and not self.fps > 0:
            raise UserError(f"--fps: expected a number above 0, found {self.fps}")
