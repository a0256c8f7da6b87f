"""The bare wall: cement skin, boards of the formwork, pores."""

import numpy as np
from PIL import Image
from scipy import ndimage

from prune.synthetic.noise import Field
from prune.synthetic.wall import Wall, rgb


def concrete(wall: Wall) -> None:
    """Cover the whole wall with concrete: smooth, board-marked or weathered."""
    rng, shape = wall.rng, wall.shape
    weathered = rng.random() < 0.35
    tone = rng.uniform(0.44, 0.62)
    gray = tone + 0.035 * wall.noise(1.8, shape) + 0.026 * wall.noise(1.2, shape)
    gray += (0.034 if weathered else 0.02) * wall.noise(0.4, shape)
    wall.height[...] += rng.uniform(0.05, 0.1) * (1.8 if weathered else 1) * wall.noise(1.2, shape)
    if rng.random() < 0.5:
        gray += _boards(wall)
    if rng.random() < 0.5:
        gray -= _soiling(wall)
    warmth = rng.uniform(-0.04, 0.1)
    wall.albedo[...] = gray[..., None] * rgb(1 + warmth, 1 + 0.3 * warmth, 1 - warmth)
    wall.albedo[...] += 0.009 * wall.noise(1.8, shape)[..., None] * rgb(1, 0.15, -1)
    _sand(wall, 2.1 if weathered else 2.6)
    _pores(wall, int(rng.integers(60, 240)))


def _sand(wall: Wall, rarity: float) -> None:
    """Grains of sand that show through the skin: light and dark specks."""
    grain = wall.noise(0.4, wall.shape)
    specks = 0.16 * np.clip(grain - rarity, 0, 0.6) - 0.22 * np.clip(-grain - rarity, 0, 0.6)
    wall.albedo[...] += specks[..., None]


def _stretched(wall: Wall, factor: int) -> Field:
    """Noise drawn out along the rows by ``factor``, as the grain of wood is."""
    height, width = wall.shape
    narrow = wall.noise(0.9, (height, min(width, width // factor + 3)))
    return np.asarray(Image.fromarray(narrow).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)


def _boards(wall: Wall) -> Field:
    """Planks of the formwork, float32 (S, S): bands of different tone with wood grain; the seams become fins."""
    rng, size = wall.rng, wall.side
    count = int(rng.integers(3, 8))
    along = np.arange(size) * count / size + rng.uniform(0, 1)
    to_seam = np.abs(along - np.round(along)) * size / count
    fin = np.exp(-((to_seam / max(0.8, size * 0.0022)) ** 2)).astype(np.float32)
    tones = rng.normal(0, 0.022, count + 2)[along.astype(int)].astype(np.float32)
    shade = (tones - rng.uniform(0, 0.1) * fin)[:, None] + np.float32(0.018) * _stretched(wall, 14)
    relief = rng.uniform(-1, 1) * max(0.7, size * 0.003) * fin[:, None] + 0.09 * _stretched(wall, 14)
    if rng.random() < 0.5:
        shade, relief = shade.T, relief.T
    wall.height[...] += relief
    return np.ascontiguousarray(shade)


def _soiling(wall: Wall) -> Field:
    """Dirt that rain has drawn down from the top, float32 (S, S); how much darker the wall is there."""
    size = wall.side
    columns = ndimage.gaussian_filter1d(wall.rng.standard_normal(size), size * 0.012, mode="wrap")
    columns += 0.5 * ndimage.gaussian_filter1d(wall.rng.standard_normal(size), size * 0.05, mode="wrap") * 2
    strength = np.clip(columns / columns.std(), 0, 2.5) * wall.rng.uniform(0.02, 0.05)
    fade = np.exp(-np.linspace(0, wall.rng.uniform(0.5, 3), size))
    uneven = np.clip(0.8 + 0.3 * wall.noise(1.2, wall.shape), 0.2, 1.4)
    return (fade[:, None] * strength[None] * uneven).astype(np.float32)


def _pores(wall: Wall, count: int) -> None:
    """Bug holes left by air at the formwork: many small, few large, none labeled."""
    rng = wall.rng
    for _ in range(count):
        radius = max(0.5, wall.side * min(0.012, 0.0016 * rng.pareto(2.2) + 0.0009))
        part = wall.part((rng.uniform(0, 1), rng.uniform(0, 1)), 3 * radius / wall.side + 1 / wall.side)
        rows, columns = np.indices(part.shape, dtype=np.float32)
        middle = (np.array(part.shape) - 1) / 2
        squash = rng.uniform(0.7, 1.4)
        distance = np.hypot((rows - middle[0]) * squash, (columns - middle[1]) / squash) / radius
        pit = np.exp(-(distance**4)).astype(np.float32)
        part.height[...] -= rng.uniform(0.5, 0.9) * radius * pit
        part.stain(rgb(0.62, 0.6, 0.58), pit)
