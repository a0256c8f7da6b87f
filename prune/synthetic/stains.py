"""What water brings out: rust and lime that run down the wall, and damp patches that are no damage."""

import numpy as np
from scipy import ndimage

from prune.synthetic.noise import Field, smooth
from prune.synthetic.wall import Center, Mask, Wall, rgb

LABEL_OPACITY = 0.3
"""A stain is labeled where it is at least this opaque."""


def _run_down(part: Wall, source: Field, length: float) -> Field:
    """Let a stain run down, float32 (H, W) in 0…1.

    Every column carries on the strongest source above it, fading over ``length`` (a share of the image side, different
    for every runnel); the runnels meander.
    """
    rng, (height, width) = part.rng, part.shape
    grain = max(0.7, part.side * 0.007)
    runnels = ndimage.gaussian_filter1d(rng.standard_normal(width + 2), grain)[1:-1]
    runnels = runnels / (runnels.std() + 1e-6)
    strength = np.clip(0.4 + 0.55 * runnels, 0, 1).astype(np.float32)
    fade = np.exp(-1 / (part.side * length * np.exp(0.6 * runnels))).astype(np.float32)
    carried, run = np.zeros(width, dtype=np.float32), np.empty_like(source)
    for row in range(height):
        carried = np.maximum(carried * fade, source[row] * strength)
        run[row] = carried
    sway = ndimage.gaussian_filter1d(rng.standard_normal(height), part.side * 0.03, mode="reflect")
    sway *= part.side * 0.005 / (sway.std() + 1e-6)
    columns = np.clip(np.round(np.arange(width) + sway[:, None]).astype(int), 0, width - 1)
    run = np.take_along_axis(run, columns, axis=1)
    return np.maximum(source, ndimage.gaussian_filter(run, (0, max(0.4, part.side * 0.0018))))


def _labeled(part: Wall, opacity: Field) -> Mask:
    """Where a stain counts: opaque enough, without the speckle that no annotator would draw."""
    return smooth(opacity, max(0.6, part.side * 0.004)) > LABEL_OPACITY


def corrosion(wall: Wall, center: Center, radius: float) -> None:
    """Rust: blotches from dark brown to ocher with scabs in the middle, running down in streaks."""
    rng = wall.rng
    part = wall.part(center, 2.3 * radius, below=0.35)
    shape = part.blob(center, radius, rng.uniform(0.5, 0.8), np.exp(rng.normal(0.1, 0.45)))
    blotchy = np.clip(0.88 + 0.3 * part.noise.local(1.2, part.shape), 0, 1)
    run = _run_down(part, np.clip(2.2 * shape + 0.1, 0, 1), rng.uniform(0.05, 0.14))
    opacity = run * blotchy
    tone = np.clip(0.55 + 0.28 * part.noise.local(1.2, part.shape) - 0.35 * np.clip(shape, 0, 1), 0, 1)[..., None]
    glaze = rgb(0.62, 0.3, 0.12) * (1 - tone) + rgb(1.12, 0.66, 0.3) * tone
    part.stain(glaze, np.clip(1.05 * opacity, 0, 1))
    scab = np.clip(2.6 * (shape - 0.12 + 0.22 * part.noise.local(0.9, part.shape)), 0, 1)
    flaky = np.clip(0.5 + 0.3 * part.noise.local(0.9, part.shape), 0, 1)[..., None]
    part.paint(rgb(0.2, 0.09, 0.045) * (1 - flaky) + rgb(0.52, 0.25, 0.09) * flaky, (0.8 * scab).astype(np.float32))
    part.height[...] += scab * (part.side * 0.002 + 0.35 * part.noise(0.9, part.shape))
    part.mark(_labeled(part, opacity), "Corrosion")


def efflorescence(wall: Wall, center: Center, radius: float) -> None:
    """Lime: a chalky white crust with drips below, on concrete that is still damp around it."""
    rng = wall.rng
    part = wall.part(center, 2.5 * radius, below=0.38)
    shape = part.blob(center, radius, rng.uniform(0.6, 0.9), np.exp(rng.normal(0.35, 0.4)))
    source = np.clip(2.6 * shape + 0.25 * part.noise.local(0.9, part.shape) * (shape > -0.25), 0, 1)
    run = _run_down(part, source, rng.uniform(0.06, 0.16))
    damp = np.clip(smooth(run, part.side * 0.02) * 1.6, 0, 1)
    part.stain(rgb(0.74, 0.74, 0.75), damp)
    crust = np.clip(0.92 + 0.2 * part.noise.local(0.9, part.shape), 0, 1) * run
    haze = 0.22 * smooth(run, part.side * 0.008)
    opacity = np.clip(np.maximum(1.15 * crust, haze), 0, 0.97).astype(np.float32)
    lime = rgb(0.9, 0.895, 0.87) * (1 + 0.05 * part.noise.local(1.2, part.shape))[..., None]
    part.paint(lime, opacity)
    lumps = smooth(part.noise.local(0.9, part.shape), max(0.5, part.side * 0.004))
    part.height[...] += crust**2 * part.side * (0.002 + 0.003 * lumps / (lumps.std() + 1e-6))
    part.mark(_labeled(part, opacity), "Efflorescence")


def water_stain(wall: Wall) -> None:
    """A damp patch with a tide line, running down. Not damage, not labeled."""
    rng = wall.rng
    center = (rng.uniform(-0.05, 0.4), rng.uniform(0.1, 0.9))
    shape = wall.blob(center, rng.uniform(0.1, 0.22), 0.5, rng.uniform(0.8, 2))
    wet = smooth(_run_down(wall, np.clip(4 * shape, 0, 1), 0.4), wall.side * 0.004)
    tide = np.clip(1 - np.abs(wet - 0.3) / 0.15, 0, 1)
    wall.stain(rgb(0.6, 0.59, 0.57), wet * np.float32(rng.uniform(0.4, 0.8)) + 0.12 * tide)
