"""How labeled images are read."""

from dataclasses import dataclass

from prune.errors import UserError
from prune.options import check, option

DATASETS = ("auto", "s2ds", "crack500", "crackforest", "deepcrack", "crackseg9k", "images_masks")
"""Folder layouts of data sets; auto recognizes them."""
CLASS_SETS = ("s2ds", "crack")
PALETTES = ("standard", "colorblind")
PALETTE = (
    "colors of the classes in pictures; standard: those of the data set, but magenta instead of white on photographs; "
    "colorblind: those of Okabe and Ito, distinguishable with every kind of color vision"
)
"""What ``--palette`` does."""


@dataclass(frozen=True)
class DataOptions:
    """How labeled images are read, wherever a command reads some."""

    dataset: str = option("auto", "layout of the data folder", choices=DATASETS)
    mask_threshold: int = option(127, "gray levels of a mask above this are crack, 0 to 254", low=0)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SurveySettings(DataOptions):
    """How a data set is checked."""

    classes: str | None = option(
        None, "classes to read the labels as; default: the classes they contain", choices=CLASS_SETS
    )
    split: str | None = option(None, "write train.txt, val.txt, test.txt with these percents, such as 70,10,20")
    sheet: int = option(12, "photographs on the contact sheet, 0 = no sheet", low=0)
    palette: str = option("standard", PALETTE, choices=PALETTES)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split is not None:
            _ = self.shares

    @property
    def shares(self) -> tuple[float, float, float]:
        """Shares (0…1) of train, val and test that ``split`` asks for.

        Raises:
            UserError: for anything but three percents that add up to 100, some of them for train.
        """
        parts = str(self.split).split(",")
        numbers = [float(part) for part in parts if part.strip().replace(".", "", 1).isdecimal()]
        if len(parts) != 3 or len(numbers) != 3 or abs(sum(numbers) - 100) > 1e-6 or not numbers[0]:
            raise UserError(
                f"--split: expected percents for train, val and test such as 70,10,20, found {self.split!r}"
            )
        return numbers[0] / 100, numbers[1] / 100, numbers[2] / 100
