"""Drawn photographs of cracks, and a network that takes what is dark for a crack: surveys whose results are known."""

import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.api.model import Model
from prune.data.labels import CRACK
from prune.data.preprocessing import Preprocessing
from prune.inference.predictor import Card, Predictor

LIGHT, DARK = 200, 20
"""Gray levels of the surface and of cracks."""


class DarkPredictor(Predictor):
    """Everything darker than mid gray is a crack, with certainty; optionally it kills its own process at a photograph.

    Args:
        killed_at: Number of the photograph, from 1; 0 = never.
        records: Folder of the survey's records: it waits until one of an earlier photograph is there.
    """

    def __init__(self, killed_at: int = 0, records: Path | None = None) -> None:
        self.card = Card(
            "dark", Path("dark"), CRACK, Preprocessing((0.0,) * 3, (1.0,) * 3), "threshold", runtime="onnx"
        )
        self.calls, self.killed_at, self.records = 0, killed_at, records

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits float32 (1, 2, H, W): 40 times the distance from mid gray."""
        if batch.shape[-1] > 64:  # smaller ones only ask what kind of output this is
            self.calls += 1
            if self.calls == self.killed_at:
                while self.records is not None and not any(self.records.glob("[!.]*.json")):
                    time.sleep(0.01)
                os.kill(os.getpid(), signal.SIGKILL)
        dark = 40 * (0.5 - batch.mean(axis=1))
        return np.stack([-dark, dark], axis=1)


def dark_model(killed_at: int = 0, records: Path | None = None) -> Model:
    """The network as a model; it has no weights, so its digest is that of its name."""
    return Model(DarkPredictor(killed_at, records))


def photograph(
    path: Path,
    lines: Sequence[tuple[int, int, int, int]],
    size: tuple[int, int] = (120, 160),
    place: float | None = None,
) -> Path:
    """A light picture (H, W) with dark boxes (top, left, height, width), optionally with a GPS position, as PNG or JPEG.

    Args:
        path: The file.
        lines: The cracks.
        size: Height and width in px.
        place: Seconds north of 51° N and east of 13° E.
    """
    pixels = np.full((*size, 3), LIGHT, np.uint8)
    for top, left, height, width in lines:
        pixels[top : top + height, left : left + width] = DARK
    picture = Image.fromarray(pixels)
    exif = picture.getexif()
    if place is not None:
        exif.get_ifd(0x8825).update({1: "N", 2: (51.0, 0.0, place), 3: "E", 4: (13.0, 0.0, place)})
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path, exif=exif)
    return path


def photographs(folder: Path, count: int = 6) -> Path:
    """A folder of photographs with one to three cracks each."""
    for number in range(count):
        lines = [(20 + 30 * i, 10 + number, 3 + i, 60 + 10 * number) for i in range(1 + number % 3)]
        photograph(folder / f"pier {number}.png", lines)
    return folder


if __name__ == "__main__":  # a survey that is killed at the photograph of that number
    from prune.api.survey import survey

    model = dark_model(int(sys.argv[2]), Path(sys.argv[3]) / "photographs")
    survey(sys.argv[1], model, output=sys.argv[3], name="bridge", mm_per_pixel=0.5)
