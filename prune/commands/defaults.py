"""What a command takes when nothing is named, so that every command line works in a bare clone."""

import shutil
from dataclasses import replace
from pathlib import Path

from prune.config import DataOptions
from prune.data.labels import ClassSet
from prune.data.layout import Split, default_data, find_split
from prune.data.synthetic import synthesize

DEMO_IMAGES, DEMO_SIZE, DEMO_SEED = 60, 128, 0


def draw_demo_data(folder: Path) -> None:
    """Draw the demo data; ``folder`` appears only when they are complete."""
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    drawn = synthesize(partial, DEMO_IMAGES, DEMO_SIZE, DEMO_SEED)
    partial.rename(folder)
    print(replace(drawn, folder=folder))


def data_folder() -> Path:
    """The default data folder; the demo data are drawn when there is neither them nor ``data/S2DS``."""
    folder = default_data()
    if not folder.is_dir():
        print(f"no data found: drawing {DEMO_IMAGES} synthetic images into {folder}")
        draw_demo_data(folder)
    return folder


def open_split(config: DataOptions, folder: str | Path | None, role: str, classes: ClassSet | None) -> Split:
    """The labeled images a command means, announced on the screen.

    Args:
        config: How to read them.
        folder: Split folder, list of names, or data folder with splits; None = the default data.
        role: The split taken of a data folder: train, val or test.
        classes: What the labels are read as, None = what they hold.

    Raises:
        UserError: when they cannot be used.
    """
    root = Path(folder) if folder else data_folder()
    split = find_split(root, classes, dataset=config.dataset, role=role, threshold=config.mask_threshold)
    print(f"{role:8} {len(split.pairs)} images in {split.folder}: {split.describe()}")
    return split
