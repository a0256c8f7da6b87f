"""One synthetic photograph with its label: what is on the wall, where, and in which order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import S2DS
from prune.data.synthetic.cracks import crack
from prune.data.synthetic.defects import Center, Mask, corrosion, efflorescence, joint, pencil, spall, water_stain
from prune.data.synthetic.objects import control_point, vegetation
from prune.data.synthetic.texture import Canvas, Rng, camera, concrete, light

Painter = Callable[[Rng, Canvas, Center, float], Mask]


@dataclass(frozen=True)
class Scene:
    """A photograph uint8 (S, S, 3), RGB, and its label uint8 (S, S) with S2DS ids 0…6."""

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """How often something appears and how large: probability, range of counts, range of radii (share of the side)."""

    class_name: str
    paint: Painter
    probability: float
    count: tuple[int, int]
    radius: tuple[float, float]


BEHIND = (
    Subject("Spalling", spall, 0.55, (1, 2), (0.1, 0.2)),
    Subject("Corrosion", corrosion, 0.55, (1, 2), (0.07, 0.14)),
    Subject("Efflorescence", efflorescence, 0.55, (1, 2), (0.06, 0.13)),
)
"""Areas that a crack may run across."""
IN_FRONT = (
    Subject("Vegetation", vegetation, 0.55, (1, 1), (0.1, 0.17)),
    Subject("Control Point", control_point, 0.6, (1, 2), (0.05, 0.085)),
)
CRACK_PROBABILITY = 0.8
DISTRACTORS = ((joint, 0.35), (water_stain, 0.4), (pencil, 0.35))


def _free_place(rng: Rng, label: NDArray[np.uint8], radius: float) -> Center:
    """Of several random places the one with the least on it, so that things rarely hide each other."""
    size = label.shape[0]
    places = rng.uniform(radius * 0.8, 1 - radius * 0.8, (12, 2))
    reach = int(radius * size)

    def taken(place: NDArray[np.float64]) -> int:
        row, column = (place * size).astype(int)
        return int((label[max(0, row - reach) : row + reach, max(0, column - reach) : column + reach] > 0).sum())

    best = min(places, key=taken)
    return float(best[0]), float(best[1])


def _paint(rng: Rng, canvas: Canvas, label: NDArray[np.uint8], subject: Subject) -> None:
    class_id = S2DS.classes.index(subject.class_name)
    for _ in range(int(rng.integers(subject.count[0], subject.count[1] + 1))):
        radius = float(rng.uniform(*subject.radius))
        label[subject.paint(rng, canvas, _free_place(rng, label, radius), radius)] = class_id


def draw_scene(size: int, rng: Rng) -> Scene:
    """Draw one square photograph of a damaged concrete wall, ``size`` px wide, with its label.

    Joints, damp patches, pencil marks and shadows appear too and are labeled as background. What is drawn later hides
    what was drawn earlier, in the photograph and in the label alike.
    """
    canvas = concrete(rng, size)
    label = np.zeros((size, size), dtype=np.uint8)
    for distract, probability in DISTRACTORS:
        if rng.random() < probability:
            distract(rng, canvas)
    for subject in BEHIND:
        if rng.random() < subject.probability:
            _paint(rng, canvas, label, subject)
    if rng.random() < CRACK_PROBABILITY:
        label[crack(rng, canvas)] = S2DS.classes.index("Crack")
    for subject in IN_FRONT:
        if rng.random() < subject.probability:
            _paint(rng, canvas, label, subject)
    light(rng, canvas)
    return Scene(camera(rng, canvas), label)
