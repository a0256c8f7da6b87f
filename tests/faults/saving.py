"""A process that saves corrections as the page does: ``python -m tests.faults.saving FOLDER COUNT``."""

import sys
from pathlib import Path

import numpy as np

from prune.data.labels import S2DS
from prune.errors import run
from prune.web.correction import saved_pair
from tests.faults.verbs import drawn


def save(folder: Path, count: int) -> None:
    """Save corrected masks of drawn photographs."""
    for number in range(count):
        image = drawn(number, 96)
        saved_pair(image, (image[..., 0] < 100).astype(np.uint8), S2DS, folder, "wall")


if __name__ == "__main__":
    sys.exit(run(lambda: save(Path(sys.argv[1]), int(sys.argv[2]))))
