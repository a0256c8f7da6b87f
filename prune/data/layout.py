"""Folder layouts: which files of a split belong together, and what makes a split unusable."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.images import image_size, is_image, read_color_label, read_id_label, read_image
from prune.data.labels import ClassSet
from prune.errors import UserError

SPLITS = ("train", "val", "test")
OFFICIAL_SUFFIX = "_lab"
LAYOUTS = {
    "ids": "Images/ + Labels_grayscale/",
    "colors": "Images/ + Labels_RGB/",
    "official": "NNN.png + NNN_lab.png in one folder",
}


@dataclass(frozen=True)
class Pair:
    """One photograph and its label file."""

    stem: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Split:
    """The pairs of one split folder, sorted by stem, and how their labels are spelled."""

    folder: Path
    layout: str
    pairs: tuple[Pair, ...]
    classes: ClassSet

    def read_image(self, pair: Pair) -> NDArray[np.uint8]:
        """The photograph of ``pair``: uint8 (H, W, 3), RGB."""
        return read_image(pair.image)

    def read_label(self, pair: Pair) -> NDArray[np.uint8]:
        """The label of ``pair``: uint8 (H, W), ids 0…C−1 and 255 = ignored; unknown ids or colors raise ``UserError``."""
        reader = read_id_label if self.layout == "ids" else read_color_label
        return reader(pair.label, self.classes)

    def fingerprint(self) -> str:
        """SHA-256 (first 16 hex digits) over stems and bytes of all images and labels: the same data, the same string."""
        digest = hashlib.sha256()
        for pair in self.pairs:
            digest.update(pair.stem.encode())
            for file in (pair.image, pair.label):
                digest.update(hashlib.sha256(file.read_bytes()).digest())
        return digest.hexdigest()[:16]

    def label_fingerprint(self) -> str:
        """Fingerprint of the labels alone (see ``label_fingerprint``), whatever files and photographs they belong to."""
        return label_fingerprint((pair.stem, self.read_label(pair)) for pair in self.pairs)


def label_fingerprint(labels: Iterable[tuple[str, NDArray[np.uint8]]]) -> str:
    """SHA-256 (first 16 hex digits) over stems and class ids: the same labels in any file format, the same string."""
    digest = hashlib.sha256()
    for stem, label in labels:
        digest.update(f"{stem} {label.shape}".encode())
        digest.update(label.tobytes())
    return digest.hexdigest()[:16]


def _by_stem(files: Iterable[Path]) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for file in sorted(files):
        if file.stem in found:
            raise UserError(f"{file}: a second file with the stem {file.stem!r} beside {found[file.stem].name}")
        found[file.stem] = file
    return found


def _images_in(folder: Path) -> dict[str, Path]:
    return _by_stem(f for f in folder.iterdir() if f.is_file() and is_image(f))


def _find_files(folder: Path) -> tuple[str, dict[str, Path], dict[str, Path]]:
    """Layout name, images by stem and labels by stem."""
    if (folder / "Images").is_dir():
        for layout, name in (("ids", "Labels_grayscale"), ("colors", "Labels_RGB")):
            if (folder / name).is_dir():
                return layout, _images_in(folder / "Images"), _images_in(folder / name)
        raise UserError(f"{folder}: found Images but neither Labels_grayscale nor Labels_RGB beside it")
    files = [f for f in folder.iterdir() if f.is_file() and is_image(f)]
    labels = _by_stem(f for f in files if f.stem.endswith(OFFICIAL_SUFFIX))
    if labels:
        images = _by_stem(f for f in files if not f.stem.endswith(OFFICIAL_SUFFIX))
        return "official", images, {stem.removesuffix(OFFICIAL_SUFFIX): f for stem, f in labels.items()}
    inside = ", ".join(sorted(f.name for f in folder.iterdir())[:6]) or "nothing"
    expected = " or ".join(LAYOUTS.values())
    raise UserError(f"{folder}: expected {expected}, found {inside}")


def find_split(folder: Path, classes: ClassSet) -> Split:
    """Pair the images and labels of one split folder by stem and check that their sizes agree.

    Raises:
        UserError: for a missing or empty folder, an image without label or the reverse, or sizes that differ; the
            message names the folder or file.
    """
    if not folder.is_dir():
        raise UserError(f"data folder {folder} not found")
    layout, images, labels = _find_files(folder)
    if not images and not labels:
        raise UserError(f"{folder}: expected {LAYOUTS[layout]}, found no image files in it")
    for missing, of in ((sorted(images.keys() - labels.keys()), images), (sorted(labels.keys() - images.keys()), labels)):
        if missing:
            what = "label" if of is images else "image"
            more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
            raise UserError(f"{of[missing[0]]}: no {what} with the same stem{more}")
    pairs = tuple(Pair(stem, images[stem], labels[stem]) for stem in sorted(images))
    for pair in pairs:
        image, label = image_size(pair.image), image_size(pair.label)
        if image != label:
            raise UserError(
                f"{pair.label}: expected the size of its image, {image[1]}x{image[0]}, found {label[1]}x{label[0]}"
            )
    return Split(folder, layout, pairs, classes)


def usable_crop(split: Split, crop_size: int) -> int:
    """``crop_size``, or the side of the largest image rounded up to a multiple of 32 when that is smaller.

    A larger crop would be padding for the most part.
    """
    longest = max(max(image_size(pair.image)) for pair in split.pairs)
    return min(crop_size, -(-longest // 32) * 32)


def default_data() -> Path:
    """The data folder a command uses when none is named: ``data/S2DS`` if it exists, else ``data/demo``."""
    real = Path("data/S2DS")
    return real if real.is_dir() else Path("data/demo")
