"""One synthetic photograph with its label: what is on the wall, where, and in which order."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError
from prune.options import SURFACES
from prune.synthetic.asphalt import asphalt, lettering, marking, oil, patch, pavement_crack, track, twigs
from prune.synthetic.concrete import concrete
from prune.synthetic.cracks import crack
from prune.synthetic.light import illuminate, photograph
from prune.synthetic.noise import Rng
from prune.synthetic.objects import anchors, control_point, joint, pencil
from prune.synthetic.plants import vegetation
from prune.synthetic.spalls import spall
from prune.synthetic.stains import corrosion, efflorescence, water_stain
from prune.synthetic.wall import Center, Wall


@dataclass(frozen=True)
class Scene:
    """A photograph uint8 (S, S, 3), RGB, and its label uint8 (S, S) with S2DS ids 0…6."""

    image: NDArray[np.uint8]
    label: NDArray[np.uint8]


@dataclass(frozen=True)
class Subject:
    """How often something appears at all, and the range of its radius as a share of the side."""

    paint: Callable[[Wall, Center, float], None]
    probability: float
    radius: tuple[float, float]


STAINS = (Subject(efflorescence, 0.66, (0.07, 0.125)), Subject(corrosion, 0.66, (0.06, 0.115)))
SPALLS = (Subject(spall, 0.68, (0.085, 0.165)),)
IN_FRONT = (Subject(vegetation, 0.66, (0.09, 0.15)), Subject(control_point, 0.68, (0.05, 0.085)))
CRACK_PROBABILITY = 0.85
SECOND_PROBABILITY = 0.4
"""How often what appears does so twice."""
DISTRACTORS = ((joint, 0.3), (anchors, 0.25), (water_stain, 0.35), (pencil, 0.35))
ON_PAVEMENT = ((patch, 0.25), (track, 0.4), (oil, 0.35), (marking, 0.25), (lettering, 0.2))
PLANT_PROBABILITY, TWIG_PROBABILITY = 0.15, 0.3


def _free_place(wall: Wall, radius: float) -> Center:
    """Of several random places the one with the least on it, so that things rarely hide each other."""
    places = wall.rng.uniform(0.9 * radius, 1 - 0.9 * radius, (12, 2))
    taken = [np.count_nonzero(wall.part((row, column), 1.2 * radius).label) for row, column in places]
    row, column = places[int(np.argmin(taken))]
    return float(row), float(column)


def _paint(wall: Wall, subjects: tuple[Subject, ...]) -> None:
    """Paint each of ``subjects`` or not, at random."""
    for subject in subjects:
        if wall.rng.random() < subject.probability:
            for _ in range(2 if wall.rng.random() < SECOND_PROBABILITY else 1):
                radius = float(wall.rng.uniform(*subject.radius))
                subject.paint(wall, _free_place(wall, radius), radius)


def require_surface(surface: object) -> None:
    """Raise ``UserError`` for a surface that cannot be drawn."""
    if surface not in SURFACES:
        raise UserError(f"--surface: expected one of {', '.join(SURFACES)}, found {surface!r}")


def draw_scene(size: int, rng: Rng, surface: str = "concrete") -> Scene:
    """Draw one square photograph of damaged concrete or asphalt, ``size`` px wide, with its label.

    On concrete joints, anchor holes, damp patches, pencil marks and shadows appear too and are labeled as background, on
    asphalt worn markings and letters, oil, patches with their seams, tracks and twigs. What is drawn later hides what was drawn
    earlier, in the photograph and in the label alike.

    Args:
        size: Side of the image in px, at least 64; everything on the surface scales with it.
        rng: Source of everything random; the same state draws the same picture.
        surface: ``concrete`` with all seven classes, ``asphalt`` with cracks and vegetation, or ``mixed``.

    Raises:
        UserError: for another surface.
    """
    require_surface(surface)
    if surface == "mixed":
        surface = SURFACES[int(rng.integers(2))]
    wall = Wall.blank(rng, size)
    draw = _concrete if surface == "concrete" else _asphalt
    draw(wall)
    return Scene(photograph(rng, illuminate(wall)), wall.label)


def _asphalt(wall: Wall) -> None:
    asphalt(wall)
    for distract, probability in ON_PAVEMENT:
        if wall.rng.random() < probability:
            distract(wall)
    if wall.rng.random() < CRACK_PROBABILITY:
        pavement_crack(wall)
    if wall.rng.random() < TWIG_PROBABILITY:
        twigs(wall)
    _paint(wall, (Subject(vegetation, PLANT_PROBABILITY, (0.06, 0.12)),))


def _concrete(wall: Wall) -> None:
    concrete(wall)
    for distract, probability in DISTRACTORS:
        if wall.rng.random() < probability:
            distract(wall)
    _paint(wall, STAINS)
    through = wall.rng.random() < 0.35  # a crack that opened after the cover had spalled runs through the crater
    if through:
        _paint(wall, SPALLS)
    if wall.rng.random() < CRACK_PROBABILITY:
        crack(wall)
    if not through:
        _paint(wall, SPALLS)
    _paint(wall, IN_FRONT)
