"""How a label file becomes class ids: one small reader per spelling, all picklable for worker processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.data.images import image_size, read_color_label, read_gray, read_id_label
from prune.data.labels import ClassSet
from prune.errors import UserError

THRESHOLD = 127
"""Gray masks are crack above it."""
SAMPLE = 24
"""Masks looked at to find out how a set spells crack."""
LOSSY = (".jpg", ".jpeg")


class LabelReader(Protocol):
    """Reads label files of one spelling."""

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W), 255 = ignored; ``UserError`` for an unreadable file or unknown values."""
        ...

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width of the label in pixels."""
        ...


@dataclass(frozen=True)
class IdLabels:
    """Single-channel pictures of class ids."""

    classes: ClassSet

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Read one label: uint8 (H, W)."""
        return read_id_label(file, self.classes)

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width in pixels, from the header."""
        return image_size(file)


@dataclass(frozen=True)
class ColorLabels:
    """Pictures in the colors of a class set."""

    classes: ClassSet

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Read one label: uint8 (H, W)."""
        return read_color_label(file, self.classes)

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width in pixels, from the header."""
        return image_size(file)


@dataclass(frozen=True)
class GrayMasks:
    """Masks of crack (id 1) and background (id 0): gray levels, or color through its luminance.

    Args:
        coding: ``gray`` (crack above ``threshold``) or ``ids`` (0 and 1).
        threshold: The highest gray level that is background.
    """

    coding: str
    threshold: int = THRESHOLD

    def levels(self, file: Path) -> NDArray[np.uint8]:
        """The mask as stored, uint8 (H, W); one bit per pixel counts as black and white.

        Raises:
            UserError: for an unreadable file.
        """
        gray = read_gray(file)
        return gray * np.uint8(255) if gray.max(initial=0) == 1 and _has_one_bit(file) else gray

    def classify(self, levels: NDArray[np.uint8], file: Path) -> NDArray[np.uint8]:
        """Ids uint8 (H, W) of the levels that were read from ``file``.

        Raises:
            UserError: when a mask of a set of ids 0 and 1 holds anything else.
        """
        if self.coding == "gray":
            return (levels > self.threshold).astype(np.uint8)
        if levels.max(initial=0) > 1:
            found = int(levels.max())
            raise UserError(
                f"{file}: expected ids 0 and 1 as in the other masks of its folder, found the value {found}"
            )
        return levels

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Read one mask: uint8 (H, W)."""
        return self.classify(self.levels(file), file)

    def size(self, file: Path) -> tuple[int, int]:
        """Height and width in pixels, from the header."""
        return image_size(file)


def _has_one_bit(file: Path) -> bool:
    with Image.open(file) as image:
        return image.mode == "1"


@dataclass
class _Levels:
    """What a sample of masks holds."""

    highest: int = 0
    between: int = 0
    pixels: int = 0
    lossy: bool = False

    def add(self, file: Path) -> None:
        levels = GrayMasks("gray").levels(file)
        self.highest = max(self.highest, int(levels.max(initial=0)))
        self.between += int(np.count_nonzero((levels > 0) & (levels < 255)))
        self.pixels += levels.size
        self.lossy |= file.suffix.lower() in LOSSY


def _sample(files: Sequence[Path]) -> _Levels:
    """Look at masks spread over the set; at further ones only while all were black, which says nothing of the coding."""
    spread = sorted({int(i) for i in np.linspace(0, len(files) - 1, min(SAMPLE, len(files)))})
    others = [i for i in range(len(files)) if i not in set(spread)]
    found = _Levels()
    for number, index in enumerate([*spread, *others]):
        if number >= len(spread) and found.highest > 0:
            break
        try:
            found.add(files[index])
        except UserError:
            continue  # a damaged file is an error where it is read, and says nothing of the others
    return found


def gray_masks(files: Sequence[Path], threshold: int = THRESHOLD) -> tuple[GrayMasks, tuple[str, ...]]:
    """The reader all masks of a set share, and what is worth telling about them.

    Ids 0 and 1 where no sampled mask has a higher value, else gray levels, crack above ``threshold``.

    Raises:
        UserError: when the sampled masks hold something, but nothing above the threshold: all would read as empty.
    """
    found = _sample(files)
    if found.highest <= 1:
        return GrayMasks("ids", threshold), ("masks are ids 0 and 1",) if found.highest else ("all masks are black",)
    if found.highest <= threshold and not found.lossy:
        raise UserError(
            f"{files[0].parent}: expected masks with crack above {threshold}, found no level above {found.highest}: "
            f"give --mask_threshold a number below {found.highest}"
        )
    share = found.between / max(1, found.pixels)
    note = f"masks have gray levels between black and white ({share:.1%} of the pixels): crack above {threshold}"
    return GrayMasks("gray", threshold), (note.replace("% of", " % of"),) if found.between else ()
