"""Masks made by any program: class ids, palette colors or black and white, in a folder, joined by stem."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.data.images import is_image, read_color_label, read_gray, read_id_label, read_levels
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.data.layout import OFFICIAL_SUFFIX, find_split
from prune.data.layouts import fitting
from prune.data.readers import THRESHOLD
from prune.errors import UserError, first_line

PICTURE_SUFFIXES = ("_save_mask", "_mask", "_probability_gray", OFFICIAL_SUFFIX)
"""Endings that programs add to the photograph's stem; they are cut off before stems are joined."""


def _stem(file: Path) -> str:
    for ending in PICTURE_SUFFIXES:
        if file.stem.endswith(ending) and file.stem != ending:
            return file.stem.removesuffix(ending)
    return file.stem


def files_by_stem(folder: Path, suffixes: tuple[str, ...] = ()) -> dict[str, Path]:
    """The image files of a folder (and those ending in ``suffixes``) by stem, endings such as ``_mask`` cut off.

    Raises:
        UserError: for a missing or empty folder, and two files of one stem.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder} not found")
    found: dict[str, Path] = {}
    for file in sorted(folder.iterdir()):
        if file.is_file() and (is_image(file) or file.suffix.lower() in suffixes):
            stem = _stem(file)
            if stem in found:
                raise UserError(f"{file}: a second file for {stem!r} beside {found[stem].name}")
            found[stem] = file
    if not found:
        raise UserError(f"{folder}: expected image files, found none")
    return found


def label_files(folder: Path) -> dict[str, Path]:
    """The labels of a folder by stem: of a split folder in a known layout, else the image files in it.

    Raises:
        UserError: as ``files_by_stem``, and for an unusable split folder.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder} not found")
    inner = next((folder / name for name in ("Labels_grayscale", "Labels_RGB") if (folder / name).is_dir()), None)
    if inner:
        return files_by_stem(inner)
    if any(file.stem.endswith(OFFICIAL_SUFFIX) for file in folder.iterdir()):
        return {pair.stem: pair.label for pair in find_split(folder, S2DS, dataset="s2ds").pairs}
    found = fitting(folder, "auto")
    return found.labels if found else files_by_stem(folder)


def _is_color(file: Path) -> bool:
    try:
        with Image.open(file) as image:
            return image.mode not in ("L", "P", "1", "I", "F", "LA") and not image.mode.startswith("I;")
    except (OSError, ValueError, SyntaxError) as error:
        raise UserError(f"{file}: expected a readable image, found: {first_line(error)}") from error


def read_class_mask(file: Path) -> NDArray[np.uint8]:
    """A mask of S2DS classes as ids uint8 (H, W), 255 = ignored: ids from one channel, else the palette's colors."""
    return read_color_label(file, S2DS) if _is_color(file) else read_id_label(file, S2DS)


@dataclass(frozen=True)
class BinaryMasks:
    """Reads masks of crack and background as ids 0 and 1, 255 = ignored.

    Args:
        coding: ``ids`` (0 and 1), ``s2ds`` (S2DS ids: 6 = crack, 7 and 255 = ignored) or ``gray`` (above 127 = crack).
    """

    coding: str

    @classmethod
    def of(cls, files: list[Path]) -> "BinaryMasks":
        """The coding all files of a folder share: black and white, 0 and 1, or S2DS ids."""
        values = np.unique(np.concatenate([np.unique(read_gray(file)) for file in files]))
        if values.max(initial=0) <= 1:
            return cls("ids")
        ids = set(values.tolist()) - {7, IGNORE_INDEX}
        return cls("s2ds" if ids and ids <= set(range(len(S2DS))) and max(ids) > 1 else "gray")

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Read one mask."""
        gray = read_gray(file)
        if self.coding == "ids":
            return gray
        if self.coding == "gray":
            return (gray > THRESHOLD).astype(np.uint8)
        return np.where(gray > len(S2DS) - 1, IGNORE_INDEX, gray == S2DS.index("crack")).astype(np.uint8)


def classes_called(name: str) -> ClassSet:
    """The class set ``s2ds`` or ``crack``."""
    return {"s2ds": S2DS, "crack": CRACK}[name]


def read_probability(file: Path) -> NDArray[np.float64]:
    """Probabilities of crack in 0…1, float64 (H, W): an .npy array of floats, or gray levels of an image over its range.

    Raises:
        UserError: for unreadable files, other shapes, and values outside 0…1.
    """
    if file.suffix.lower() != ".npy":
        return read_levels(file)
    try:
        array = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"{file}: expected an array of probabilities, found: {first_line(error)}") from error
    if array.ndim != 2 or not (
        array.dtype.kind == "f" and np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1
    ):
        raise UserError(f"{file}: expected floats of 0 to 1 in the shape (H, W), found {array.dtype} {array.shape}")
    return array.astype(float)
