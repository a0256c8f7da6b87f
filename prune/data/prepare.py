"""Official downloads and color labels in, the documented layout out."""

import shutil
from dataclasses import dataclass
from pathlib import Path

from PIL import Image

from prune.data.find_split import LAYOUTS, SPLITS, Split, find_split
from prune.data.images import encoded, read_image
from prune.data.labels import IGNORE_INDEX, S2DS
from prune.errors import UserError
from prune.files import atomic_path, write_bytes
from prune.progress import progress


@dataclass(frozen=True)
class PrepareResult:
    """What was converted."""

    output: Path
    counts: dict[str, int]
    layouts: dict[str, str]

    def __str__(self) -> str:
        lines = [f"{name:6} {count:4} pairs from {LAYOUTS[self.layouts[name]]}" for name, count in self.counts.items()]
        return "\n".join([*lines, f"written to {self.output}"])


def find_splits(source: Path) -> dict[str, Split]:
    """The splits under ``source`` by name, or ``source`` itself as the one split called ``.``; all are checked.

    Raises:
        UserError: when a split is unusable.
    """
    if not source.is_dir():
        raise UserError(f"data folder {source} not found")
    named = {name: source / name for name in SPLITS if (source / name).is_dir()}
    return {name: find_split(folder, S2DS) for name, folder in (named or {".": source}).items()}


def _write_pair(split: Split, index: int, folder: Path) -> None:
    pair = split.pairs[index]
    label = split.read_label(pair)
    read_image(pair.image)  # a damaged photograph must not be passed on
    with atomic_path(folder / "Images" / pair.image.name) as temporary:
        shutil.copyfile(pair.image, temporary)
    name = f"{pair.stem}.png"
    write_bytes(folder / "Labels_grayscale" / name, encoded(Image.fromarray(label), "PNG"))
    visible = label.copy()
    visible[label == IGNORE_INDEX] = 0
    write_bytes(folder / "Labels_RGB" / name, encoded(Image.fromarray(S2DS.colorize(visible)), "PNG"))


def prepare(source: Path, output: Path, *, force: bool = False) -> PrepareResult:
    """Convert official downloads and color labels into ``{split}/{Images,Labels_grayscale,Labels_RGB}``.

    Photographs are copied byte for byte; labels become single-channel PNGs of class ids (255 = ignored).

    Args:
        source: Folder with train/, val/, test/, or one split folder.
        output: Folder to write to.
        force: Write into a folder that already holds files.

    Raises:
        UserError: when a split is unusable, or the output already holds files and ``force`` is not given.
    """
    splits = find_splits(source)
    for name in splits:
        target = output / name
        if target.is_dir() and any(target.iterdir()) and not force:
            raise UserError(f"{target} already contains files: choose another folder or add --force")
    for name, split in splits.items():
        for index in progress(range(len(split.pairs)), f"preparing {name}", "pair"):
            _write_pair(split, index, output / name)
    counts = {name: len(split.pairs) for name, split in splits.items()}
    return PrepareResult(output, counts, {name: split.layout for name, split in splits.items()})
