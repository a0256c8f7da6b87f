"""How a label file becomes class ids: one small reader per spelling, all picklable for worker processes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from prune.data.images import image_size, luminance, read_color_label, read_id_label, read_mask
from prune.data.labels import IGNORE_INDEX, S2DS, ClassSet
from prune.data.sampling import evenly_spread
from prune.data.settings import DataOptions
from prune.errors import UserError

THRESHOLD = DataOptions.mask_threshold
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
        ignoring: Whether 255 among ids means ignored.
    """

    coding: str
    threshold: int = THRESHOLD
    ignoring: bool = False

    def levels(self, file: Path) -> NDArray[np.uint8]:
        """The mask as stored, uint8 (H, W); one bit per pixel counts as black and white.

        Raises:
            UserError: for an unreadable file.
        """
        stored = read_mask(file)
        return luminance(stored) if stored.ndim == 3 else stored

    def classify(self, levels: NDArray[np.uint8], file: Path) -> NDArray[np.uint8]:
        """Ids uint8 (H, W) of the levels that were read from ``file``, 255 = ignored.

        Raises:
            UserError: when a mask of a set of ids 0 and 1 holds anything else.
        """
        if self.coding == "gray":
            return (levels > self.threshold).astype(np.uint8)
        known = levels[levels != IGNORE_INDEX] if self.ignoring else levels
        if known.max(initial=0) > 1:
            found = int(known.max())
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


@dataclass(frozen=True)
class MaskFacts:
    """What one mask file holds.

    Args:
        kind: A key of ``KINDS``.
        levels: Its levels; of colors, those of their luminance.
        between: Pixels neither black nor white.
        pixels: All of them.
        lossy: Whether its format changes levels.
    """

    kind: str
    levels: frozenset[int]
    between: int
    pixels: int
    lossy: bool

    @property
    def ignoring(self) -> bool:
        """Whether it shows that 255 is an ignored pixel: beside ids."""
        return self.kind in ("s2ds", "ignoring") and IGNORE_INDEX in self.levels


KINDS = {
    "empty": "nothing but 0",
    "white": "black and white",
    "gray": "gray levels",
    "ids": "ids 0 and 1",
    "s2ds": f"ids of {S2DS.name}",
    "ignoring": "small ids beside 255",
    "colors": f"colors of {S2DS.name}",
}
"""What a mask file can hold. ``ignoring`` may be one id and 255 = ignored, or black and white with a stray level."""
LARGEST_ID = min(S2DS.ignored_ids)
"""Levels above it, but 255, are no ids."""


def _kind(levels: frozenset[int], threshold: int, lossy: bool) -> str:
    """The kind of a mask of these levels; where ``threshold`` is set among the ids, they are taken for levels."""
    small = levels - {0, IGNORE_INDEX}
    if not small:
        return "white" if levels - {0} else "empty"
    if lossy:  # compression makes levels out of black and white
        return "white"
    if max(small) > LARGEST_ID or max(small) > max(1, threshold):
        return "gray"
    if IGNORE_INDEX in levels and len(small) == 1 and S2DS.index("crack") not in small:
        return "ignoring"
    return "ids" if small == {1} else "s2ds"


def look(file: Path, threshold: int = THRESHOLD) -> MaskFacts:
    """What a mask file holds.

    Raises:
        UserError: for an unreadable file.
    """
    stored, lossy = read_mask(file), file.suffix.lower() in LOSSY
    levels = luminance(stored) if stored.ndim == 3 else stored
    counts = np.bincount(levels.ravel(), minlength=256)
    found = frozenset(int(level) for level in np.flatnonzero(counts))
    kind = "colors" if stored.ndim == 3 else _kind(found, threshold, lossy)
    return MaskFacts(kind, found, int(counts[1:255].sum()), levels.size, lossy)


def agree(facts: Mapping[Path, MaskFacts]) -> str:
    """The coding all masks of a folder share: ``colors``, ``s2ds``, ``ids``, ``gray`` or ``empty``.

    Black and white are S2DS colors too; among ids, 255 is ignored where a file shows it beside other ids.

    Raises:
        UserError: when they have none in common; the message names two of the files.
    """
    first = {found.kind: file for file, found in reversed(list(facts.items()))}
    if first.keys() - {"empty"} == {"ignoring"}:  # a level in every file is no stray one
        ids = frozenset[int]().union(*(found.levels for found in facts.values())) - {0, IGNORE_INDEX}
        return "ids" if ids == {1} else "s2ds"
    coding = next((kind for kind in ("colors", "s2ds", "ids") if kind in first), "")
    if not coding:
        return "gray" if first.keys() - {"empty"} else "empty"
    others = ["gray", "s2ds", "ids", "ignoring"] if coding == "colors" else ["gray"]
    if coding != "colors" and not any(found.ignoring for found in facts.values()):
        others.append("white")
    for kind in others:
        if kind in first:
            one, two = first[coding], first[kind]
            raise UserError(
                f"{one.parent}: expected masks of one coding, found {KINDS[coding]} in {one.name} and {KINDS[kind]} in {two.name}"
            )
    return coding


def gray_reader(
    facts: Mapping[Path, MaskFacts], coding: str, threshold: int = THRESHOLD
) -> tuple[GrayMasks, tuple[str, ...]]:
    """The reader of masks of crack and background, and what is worth telling about them.

    Args:
        facts: Of the masks that were looked at, at least one.
        coding: ``gray``, ``ids`` or ``empty``, see ``agree``.
        threshold: Gray levels above it are crack.

    Raises:
        UserError: when the masks hold something, but nothing above the threshold: all would read as empty.
    """
    if coding == "empty":
        return GrayMasks("ids", threshold), ("all masks are black",)
    if coding == "ids":
        ignoring = any(found.ignoring for found in facts.values())
        return GrayMasks("ids", threshold, ignoring), ("masks are ids 0 and 1",)
    highest = max(max(found.levels) for found in facts.values())
    if highest <= threshold and not any(found.lossy for found in facts.values()):
        raise UserError(
            f"{next(iter(facts)).parent}: expected masks with crack above {threshold}, found no level above {highest}: "
            f"set --mask_threshold below {highest}"
        )
    between = sum(found.between for found in facts.values())
    share = between / max(1, sum(found.pixels for found in facts.values()))
    note = f"masks have gray levels between black and white ({share:.1%} of the pixels): crack above {threshold}"
    return GrayMasks("gray", threshold), (note,) if between else ()


def _sample(files: Sequence[Path], threshold: int) -> dict[Path, MaskFacts]:
    """Look at masks spread over the set; at further ones only while all were black, which says nothing of the coding."""
    spread = evenly_spread(len(files), SAMPLE)
    others = [i for i in range(len(files)) if i not in set(spread)]
    found: dict[Path, MaskFacts] = {}
    for number, index in enumerate([*spread, *others]):
        if number >= len(spread) and any(facts.kind != "empty" for facts in found.values()):
            break
        try:
            found[files[index]] = look(files[index], threshold)
        except UserError:
            continue  # a damaged file is an error where it is read, and says nothing of the others
    return found


def gray_masks(files: Sequence[Path], threshold: int = THRESHOLD) -> tuple[GrayMasks, tuple[str, ...]]:
    """The reader all masks of crack and background of a data set share, and what is worth telling about them.

    Ids 0 and 1, or gray levels, crack above ``threshold``; colors through their luminance.

    Raises:
        UserError: as ``agree`` and ``gray_reader``, and for ids of S2DS classes.
    """
    found = _sample(files, threshold)
    found = {file: replace(f, kind="gray") if f.kind == "colors" else f for file, f in found.items()}
    coding = agree(found)
    if coding == "s2ds":
        folder = files[0].parent
        raise UserError(
            f"{folder}: expected masks of crack and background, found {KINDS[coding]}: their folder must be called "
            "Labels_grayscale, and the folder of photographs Images"
        )
    return gray_reader(found, coding, threshold)
