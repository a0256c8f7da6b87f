"""S2DS-like photographs drawn from a seed: for demos, tests and trying things out before the real data are there."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from prune.data.labels import S2DS
from prune.data.layout import SPLITS
from prune.data.synthetic.scene import Scene, draw_scene
from prune.errors import UserError
from prune.files import atomic_path

__all__ = ["Scene", "Summary", "draw_scene", "synthesize"]

SMALLEST = 64
"""Side in px below which the subjects are too small to draw."""


@dataclass(frozen=True)
class Summary:
    """What was drawn: images per split and labeled pixels per class, int64 (C,)."""

    folder: Path
    counts: dict[str, int]
    pixels: NDArray[np.int64]

    def __str__(self) -> str:
        shares = ", ".join(
            f"{name} {share:.1%}" for name, share in zip(S2DS.classes, self.pixels / self.pixels.sum(), strict=True)
        )
        drawn = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        return f"{sum(self.counts.values())} images ({drawn}) in {self.folder}\n{shares}"


def split_counts(images: int) -> dict[str, int]:
    """How many of ``images`` go to train, val and test: about 70, 15 and 15 %, at least one each."""
    side = max(1, round(0.15 * images))
    return dict(zip(SPLITS, (images - 2 * side, side, side), strict=True))


def _write(scene: Scene, folder: Path, stem: str) -> None:
    pictures = {"Images": scene.image, "Labels_grayscale": scene.label, "Labels_RGB": S2DS.colorize(scene.label)}
    for name, pixels in pictures.items():
        with atomic_path(folder / name / f"{stem}.png") as temporary:
            Image.fromarray(pixels).save(temporary)


def synthesize(out: Path, images: int, size: int, seed: int, *, force: bool = False) -> Summary:
    """Draw ``{train,val,test}/{Images,Labels_grayscale,Labels_RGB}/NNN.png`` under ``out``.

    Every image depends on the seed and its number alone; the same seed gives the same bytes.

    Args:
        out: Folder to write to.
        images: Number of images over all splits, at least 3.
        size: Side of the square images in px, at least 64.
        seed: Seed of everything random.
        force: Write into split folders that already hold files.

    Raises:
        UserError: for too few or too small images, or a folder that already holds a data set.
    """
    if images < 3:
        raise UserError(f"--images: expected at least 3, one per split, found {images}")
    if size < SMALLEST:
        raise UserError(f"--size: expected at least {SMALLEST} px, found {size}")
    for name in SPLITS:
        if not force and (out / name).is_dir() and any((out / name).iterdir()):
            raise UserError(f"{out / name} already holds files: choose another folder or add --force")
    counts = split_counts(images)
    names = [name for name, count in counts.items() for _ in range(count)]
    pixels = np.zeros(len(S2DS), dtype=np.int64)
    for number, name in enumerate(tqdm(names, desc="drawing", unit="image", leave=False)):
        scene = draw_scene(size, np.random.default_rng([seed, number]))
        _write(scene, out / name, f"{number:03d}")
        pixels += np.bincount(scene.label.ravel(), minlength=len(S2DS))
    return Summary(out, counts, pixels)
