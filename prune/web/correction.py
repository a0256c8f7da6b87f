"""A corrected mask and its photograph, saved in the documented layout: ready for training and scoring."""

import re
import unicodedata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import S2DS, ClassSet
from prune.data.split import class_table
from prune.errors import UserError
from prune.files import TEMPORARY, atomic_paths, locked
from prune.report.png import write_png

MAX_NAME = 80
"""Characters of a file's name without its number and suffix."""


def saved_pair(
    image: NDArray[np.uint8],
    edited_map: NDArray[np.uint8],
    class_set: ClassSet,
    folder: Path,
    name: str,
) -> Path:
    """Write ``Images/NAME.png`` and ``Labels_grayscale/NAME.png`` below ``folder``; neither is ever overwritten.

    The label gets its name first. A page that is killed before the photograph has its own leaves it half-named, and the
    next pair that is saved finishes it.

    Labels have the ids of S2DS, joined by class name, so that a split may hold corrections of different networks.

    Args:
        image: The photograph, uint8 (H, W, 3), RGB.
        edited_map: What the visitor made of the network's, ids of ``class_set``, uint8 (H, W).
        class_set: The classes of the network.
        folder: A split folder; created when it is not there.
        name: What the pair should be called, for example the stem of the photograph; another pair of that name gets
            the next free number.

    Returns:
        The label's file.

    Raises:
        UserError: for a map of another size, for a class S2DS does not have, and for a folder that cannot
            be written.
    """
    if image.shape[:2] != edited_map.shape:
        raise UserError(f"expected a class map of the photograph's size, {_size(image)}, found {_size(edited_map)}")
    label = s2ds_ids(edited_map, class_set)
    folder = folder.absolute()
    with locked(folder / "Images", wait=True):
        _finish(folder)
        stem = _free(folder, plain_name(name))
        photo, target = (folder / kind / f"{stem}.png" for kind in ("Images", "Labels_grayscale"))
        with atomic_paths(target, photo) as (label_file, photo_file):
            write_png(image, photo_file)
            write_png(label, label_file)
    return target


def _finish(folder: Path) -> None:
    """Name photographs whose label has its name already: both were complete when the page was killed in between."""
    for half in (folder / "Images").glob(".*.writing.png"):
        photo = half.with_name(f"{half.name[1:].rsplit('.', 3)[0]}.png")
        if (
            TEMPORARY.fullmatch(half.name)
            and (folder / "Labels_grayscale" / photo.name).exists()
            and not photo.exists()
        ):
            half.replace(photo)


def s2ds_ids(class_map: NDArray[np.uint8], classes: ClassSet) -> NDArray[np.uint8]:
    """The ids of S2DS for a class map of ``classes``, uint8 (H, W), joined by class name.

    Raises:
        UserError: for a class S2DS does not have that occurs in the map.
    """
    for number in classes.defect_ids:
        if S2DS.index(classes.classes[number]) is None and (class_map == number).any():
            known = ", ".join(S2DS.classes[1:])
            raise UserError(f"expected the classes {known} in a correction, found {classes.classes[number]}")
    if not any(S2DS.index(name) for name in classes.classes[1:]):
        return np.where(class_map < len(classes), np.uint8(0), class_map)
    table = class_table(classes, S2DS)
    return class_map.copy() if table is None else table[class_map]


def plain_name(name: str) -> str:
    """``name`` as a file's stem that no program stumbles over: letters, digits, hyphens and underscores."""
    ascii_only = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return re.sub(r"[^A-Za-z0-9_-]+", "_", ascii_only).strip("_-")[:MAX_NAME] or "photo"


def _free(folder: Path, name: str) -> str:
    """``name``, or the first of ``name_2``, ``name_3``, … that no file of the split has, whatever its suffix."""
    kinds = [folder / kind for kind in ("Images", "Labels_grayscale", "Labels_RGB")]
    taken = {file.stem.lower() for kind in kinds if kind.is_dir() for file in kind.iterdir()}
    number, stem = 1, name
    while stem.lower() in taken:
        number += 1
        stem = f"{name}_{number}"
    return stem


def _size(array: NDArray[np.uint8]) -> str:
    return f"{array.shape[1]}x{array.shape[0]}"
