"""A split: which files belong together, how they are read, and cutting it without tearing neighbors apart."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.data.images import image_size, read_image
from prune.data.label_readers import LabelReader
from prune.data.labels import IGNORE_INDEX, ClassSet
from prune.errors import UserError


@dataclass(frozen=True)
class Pair:
    """One photograph and its label file."""

    stem: str
    image: Path
    label: Path


@dataclass(frozen=True)
class Split:
    """The pairs of one split, sorted by stem, and how their labels are spelled.

    Args:
        folder: Where they lie.
        layout: How images and labels lie in it, a key of ``LAYOUTS``.
        pairs: The files.
        classes: What ``read_label`` gives ids of.
        dataset: The data set whose layout it is.
        native: What the label files hold.
        reader: Reads a label file in the ids of ``native``.
        seen: The layout in words.
        notes: What else is worth telling.
    """

    folder: Path
    layout: str
    pairs: tuple[Pair, ...]
    classes: ClassSet
    dataset: str
    native: ClassSet
    reader: LabelReader
    seen: str
    notes: tuple[str, ...] = ()

    def read_image(self, pair: Pair) -> NDArray[np.uint8]:
        """The photograph of ``pair``: uint8 (H, W, 3), RGB."""
        return read_image(pair.image)

    def read_label(self, pair: Pair) -> NDArray[np.uint8]:
        """The label of ``pair``: uint8 (H, W), ids 0…C−1 and 255 = ignored; unknown ids or colors raise ``UserError``."""
        return self.translate(self.reader(pair.label))

    def translate(self, ids: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Ids of ``native`` (H, W) as ids of ``classes``: uint8 (H, W), 255 stays."""
        table = class_table(self.native, self.classes)
        return ids if table is None else table[ids]

    def describe(self) -> str:
        """What was seen, in one phrase: data set, layout, classes, notes."""
        count = f"{len(self.native)} classes"
        if class_table(self.native, self.classes) is not None:
            count += f" read as the {len(self.classes)} of {self.classes.name}"
        return "; ".join([f"{self.dataset}: {self.seen}, {count}", *self.notes])

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


@lru_cache(maxsize=16)
def class_table(native: ClassSet, classes: ClassSet) -> NDArray[np.uint8] | None:
    """Ids of ``classes`` by id of ``native``, uint8 (256,), joined by class name; None when they are the same.

    What ``classes`` does not have becomes background (id 0), and 255 stays ignored.

    Raises:
        UserError: when they have no defect in common, so that every label would be empty.
    """
    names = tuple(name.lower() for name in native.classes)
    if names == tuple(name.lower() for name in classes.classes):
        return None
    shared = {i: classes.index(native.classes[i]) for i in native.defect_ids}
    if not any(shared.values()):
        raise UserError(
            f"the data have the classes {', '.join(native.classes)}; expected some of them, "
            f"found the classes {', '.join(classes.classes)}"
        )
    table = np.zeros(256, dtype=np.uint8)
    table[len(native) :] = IGNORE_INDEX
    for native_id, own in shared.items():
        table[native_id] = own or 0
    return table


def usable_crop(split: Split, crop_size: int) -> int:
    """``crop_size``, or the side of the largest image rounded up to a multiple of 32 when that is smaller.

    A larger crop would be padding for the most part.
    """
    longest = max(max(image_size(pair.image)) for pair in split.pairs)
    return min(crop_size, -(-longest // 32) * 32)


def in_order(names: Iterable[str]) -> list[str]:
    """Names sorted as people number them: a2 before a10."""
    return sorted(
        names,
        key=lambda name: [(not p.isdecimal(), int(p) if p.isdecimal() else 0, p) for p in re.split(r"(\d+)", name)],
    )


def cut_in_blocks(count: int, shares: Sequence[float]) -> NDArray[np.int64]:
    """Which part each of ``count`` consecutive things goes to, int64 (count,), in blocks spread over all of them.

    The sequence is cut into as many sections as the smallest part has things to the power 1/2, and every section is
    shared out alike: a part consists of about as many blocks as a block has things, so that it is both varied and
    made of neighbors. A part with a share of at least 1/``count`` gets at least one.

    Args:
        count: How many things.
        shares: Share of every part, 0…1; they add up to 1.
    """
    smallest = min(share for share in shares if share > 0) * count
    sections = max(1, int((smallest + 1e-9) ** 0.5))
    ends = np.cumsum(shares)
    starts = np.array([(section + end) / sections for section in range(sections) for end in (0, *ends[:-1])]) * count
    firsts = np.floor(starts + 0.5 + 1e-9)
    parts = np.tile(np.arange(len(shares)), sections)
    last = np.searchsorted(firsts, np.arange(count), side="right") - 1
    return parts[last]


def hold_out(split: Split, share: float = 0.1) -> tuple[Split, Split]:
    """Cut a split in two, the rest and a held-out ``share`` (at least one image), the same at every call.

    What is held out lies in blocks of consecutive names, because photographs taken one after the other are alike.

    Raises:
        UserError: for a split of one image, of which nothing can be held out.
    """
    count = len(split.pairs)
    if count < 2:
        raise UserError(f"{split.folder}: expected at least 2 images to hold some out, found {count}")
    held = min(count - 1, max(1, round(share * count)))
    before = (1 - held / count) / 2
    parts = cut_in_blocks(count, (before, held / count, before))
    chosen = {stem for stem, part in zip(in_order(p.stem for p in split.pairs), parts, strict=True) if part == 1}
    rest, out = (tuple(p for p in split.pairs if (p.stem in chosen) == inside) for inside in (False, True))
    note = f"the other {len(out)} of {count} images are held out"
    return (
        replace(split, pairs=rest, notes=(*split.notes, note)),
        replace(split, pairs=out, notes=(*split.notes, f"{len(out)} of {count} images, held out in blocks")),
    )
