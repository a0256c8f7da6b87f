"""What a command takes when nothing is named, so that every command line works in a bare clone."""

from pathlib import Path

from prune.data.layout import default_data
from prune.data.synthetic import synthesize

DEMO_IMAGES, DEMO_SIZE, DEMO_SEED = 60, 192, 0


def data_folder() -> Path:
    """The default data folder; the demo data are drawn when there is neither them nor ``data/S2DS``."""
    folder = default_data()
    if not folder.is_dir():
        print(f"no data found: drawing {DEMO_IMAGES} synthetic images into {folder}")
        synthesize(folder, DEMO_IMAGES, DEMO_SIZE, DEMO_SEED)
    return folder
