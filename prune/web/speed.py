"""How long a visitor of the page waits: the first result, and a change of the threshold; without browser and network."""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np

from prune.benchmark.figures import Figure
from prune.report.figures import save_image
from prune.synthetic.scene import draw_scene
from prune.web.desk import Desk, Look

SIZE = 1024
"""Side in px of the drawn photograph: 1.05 megapixels."""
REPEATS = 5
NETWORK = "crack"


def page_speed() -> list[Figure]:
    """Median seconds until the first result and milliseconds per threshold change, with the network that ships."""
    first, changes = [], []
    with TemporaryDirectory() as name:
        photo = save_image(draw_scene(SIZE, np.random.default_rng([14, 4])).image, Path(name) / "photo.jpg")
        desk = Desk(Path(name))
        desk.networks.open(NETWORK)  # as the page does when it starts
        for _ in range(REPEATS):
            start = perf_counter()
            token, _ = desk.take(str(photo), "")
            _both(desk, token, 0.5)
            first.append(perf_counter() - start)
            for threshold in (0.4, 0.6):
                start = perf_counter()
                _both(desk, token, threshold)
                changes.append(1000 * (perf_counter() - start))
    detail = (
        f"shipped network, drawn photograph of {SIZE}x{SIZE} px: read, overlay, table and files; median of {REPEATS}"
    )
    return [
        Figure("page, first result", statistics.median(first), "s", "<=", 2.0, detail),
        Figure("page, threshold change", statistics.median(changes), "ms", "<=", 150.0, detail),
    ]


def _both(desk: Desk, token: str, threshold: float) -> None:
    """What the page computes for a setting: the picture, then the table and the files."""
    look = Look(threshold=threshold)
    desk.draw(token, NETWORK, look)
    desk.measure(token, NETWORK, look)
