"""Cracks: branching, wandering, tapering lines, one to several pixels wide."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from prune.synthetic.noise import Field, Rng, smooth
from prune.synthetic.wall import Wall, rgb

LABEL_COVERAGE = 0.4
"""A pixel is labeled crack when at least this share of it is open."""

Points = NDArray[np.float64]
"""Points (N, 2) of a line, x and y in px."""
Stroke = tuple[Points, NDArray[np.float64]]
"""A line and its width in px at every point."""


def _wander(rng: Rng, start: Points, heading: float, length: float, step: float) -> Points:
    """A crack's course: a heading that drifts, with kinks where it meets aggregate."""
    count = max(4, int(length / step))
    drift = np.cumsum(rng.normal(0, 0.06, count))
    kinks = np.cumsum(rng.normal(0, 0.6, count) * (rng.random(count) < 0.12))
    kinks -= 0.8 * ndimage.gaussian_filter1d(kinks, 14)  # it keeps following the stress that opened it
    angles = heading + drift + kinks + rng.normal(0, 0.38, count)
    steps = step * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def widths_along(rng: Rng, count: int, widest: float, tapered: bool) -> NDArray[np.float64]:
    """Width in px along a course: irregular, closing toward its tip (a branch) or toward both ends a little."""
    along = np.linspace(0, 1, count)
    profile = np.sqrt(1 - 0.97 * along) if tapered else 0.5 + 0.5 * np.sin(np.pi * (0.12 + 0.76 * along))
    ragged = np.exp(0.4 * ndimage.gaussian_filter1d(rng.standard_normal(count), 2) * 2 + rng.normal(0, 0.14, count))
    return np.maximum(0.5, widest * profile * ragged)


def _branches(rng: Rng, stem: Stroke, size: int, step: float, count: int) -> list[Stroke]:
    """Narrower cracks that leave ``stem``."""
    course, widths = stem
    grown = []
    for _ in range(count):
        at = int(rng.integers(len(course) // 8, max(len(course) // 8 + 1, len(course) - 3)))
        ahead = course[at + 1] - course[at]
        turned = np.arctan2(ahead[1], ahead[0]) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
        branch = _wander(rng, course[at], turned, size * rng.uniform(0.1, 0.42), step)
        grown.append(
            (branch, widths_along(rng, len(branch), max(0.7, widths[at] * rng.uniform(0.4, 0.75)), tapered=True))
        )
    return grown


def branching(rng: Rng, size: int, widest: float) -> list[Stroke]:
    """One crack that enters at a border, with its branches and theirs."""
    along = rng.uniform(0.15, 0.85) * size
    side = int(rng.integers(4))
    start = np.array([(along, -2), (size + 2, along), (along, size + 2), (-2, along)][side], dtype=np.float64)
    heading = [np.pi / 2, np.pi, -np.pi / 2, 0.0][side] + rng.normal(0, 0.35)
    step = max(1.3, size / 130)
    course = _wander(rng, start, heading, size * rng.uniform(0.75, 1.35), step)
    stem = (course, widths_along(rng, len(course), widest, tapered=bool(rng.random() < 0.4)))
    first = _branches(rng, stem, size, step, int(rng.integers(0, 5)))
    second = [twig for branch in first for twig in _branches(rng, branch, size // 2, step, int(rng.integers(0, 2)))]
    return [stem, *first, *second]


def open_share(strokes: list[Stroke], size: int) -> Field:
    """Share of every pixel that is open, float32 (S, S) in 0…1."""
    k = 4 if size < 400 else 2  # drawn larger and averaged down, so that widths below a pixel are true
    layer = Image.new("L", (size * k, size * k), 0)
    draw = ImageDraw.Draw(layer)
    for course, widths in strokes:
        for (x0, y0), (x1, y1), width in zip(k * course[:-1], k * course[1:], k * widths[:-1], strict=True):
            draw.line([x0, y0, x1, y1], fill=255, width=max(1, round(width)))
            draw.ellipse([x1 - width / 2, y1 - width / 2, x1 + width / 2, y1 + width / 2], fill=255)
    return np.asarray(layer.reduce(k), dtype=np.float32) / np.float32(255)


def crack(wall: Wall) -> None:
    """Open a branching crack across the wall; the label is what is really open.

    The widest part measures from 1 px to the larger of 3 px and a hundredth of the image side.
    """
    rng, size = wall.rng, wall.side
    narrow, wide = max(1.0, size / 300), max(3.0, size / 100)
    widest = narrow + (wide - narrow) * rng.random() ** 1.3
    coverage = open_share(branching(rng, size, widest), size)
    near = smooth(coverage, widest * 0.8)
    if rng.random() < 0.5:  # edges that broke away show lighter concrete
        chips = np.clip(3 * near, 0, 1) * (wall.noise(0.9, wall.shape) > 0.7)
        wall.paint(rgb(0.66, 0.64, 0.6), 0.45 * ndimage.gaussian_filter(chips, 0.6))
        wall.height[...] -= 0.5 * chips
    if rng.random() < 0.5:  # dirt that water carried out
        wall.stain(rgb(0.6, 0.57, 0.53), np.clip(smooth(coverage, widest * 2.5) * 1.6, 0, 0.6))
    wall.height[...] -= 0.8 * widest * near
    soft = np.clip(np.maximum(coverage, 0.5 * ndimage.gaussian_filter(coverage, 0.6)), 0, 1)
    wall.paint(rgb(0.1, 0.09, 0.08) * np.float32(rng.uniform(0.5, 1.5)), 0.95 * soft)
    wall.mark(coverage >= LABEL_COVERAGE, "Crack")
