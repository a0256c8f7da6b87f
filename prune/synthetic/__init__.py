"""S2DS-like photographs drawn from a seed: for demos, tests and trying things out before real data are available."""

import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.data.find_split import SPLITS
from prune.data.images import encoded
from prune.data.labels import S2DS
from prune.errors import UserError
from prune.files import visible, write_bytes
from prune.progress import progress
from prune.synthetic.scene import Scene, draw_scene, require_surface

__all__ = ["Scene", "Summary", "draw_scene", "split_counts", "synthesize", "unfinished"]

KINDS = ("Images", "Labels_grayscale", "Labels_RGB")
SMALLEST = 64
"""Side in px below which the subjects are too small to draw."""


@dataclass(frozen=True)
class Summary:
    """What was drawn.

    Args:
        folder: Where the split folders lie.
        counts: Images per split.
        pixels: Labeled pixels per class, int64 (C,).
    """

    folder: Path
    counts: dict[str, int]
    pixels: NDArray[np.int64]

    def __str__(self) -> str:
        """Two lines: images per split and where they are, and the share of every class."""
        shares = ", ".join(
            f"{name} {share:.1%}" for name, share in zip(S2DS.classes, self.pixels / self.pixels.sum(), strict=True)
        )
        drawn = ", ".join(f"{name} {count}" for name, count in self.counts.items())
        return f"{sum(self.counts.values())} images ({drawn}) in {self.folder}\n{shares}"

    def _repr_html_(self) -> str:
        """The same, for notebooks."""
        return f"<pre>{html.escape(str(self))}</pre>"


def split_counts(images: int) -> dict[str, int]:
    """How many of ``images`` go to train, val and test: about 70, 15 and 15%, at least one each."""
    side = max(1, round(0.15 * images))
    return dict(zip(SPLITS, (images - 2 * side, side, side), strict=True))


def _stem(number: int) -> str:
    return f"{number:03d}"


def _refuse_to_mix(out: Path, names: list[str], force: bool) -> None:
    """Raise ``UserError`` when files of another set would stay among the new ones, or be replaced without ``force``.

    A leftover of a larger set could be a copy of an image that is now in another split.
    """
    new = {out / name / kind / f"{_stem(number)}.png" for number, name in enumerate(names) for kind in KINDS}
    for name in SPLITS:
        found = sorted(p for p in (out / name).rglob("*") if p.is_file() and not p.name.startswith("."))
        if found and not force and not unfinished(out):
            raise UserError(_already(out / name))
        foreign = [path for path in found if path not in new]
        if foreign:
            raise UserError(
                f"{foreign[0]} does not belong to the new set: choose another folder or remove {out / name}"
            )


def _already(folder: Path) -> str:
    return f"{folder} already contains files: choose another folder or add --force"


def unfinished(folder: Path) -> bool:
    """Whether a ``synthesize`` into ``folder`` was stopped: numbered images, but not all pictures of a whole set.

    Data of another kind, which are not numbered through the splits, are never called unfinished.
    """
    stems = {kind: [[f.stem for f in visible(folder / name / kind, "*.png")] for name in SPLITS] for kind in KINDS}
    images = [stem for part in stems["Images"] for stem in part]
    if not images or sorted(images) != sorted(_stem(number) for number in range(len(images))):
        return False
    whole = list(split_counts(len(images)).values())
    return [len(part) for part in stems["Images"]] != whole or any(found != stems["Images"] for found in stems.values())


def _write(scene: Scene, folder: Path, stem: str, force: bool) -> None:
    """Write the pictures of a scene that are missing, or with ``force`` all; those that are there must be of this set."""
    pictures = {}
    for kind, pixels in zip(KINDS, (scene.image, scene.label, S2DS.colorize(scene.label)), strict=True):
        content, path = encoded(Image.fromarray(pixels), "PNG"), folder / kind / f"{stem}.png"
        if force or not path.exists():
            pictures[path] = content
        elif path.read_bytes() != content:
            raise UserError(_already(folder))
    for path, content in pictures.items():
        write_bytes(path, content)


def synthesize(
    out: Path, images: int, size: int, seed: int, *, surface: str = "concrete", force: bool = False
) -> Summary:
    """Draw ``{train,val,test}/{Images,Labels_grayscale,Labels_RGB}/NNN.png`` under ``out``.

    Every image depends on the seed and its number alone; the same seed gives the same bytes under the same versions of
    NumPy, SciPy and Pillow. A drawing that was stopped continues where it was.

    Args:
        out: Folder to write to.
        images: Number of images over all splits, at least 3.
        size: Side of the square images in px, at least 64.
        seed: Seed of everything random, at least 0.
        surface: See ``draw_scene``.
        force: Replace the files of an earlier set; files that the new set does not replace are still refused.

    Raises:
        UserError: for too few or too small images, a negative seed, another surface, or a folder that already holds
            other files.
    """
    require_surface(surface)
    if images < 3:
        raise UserError(f"--images: expected at least 3, one per split, found {images}")
    if size < SMALLEST:
        raise UserError(f"--size: expected at least {SMALLEST} px, found {size}")
    if seed < 0:
        raise UserError(f"--seed: expected at least 0, found {seed}")
    counts = split_counts(images)
    names = [name for name, count in counts.items() for _ in range(count)]
    _refuse_to_mix(out, names, force)
    pixels = np.zeros(len(S2DS), dtype=np.int64)
    for number, name in enumerate(progress(names, "drawing")):
        scene = draw_scene(size, np.random.default_rng([seed, number]), surface)
        _write(scene, out / name, _stem(number), force)
        pixels += np.bincount(scene.label.ravel(), minlength=len(S2DS))
    return Summary(out, counts, pixels)
