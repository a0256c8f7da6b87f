"""Vegetation: grass, leafy plants and moss."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw
from scipy import ndimage

from prune.synthetic.noise import Field, Rng, smooth
from prune.synthetic.wall import Center, Color, Wall, rgb

OVERSAMPLING = 3
"""Leaves are drawn this much larger and averaged down, so that their edges are soft."""

Outline = NDArray[np.float64]
"""Points (N, 2), x and y in px of the oversampled layer."""


class _Layers:
    """Color, coverage and height of a plant while its leaves are drawn, oversampled."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.shape = shape
        extent = (shape[1] * OVERSAMPLING, shape[0] * OVERSAMPLING)
        self.images = Image.new("RGB", extent), Image.new("L", extent), Image.new("L", extent)
        self.color, self.cover, self.height = (ImageDraw.Draw(image) for image in self.images)

    def polygon(self, outline: Outline, color: Color, level: float) -> None:
        """Draw a leaf or half of one at ``level`` (0…1) above the wall."""
        points = [(float(x), float(y)) for x, y in outline]
        red, green, blue = (int(255 * min(1.0, max(0.0, float(v)))) for v in color)
        self.color.polygon(points, fill=(red, green, blue))
        self.cover.polygon(points, fill=255)
        self.height.polygon(points, fill=int(255 * level))

    def developed(self) -> tuple[Color, Field, Field]:
        """Color float32 (H, W, 3), coverage and height float32 (H, W), all in 0…1."""
        color, cover, height = (np.asarray(i.reduce(OVERSAMPLING), np.float32) / np.float32(255) for i in self.images)
        # Averaging mixed leaf color with the empty (black) ground; undo that where leaves cover a part only.
        return np.clip(color / np.maximum(cover, 0.05)[..., None], 0, 1), cover, height


def _leaf(base: Outline, angle: float, length: float, breadth: float, lobed: bool) -> tuple[Outline, Outline]:
    """The two halves of a leaf on either side of its midrib, which bends a little."""
    t = np.linspace(0, 1, 16)
    half = breadth * np.sin(np.pi * t**0.7) * (1 + (0.35 * np.cos(5 * np.pi * t) if lobed else 0))
    rib = np.stack([t * length, 0.5 * breadth * np.sin(2 * angle) * t**2], axis=1)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    sides = [np.concatenate([rib + np.stack([0 * t, sign * half], axis=1), rib[::-1]]) for sign in (1, -1)]
    return base + sides[0] @ turn, base + sides[1] @ turn


def _green(rng: Rng, brightness: float) -> Color:
    """A leaf's color: fresh, yellowish or dark."""
    fresh, yellow, dark = rgb(0.24, 0.46, 0.11), rgb(0.44, 0.52, 0.14), rgb(0.12, 0.31, 0.12)
    weights = rng.dirichlet([2.5, 1.2, 1.5])
    return ((weights[0] * fresh + weights[1] * yellow + weights[2] * dark) * brightness).astype(np.float32)


def _leaves(rng: Rng, layers: _Layers, middle: Outline, extent: float) -> None:
    """A leafy plant: low leaves dark and first, high ones bright and last."""
    lobed, count = bool(rng.random() < 0.4), int(rng.integers(45, 85))
    stems = middle + rng.normal(0, 0.36 * extent, (count, 2))
    for number, base in enumerate(stems):
        outward = np.arctan2(*(base - middle)[::-1])
        angle, length = outward + rng.normal(0, 0.7), extent * rng.uniform(0.28, 0.55)
        level = 0.25 + 0.75 * number / count
        green = _green(rng, 0.55 + 0.6 * level)
        upper, lower = _leaf(base, angle, length, length * rng.uniform(0.24, 0.36), lobed)
        layers.polygon(upper, green * np.float32(1.12), level)
        layers.polygon(lower, green * np.float32(0.8), level * 0.93)
        rib = [tuple(upper[i]) for i in (0, 8, 15)]
        layers.color.line(
            rib, fill=tuple(int(v) for v in np.clip(green * 330 + 18, 0, 255)), width=max(1, int(length / 30))
        )


def _grass(rng: Rng, layers: _Layers, middle: Outline, extent: float) -> None:
    """A tuft: blades that rise from one spot, fan out and hang over."""
    count = int(rng.integers(55, 100))
    t = np.linspace(0, 1, 12)[:, None]
    for number in range(count):
        lean = rng.normal(0, 0.55)
        length, thick = extent * rng.uniform(0.8, 2.0), extent * rng.uniform(0.03, 0.06)
        foot = middle + np.array([rng.normal(0, 0.22), rng.normal(0.8, 0.06)]) * extent
        right, down = t * np.sin(lean) + 0.5 * lean * t**3, 0.3 * abs(lean) * t**3 - t * np.cos(lean)
        course = foot + length * np.concatenate([right, down], axis=1)
        taper = thick * (1 - t) ** 0.6 * [1, 0.25]
        level = 0.25 + 0.75 * number / count
        layers.polygon(np.concatenate([course - taper, (course + taper)[::-1]]), _green(rng, 0.6 + 0.65 * level), level)


def _moss(part: Wall, center: Center, radius: float) -> tuple[Color, Field, Field]:
    """Cushions of moss: color float32 (H, W, 3), coverage and height float32 (H, W), all in 0…1."""
    shape = part.blob(center, radius, 0.9, np.exp(part.rng.normal(0.2, 0.4)))
    clumps = smooth(part.noise.local(0.9, part.shape), max(0.6, part.side * 0.005))
    clumps /= clumps.std() + 1e-6
    cover = np.clip(5 * (shape + 0.16 * clumps), 0, 1)
    tone = np.clip(0.45 + 0.22 * clumps + 0.16 * part.noise.local(0.4, part.shape), 0, 1)[..., None]
    color = rgb(0.1, 0.17, 0.045) * (1 - tone) + rgb(0.4, 0.5, 0.13) * tone
    height = cover * (0.35 + 0.1 * clumps + 0.035 * part.noise.local(0.4, part.shape))
    return color.astype(np.float32), cover.astype(np.float32), np.clip(height, 0, 1).astype(np.float32)


def vegetation(wall: Wall, center: Center, radius: float) -> None:
    """Let something green grow: grass, a leafy plant, or a cover of moss; leaves stand in some moss too."""
    rng = wall.rng
    kind = rng.choice(["grass", "leaves", "moss"], p=[0.3, 0.4, 0.3])
    part = wall.part(center, 2.6 * radius)
    patches = [_moss(part, center, radius * (1.0 if kind == "moss" else 0.62))]
    if kind != "moss":
        layers = _Layers(part.shape)
        middle = (np.array(center[::-1]) * wall.side - np.array(part.origin[::-1])) * OVERSAMPLING
        grow = _grass if kind == "grass" else _leaves
        grow(rng, layers, middle, radius * wall.side * OVERSAMPLING)
        patches.append(layers.developed())
    covered = np.zeros(part.shape, dtype=np.float32)
    for color, cover, height in patches:
        mottled = color * (1 + 0.09 * part.noise(0.9, part.shape))[..., None]
        part.paint(mottled, 0.97 * cover)
        rise = smooth(height, 0.6) * wall.side * 0.03
        part.height[...] = np.where(cover > 0.3, np.maximum(part.height, rise), part.height)
        covered = np.maximum(covered, cover)
    green = smooth(covered, max(0.5, wall.side * 0.003)) > 0.45  # no annotator outlines the tip of a blade
    part.mark(green | ndimage.binary_closing(green, iterations=max(1, wall.side // 250)), "Vegetation")
