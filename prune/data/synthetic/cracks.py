"""Cracks: branching, wandering, tapering lines, one to several pixels wide."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from prune.data.synthetic.texture import Canvas, Field, Rng, coordinates, fractal

OVERSAMPLING = 4
"""Lines are drawn this much larger and averaged down, so that widths below a pixel are true."""
LABEL_COVERAGE = 0.4
"""A pixel is labeled crack when at least this share of it is open."""

Path = NDArray[np.float64]
"""Points (N, 2), x and y in px."""


def _wander(rng: Rng, start: NDArray[np.float64], heading: float, length: float, step: float) -> Path:
    """A crack path: a heading that drifts, with kinks where it meets aggregate."""
    count = max(4, int(length / step))
    drift = np.cumsum(rng.normal(0, 0.10, count)) * 0.6
    kinks = np.cumsum(rng.normal(0, 0.55, count) * (rng.random(count) < 0.12))
    kinks -= np.linspace(0, 0.75, count) * kinks  # the crack keeps following the stress that opened it
    angles = heading + drift + kinks + rng.normal(0, 0.28, count)
    steps = step * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return start + np.concatenate([np.zeros((1, 2)), np.cumsum(steps, axis=0)])


def _widths(rng: Rng, count: int, widest: float, tapered: bool) -> NDArray[np.float64]:
    """Width in px along a path: irregular, closing toward its tip (a branch) or toward both ends a little."""
    along = np.linspace(0, 1, count)
    profile = np.sqrt(1 - 0.97 * along) if tapered else 0.55 + 0.45 * np.sin(np.pi * (0.12 + 0.76 * along))
    ragged = np.exp(0.22 * ndimage.gaussian_filter1d(rng.standard_normal(count), 2) * 2)
    return np.maximum(0.45, widest * profile * ragged)


def _strokes(rng: Rng, size: int, widest: float) -> list[tuple[Path, NDArray[np.float64]]]:
    """Paths and widths of one crack with its branches."""
    side = rng.integers(4)
    along = rng.uniform(0.15, 0.85) * size
    start = np.array([(along, -2), (size + 2, along), (along, size + 2), (-2, along)][side], dtype=np.float64)
    heading = [np.pi / 2, np.pi, -np.pi / 2, 0.0][side] + rng.normal(0, 0.35)
    step = max(1.5, size / 110)
    main = _wander(rng, start, heading, size * rng.uniform(0.7, 1.25), step)
    strokes = [(main, _widths(rng, len(main), widest, tapered=bool(rng.random() < 0.4)))]
    for _ in range(int(rng.integers(0, 4))):
        at = int(rng.integers(len(main) // 8, len(main) - 3))
        ahead = main[at + 1] - main[at]
        turned = np.arctan2(ahead[1], ahead[0]) + rng.choice([-1, 1]) * rng.uniform(0.4, 1.1)
        branch = _wander(rng, main[at], turned, size * rng.uniform(0.12, 0.4), step)
        width = max(0.6, strokes[0][1][at] * rng.uniform(0.45, 0.8))
        strokes.append((branch, _widths(rng, len(branch), width, tapered=True)))
    return strokes


def _coverage(strokes: list[tuple[Path, NDArray[np.float64]]], size: int) -> Field:
    """Share of every pixel that is open, float32 (S, S) in 0…1."""
    k = OVERSAMPLING
    layer = Image.new("L", (size * k, size * k), 0)
    draw = ImageDraw.Draw(layer)
    for path, widths in strokes:
        for (x0, y0), (x1, y1), width in zip(path[:-1], path[1:], widths[:-1], strict=True):
            thick = width * k
            draw.line([x0 * k, y0 * k, x1 * k, y1 * k], fill=255, width=max(1, round(thick)))
            draw.ellipse([x1 * k - thick / 2, y1 * k - thick / 2, x1 * k + thick / 2, y1 * k + thick / 2], fill=255)
    large = np.asarray(layer, dtype=np.float32) / 255
    return large.reshape(size, k, size, k).mean(axis=(1, 3))


def crack(rng: Rng, canvas: Canvas) -> NDArray[np.bool_]:
    """Open a branching crack across the canvas (in place) and return its label, bool (S, S).

    The widest part measures 1 px up to about a hundredth of the image side. The label is what is really open.
    """
    size = canvas.shape[0]
    widest = rng.uniform(1.0, max(2.2, size / 100))
    coverage = _coverage(_strokes(rng, size, widest), size)
    rows, columns = coordinates(size)
    if rng.random() < 0.4:
        lit = ndimage.shift(coverage, (1, 1), order=1)
        canvas *= (1 + 0.25 * np.clip(ndimage.gaussian_filter(lit, 0.7) - coverage, 0, 1))[..., None]
    dark = rng.uniform(0.12, 0.32) + 0.04 * fractal(rng, size, 0.8) + 0.02 * (rows - columns)
    tint = np.array([1.0, 0.94, 0.88], dtype=np.float32) * np.clip(dark, 0.03, 0.5)[..., None]
    soft = np.maximum(coverage, 0.55 * ndimage.gaussian_filter(coverage, 0.6))
    canvas += soft[..., None] * (tint * canvas.mean() * 1.3 - canvas)
    return coverage >= LABEL_COVERAGE
