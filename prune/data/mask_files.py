"""Masks from any program: class ids, palette colors or black and white, in a folder, joined by stem."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.crackforest import CrackForestLabels
from prune.data.dataset_layouts import by_stem, fitting
from prune.data.find_split import OFFICIAL_SUFFIX, find_split
from prune.data.images import color_ids, is_image, read_levels, read_mask
from prune.data.label_readers import KINDS, THRESHOLD, ColorLabels, IdLabels, LabelReader, agree, gray_reader, look
from prune.data.labels import CRACK, IGNORE_INDEX, S2DS, ClassSet
from prune.data.split import class_table
from prune.errors import UserError, first_line
from prune.files import visible
from prune.progress import progress

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
    found = by_stem(
        (f for f in visible(folder, "*") if f.is_file() and (is_image(f) or f.suffix.lower() in suffixes)), _stem
    )
    if not found:
        raise UserError(f"{folder}: expected image files, found none")
    return found


def label_files(folder: Path, dataset: str = "auto") -> tuple[dict[str, Path], LabelReader | None]:
    """The labels of a folder by stem: of a split folder in a known layout, else the image files in it.

    Args:
        folder: Where they lie.
        dataset: One of ``DATASETS``, the layout of a split folder.

    Returns:
        The files, and their reader where the layout says how they are spelled, None = by what they hold.

    Raises:
        UserError: as ``files_by_stem``, and for an unusable split folder.
    """
    if not folder.is_dir():
        raise UserError(f"folder {folder} not found")
    for name, reader in (("Labels_grayscale", IdLabels), ("Labels_RGB", ColorLabels)):
        if (folder / name).is_dir():
            return files_by_stem(folder / name), reader(S2DS)
    if any(file.stem.endswith(OFFICIAL_SUFFIX) for file in folder.iterdir()):
        return {pair.stem: pair.label for pair in find_split(folder, S2DS, dataset="s2ds").pairs}, ColorLabels(S2DS)
    found = fitting(folder, dataset)
    if found is None:
        return files_by_stem(folder), None
    return found.labels, CrackForestLabels() if found.layout == "crackforest" else None


@dataclass(frozen=True)
class S2DSMasks:
    """Reads masks of S2DS classes as ids uint8 (H, W), 255 = ignored.

    Args:
        coding: ``s2ds`` (ids, 7 and 255 = ignored) or ``colors`` (black and white among them need no color channels).
        threshold: Gray levels above it are white.
    """

    coding: str
    threshold: int = THRESHOLD

    def __call__(self, file: Path) -> NDArray[np.uint8]:
        """Read one mask."""
        stored = read_mask(file)
        if stored.ndim == 3:
            return color_ids(stored, S2DS, file)
        if self.coding == "colors":
            return (stored > self.threshold) * np.uint8(S2DS.colors.index((255, 255, 255)))
        return np.where(stored < len(S2DS), stored, np.uint8(IGNORE_INDEX))


@dataclass(frozen=True)
class Masks:
    """Masks of any program, or labels: the files of one folder, and how all of them are read.

    Args:
        files: By stem.
        native: The classes they hold; None when all are empty.
        reader: Reads a file in the ids of ``native``.
        seen: How they are spelled, for the screen.
    """

    files: dict[str, Path]
    native: ClassSet | None
    reader: Callable[[Path], NDArray[np.uint8]]
    seen: str

    def read(self, stem: str, classes: ClassSet) -> NDArray[np.uint8]:
        """One mask as ids of ``classes``, joined by class name: uint8 (H, W), 255 = ignored."""
        ids = self.reader(self.files[stem])
        table = class_table(self.native, classes) if self.native else None
        return ids if table is None else table[ids]


def open_masks(files: dict[str, Path], threshold: int = THRESHOLD, classes: ClassSet | None = None) -> Masks:
    """Look at every mask of a folder and find out how they are spelled.

    Args:
        files: At least one, by stem.
        threshold: Gray levels above it are crack.
        classes: Classes to read the masks as, None = those they contain. Only decides what ids 0 and 1 mean.

    Raises:
        UserError: for unreadable files, masks of several codings, and gray levels that are all below the threshold.
    """
    facts = {}
    for file in progress(
        files.values(), "looking at masks"
    ):  # a comprehension would keep its bar on the screen in an error
        facts[file] = look(file, threshold)
    coding = agree(facts)
    if coding in ("s2ds", "colors"):
        return Masks(files, S2DS, S2DSMasks(coding, threshold), KINDS[coding])
    if coding == "ids" and classes == S2DS:
        return Masks(files, S2DS, S2DSMasks("s2ds"), f"ids 0 and 1, read as {S2DS.classes[0]} and {S2DS.classes[1]}")
    reader, _ = gray_reader(facts, coding, threshold)
    if coding == "empty":
        return Masks(files, None, reader, "all empty")
    return Masks(
        files, CRACK, reader, "id 1 is crack" if coding == "ids" else f"gray levels above {threshold} are crack"
    )


def open_labels(
    folder: Path, threshold: int = THRESHOLD, classes: ClassSet | None = None, dataset: str = "auto"
) -> Masks:
    """The labels of a folder or split folder, see ``label_files`` and ``open_masks``.

    Raises:
        UserError: as those two.
    """
    files, reader = label_files(folder, dataset)
    if isinstance(reader, IdLabels | ColorLabels):
        return Masks(files, S2DS, reader, KINDS["s2ds" if isinstance(reader, IdLabels) else "colors"])
    if reader:
        return Masks(files, CRACK, reader, "ground truth of CrackForest")
    return open_masks(files, threshold, classes)


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
        array = np.load(file, mmap_mode="r", allow_pickle=False)  # takes no memory for what the file does not hold
    except Exception as error:  # NumPy reads the header as Python text, which raises errors of many kinds
        raise UserError(f"{file}: expected an array of probabilities, found: {first_line(error)}") from error
    if not isinstance(array, np.ndarray):
        raise UserError(f"{file}: expected an array of probabilities, found an archive of several")
    if array.ndim != 2 or not (
        array.size and array.dtype.kind == "f" and np.isfinite(array).all() and array.min() >= 0 and array.max() <= 1
    ):
        raise UserError(f"{file}: expected floats of 0 to 1 in the shape (H, W), found {array.dtype} {array.shape}")
    return array.astype(float)
