"""Light on the wall, and the camera that takes the photograph."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from prune.synthetic.noise import Field, Rng, smooth
from prune.synthetic.wall import Color, Wall, rgb

SHADOW_STEPS = 12
"""How far shadows reach; one step is about a 220th of the image side."""


def _cast(height: Field, toward: tuple[float, float], slope: float, step: float) -> Field:
    """How deep every point is in the shadow of what stands between it and the light, in px of height."""
    pad = int(SHADOW_STEPS * step) + 2
    padded = np.pad(height, pad, mode="edge")
    horizon = np.full_like(height, -np.inf)
    rows, columns = height.shape
    for k in range(1, SHADOW_STEPS + 1):
        down, right = round(k * step * toward[0]), round(k * step * toward[1])
        seen = padded[pad + down : pad + down + rows, pad + right : pad + right + columns]
        np.maximum(horizon, seen - np.float32(k * step * slope), out=horizon)
    return np.clip(horizon - height, 0, None)


def illuminate(wall: Wall) -> Color:
    """Light the wall by one sun and the sky: float32 (S, S, 3), RGB, a flat white wall is 1.

    The sun gives slopes their bright and dark side and casts shadows; the sky leaves hollows dim.
    """
    rng, size = wall.rng, wall.side
    azimuth, slope = rng.uniform(-np.pi, 0), rng.uniform(0.7, 1.3)  # light comes from above, as on real walls
    toward = float(np.sin(azimuth)), float(np.cos(azimuth))
    down, right = np.gradient(wall.height)
    facing = slope - down * np.float32(toward[0]) - right * np.float32(toward[1])
    direct = np.clip(facing / (slope * np.sqrt(1 + down**2 + right**2)), 0, 1.7)
    shadow = np.clip(_cast(wall.height, toward, slope, max(1.0, size / 220)) / max(0.7, size * 0.004), 0, 1)
    direct *= 1 - 0.9 * smooth(shadow, max(0.5, size * 0.002))
    hollow = wall.height - smooth(wall.height, size * 0.018)
    sky = np.clip(1 + hollow / (size * 0.022), 0.4, 1.15)
    sun = rng.uniform(0.5, 0.7)
    weather = _weather(rng, size)[..., None]
    lit = (1 - sun) * sky[..., None] * rgb(0.95, 0.99, 1.06)
    lit = lit + (sun * direct * np.sqrt(sky))[..., None] * weather * rgb(1.03, 1.0, 0.95)
    return (wall.albedo * lit).astype(np.float32)


def _weather(rng: Rng, size: int) -> Field:
    """Share of the sun that reaches the wall, float32 (S, S): sometimes the edge of a shadow crosses it."""
    reach = np.ones((size, size), dtype=np.float32)
    if rng.random() < 0.35:
        rows, columns = np.indices((size, size), dtype=np.float32) / size - 0.5
        tilt = rng.uniform(0, 2 * np.pi)
        edge = rows * np.sin(tilt) + columns * np.cos(tilt) - rng.uniform(0.0, 0.35)
        if rng.random() < 0.4:  # the shadow of a pole or a railing rather than that of a building
            edge = rng.uniform(0.03, 0.09) - np.abs(edge)
        reach -= rng.uniform(0.5, 0.85) / (1 + np.exp(-edge * rng.uniform(50, 250)))
    return reach.astype(np.float32)


def _lens(rng: Rng, size: int) -> Field:
    """Uneven exposure, float32 (S, S): a gradient across the picture and darker corners."""
    rows, columns = np.indices((size, size), dtype=np.float32) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi)
    gradient = rng.uniform(0, 0.28) * (rows * np.sin(angle) + columns * np.cos(angle))
    return (1 + gradient - rng.uniform(0.1, 0.5) * (rows**2 + columns**2)).astype(np.float32)


def photograph(rng: Rng, scene: Color) -> NDArray[np.uint8]:
    """Develop a lit scene into uint8 (S, S, 3), RGB: exposure, soft lens, sensor noise, tone curve, JPEG."""
    size = scene.shape[0]
    cast = rgb(*(1 + rng.normal(0, 0.018, 3)))
    scene = scene * _lens(rng, size)[..., None] * cast
    scene *= np.float32(rng.uniform(0.38, 0.62) / max(0.2, float(np.median(scene))))
    sharpness = rng.uniform(0.25, 0.55)
    scene = ndimage.gaussian_filter(scene, (sharpness, sharpness, 0))
    grain = rng.standard_normal(scene.shape, dtype=np.float32) * np.float32(rng.uniform(0.006, 0.018))
    scene += grain * np.sqrt(np.clip(scene, 0.02, 1))
    scene = np.clip(scene, 0, 1.25)
    scene = scene * (1 + 0.18 * scene) / (1 + 0.36 * scene**2)  # highlights bend instead of clipping
    pixels = (np.clip(scene, 0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=int(rng.integers(86, 96)))
    return np.array(Image.open(buffer).convert("RGB"))
