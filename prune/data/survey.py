"""What a data set holds and what is wrong with it: every image and label read once."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune.data.duplicates import SIDE, thumbnail
from prune.data.find_split import Opened, Pair, Split
from prune.data.label_readers import GrayMasks
from prune.data.labels import IGNORE_INDEX, ClassSet
from prune.errors import UserError
from prune.progress import progress

INVERTED = 0.5
"""Share of crack above which masks are taken for black on white ones."""


@dataclass(frozen=True)
class ImageFacts:
    """One readable pair.

    Args:
        pair: Its files.
        size: Height and width in px.
        pixels: Pixels by class id, int64 (256,); index 255 counts the ignored ones.
        between: Pixels of its mask neither black nor white, None where masks are not gray.
        thumbnail: uint8 (SIDE, SIDE) gray.
    """

    pair: Pair
    size: tuple[int, int]
    pixels: NDArray[np.int64]
    between: int | None
    thumbnail: NDArray[np.uint8]


@dataclass
class SplitFacts:
    """A split, its readable pairs, and one message for each that is not usable."""

    split: Split
    images: list[ImageFacts] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def classes(self) -> ClassSet:
        """What labels are read as."""
        return self.split.classes

    @property
    def sizes(self) -> list[tuple[str, int]]:
        """Sizes as width x height and how many images have them, the commonest first."""
        counts = Counter(f"{facts.size[1]}x{facts.size[0]}" for facts in self.images)
        return counts.most_common()

    @property
    def extremes(self) -> tuple[str, str] | None:
        """The smallest and the largest size by area; None without images."""
        if not self.images:
            return None
        ordered = sorted((facts.size for facts in self.images), key=lambda size: (size[0] * size[1], size))
        return tuple(f"{width}x{height}" for height, width in (ordered[0], ordered[-1]))  # type: ignore[return-value]

    @property
    def pixels(self) -> NDArray[np.int64]:
        """Pixels by class id over all images, int64 (256,)."""
        return sum((facts.pixels for facts in self.images), np.zeros(256, dtype=np.int64))

    @property
    def shares(self) -> list[float]:
        """Share (0…1) of every class in the labeled pixels; 0 where there are none."""
        counts = self.pixels[: len(self.classes)]
        return [float(count / max(1, counts.sum())) for count in counts]

    @property
    def ignored(self) -> float:
        """Share (0…1) of the pixels that are ignored."""
        return float(self.pixels[IGNORE_INDEX] / max(1, self.pixels.sum()))

    @property
    def empty(self) -> list[str]:
        """Stems of the images without a pixel of any defect."""
        return [facts.pair.stem for facts in self.images if not facts.pixels[1 : len(self.classes)].any()]

    @property
    def between(self) -> float | None:
        """Share (0…1) of the mask pixels that are neither black nor white; None where masks are not gray levels."""
        found = [(facts.between, facts.pixels.sum()) for facts in self.images if facts.between is not None]
        return float(sum(b for b, _ in found) / max(1, sum(n for _, n in found))) if found else None

    @property
    def remarks(self) -> list[str]:
        """What is odd about the masks as a whole, though every file can be read."""
        crack = self.classes.index("crack")
        share = self.shares[crack] if crack is not None else 0.0
        if share > INVERTED:
            return [f"crack covers {share:.0%} of the pixels: the masks look inverted"]
        return [] if not self.images or any(self.shares[1:]) else ["no label holds any defect"]


def _read(split: Split, pair: Pair) -> ImageFacts:
    image, reader, between = split.read_image(pair), split.reader, None
    if isinstance(reader, GrayMasks):
        levels = reader.levels(pair.label)
        if reader.coding == "gray":
            between = int(np.count_nonzero((levels > 0) & (levels < 255)))
        label = split.translate(reader.classify(levels, pair.label))
    else:
        label = split.read_label(pair)
    height, width = image.shape[:2]
    if label.shape != (height, width):
        found = f"{label.shape[1]}x{label.shape[0]}"
        raise UserError(f"{pair.label}: expected the size of its image, {width}x{height}, found {found}")
    pixels = np.bincount(label.ravel(), minlength=256)
    return ImageFacts(pair, (height, width), pixels, between, thumbnail(image))


def _attempt(split: Split, pair: Pair) -> ImageFacts | str:
    try:
        return _read(split, pair)
    except UserError as error:
        return error.message


def survey(opened: Opened, name: str) -> SplitFacts:
    """Read every image and label of a split; what cannot be used becomes a message instead of an error.

    Args:
        opened: The split, with its orphans.
        name: What the progress bar calls it.
    """
    split = opened.split
    found = SplitFacts(split, problems=list(opened.orphans))
    pool = ThreadPoolExecutor(min(8, os.cpu_count() or 1))  # decoding releases Python's lock
    try:
        results = pool.map(lambda pair: _attempt(split, pair), split.pairs)
        for result in progress(results, f"reading {name}", total=len(split.pairs)):
            if isinstance(result, str):
                found.problems.append(result)
            else:
                found.images.append(result)
    finally:
        pool.shutdown(cancel_futures=True)  # Ctrl-C does not wait for the images that are left
    return found


def thumbnails(facts: list[SplitFacts]) -> NDArray[np.uint8]:
    """Thumbnails of all images of all splits, in order: uint8 (N, SIDE, SIDE)."""
    images = [image.thumbnail for split in facts for image in split.images]
    return np.stack(images) if images else np.zeros((0, SIDE, SIDE), dtype=np.uint8)
