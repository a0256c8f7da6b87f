"""What a command takes when nothing is named, so that every command line works in a bare clone."""

import shutil
from dataclasses import replace
from pathlib import Path

from prune.data.layout import default_data
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
