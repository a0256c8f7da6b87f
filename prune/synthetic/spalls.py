"""Spalling: craters in the cover with exposed aggregate, sometimes down to the reinforcement."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import cKDTree

from prune.synthetic.noise import Field, smooth
from prune.synthetic.wall import Center, Color, Mask, Wall, rgb

STONES = np.array(
    [
        (0.60, 0.57, 0.52),
        (0.46, 0.44, 0.42),
        (0.55, 0.46, 0.36),
        (0.36, 0.34, 0.33),
        (0.68, 0.65, 0.6),
        (0.5, 0.4, 0.34),
    ],
    dtype=np.float32,
)
"""Colors of river gravel and crushed rock, RGB."""
MORTAR = rgb(0.53, 0.5, 0.45)


def _aggregate(part: Wall, mask: Mask) -> tuple[Field, Color]:
    """Stones in mortar: height in px, float32 (H, W), and color, float32 (H, W, 3).

    The stones are Voronoi cells around random points with bent borders: densely packed, of uneven size, never round.
    They are worked out where ``mask`` is set; the search for the nearest points is what takes long.
    """
    rng, shape = part.rng, part.shape
    pitch = max(2.6, part.side * rng.uniform(0.014, 0.022))
    count = max(8, int(shape[0] * shape[1] / pitch**2))
    rows, columns = np.indices(shape, dtype=np.float32)
    bend = np.float32(0.22 * pitch)
    points = np.stack([rows + bend * part.noise(1.2, shape), columns + bend * part.noise(1.2, shape)], axis=-1)
    cell, lead = np.zeros(shape, dtype=np.intp), np.zeros(shape, dtype=np.float32)
    cell[mask], lead[mask] = _cells(rng.uniform(0, 1, (count, 2)) * shape, points[mask])
    stone = rng.random(count) < 0.62
    size = rng.uniform(0.35, 1, count).astype(np.float32)
    dome = np.clip(lead / pitch - (1 - size[cell]) * 0.6, 0, None) * stone[cell]
    rise = np.tanh(2.5 * dome) * pitch * 0.42
    tint = STONES[rng.integers(0, len(STONES), count)] * rng.uniform(0.8, 1.15, (count, 1)).astype(np.float32)
    sandy = MORTAR * (1 + 0.07 * part.noise(0.4, shape) + 0.07 * part.noise(0.9, shape))[..., None]
    cover = np.clip(dome * 6, 0, 1)[..., None]
    color = sandy + cover * (tint[cell] * (1 + 0.06 * part.noise(0.9, shape))[..., None] - sandy)
    return rise.astype(np.float32), color.astype(np.float32)


def _cells(seeds: NDArray[np.float64], points: NDArray[np.float32]) -> tuple[NDArray[np.intp], Field]:
    """Which of ``seeds`` (N, 2) is nearest to each of ``points`` (M, 2), and by how many px; each (M,)."""
    distances, nearest = cKDTree(seeds).query(points, k=2)
    return nearest[:, 0], (distances[:, 1] - distances[:, 0]).astype(np.float32)


def _bar(part: Wall, center: Center, radius: float) -> tuple[Field, Color]:
    """A ribbed reinforcing bar: height of its back over its axis in px (−inf beside it) and rusty color."""
    rng = part.rng
    down, right = part.offsets(
        (center[0] + rng.uniform(-0.25, 0.25) * radius, center[1] + rng.uniform(-0.25, 0.25) * radius)
    )
    turn = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.12)
    along = (right * np.cos(turn) + down * np.sin(turn)) * part.side
    across = (down * np.cos(turn) - right * np.sin(turn)) * part.side
    thick = max(1.3, part.side * rng.uniform(0.011, 0.017))
    ribs = np.cos((along + 0.55 * across) / thick * 3.6)
    wide = np.float32(thick) * (1 + 0.06 * part.noise.local(1.2, part.shape) + 0.06 * ribs)
    inside = np.clip(1 - (across / wide) ** 2, 0, None)
    back = np.where(inside > 0, wide * np.sqrt(inside) + 0.12 * thick * ribs, -np.inf)
    tone = np.clip(0.4 + 0.3 * part.noise.local(0.9, part.shape) + 0.15 * ribs, 0, 1)[..., None]
    color = rgb(0.17, 0.085, 0.05) * (1 - tone) + rgb(0.5, 0.24, 0.1) * tone
    return back.astype(np.float32), color.astype(np.float32)


def _crater(part: Wall, center: Center, radius: float) -> tuple[Mask, Field]:
    """Outline, and depth below the skin in px: a broken rim, a terrace and an uneven floor."""
    rng = part.rng
    shape = part.blob(center, radius, rng.uniform(0.3, 0.5), rng.uniform(0.65, 1.6))
    mask = ndimage.binary_fill_holes(smooth(shape, max(0.6, part.side * 0.003)) > 0)
    inward = np.clip(shape, 0, None)
    steep = np.tanh(inward * 16)
    terrace = 1 / (1 + np.exp(-(inward - rng.uniform(0.25, 0.4) + 0.08 * part.noise.local(1.2, part.shape)) * 22))
    deepest = part.side * (0.006 + radius * rng.uniform(0.16, 0.26))
    rolling = smooth(part.noise.local(1.5, part.shape), part.side * 0.004)
    depth = deepest * (0.62 * steep + 0.38 * terrace + 0.12 * rolling) + 0.16 * part.noise(0.9, part.shape)
    return mask, np.clip(depth, 0, None).astype(np.float32) * mask


def spall(wall: Wall, center: Center, radius: float) -> None:
    """Break a crater out of the cover. A bar that shows is labeled corrosion: rust looks the same everywhere."""
    rng = wall.rng
    part = wall.part(center, 2.1 * radius)
    mask, depth = _crater(part, center, radius)
    rise, color = _aggregate(part, ndimage.binary_dilation(mask, iterations=2))
    floor = np.minimum(rise - depth, 0.15 * rise)
    color *= np.float32(rng.uniform(0.8, 1.1))
    bare = np.zeros_like(mask)
    if rng.random() < 0.5:
        back, rust = _bar(part, center, radius)
        axis = -float(np.percentile(depth[mask], 60)) if mask.any() else 0.0
        bare = mask & (back + axis > floor)
        glow = np.clip(smooth(bare.astype(np.float32), part.side * 0.012) * 1.5, 0, 0.8)
        color *= 1 + glow[..., None] * (rgb(0.85, 0.58, 0.38) - 1)
        floor, color = np.where(bare, back + axis, floor), np.where(bare[..., None], rust, color)
    soft = smooth(mask.astype(np.float32), 0.5)
    part.height[...] += soft * (floor - part.height)
    part.paint(color, soft)
    edge = np.clip(soft * (1 - soft) * 4, 0, 1) * (part.noise(0.9, part.shape) > 0)
    part.paint(rgb(0.72, 0.7, 0.66), 0.35 * edge)
    part.mark(mask, "Spalling")
    part.mark(mask & (smooth(bare.astype(np.float32), max(0.6, part.side * 0.003)) > 0.45), "Corrosion")
