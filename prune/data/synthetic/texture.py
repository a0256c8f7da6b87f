"""Building blocks of the drawings: fractal noise, irregular blobs, concrete, light and the camera."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field = NDArray[np.float32]
"""Values per pixel, float32 (S, S)."""
Canvas = NDArray[np.float32]
"""RGB in 0…1, float32 (S, S, 3)."""
Rng = np.random.Generator


def fractal(rng: Rng, size: int, roughness: float) -> Field:
    """Noise with a power-law spectrum, mean 0 and standard deviation 1, float32 (size, size).

    ``roughness`` is the exponent of 1/f: 0 is white noise, 2 is cloudy.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    rows, columns = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None]
    frequency = np.hypot(rows, columns)
    frequency[0, 0] = np.inf
    field = np.fft.irfft2(spectrum * frequency**-roughness, s=(size, size))
    return ((field - field.mean()) / (field.std() + 1e-9)).astype(np.float32)


def coordinates(size: int) -> tuple[Field, Field]:
    """Row and column of every pixel, as fractions of the image side."""
    rows, columns = np.mgrid[0:size, 0:size].astype(np.float32) / size
    return rows, columns


def blob(rng: Rng, size: int, center: tuple[float, float], radius: float, wildness: float = 0.3) -> Field:
    """An irregular patch: 1 deep inside, 0 on its outline, negative outside.

    Args:
        rng: Source of the outline.
        size: Image side in px.
        center: Row and column as fractions of the side.
        radius: Mean radius as a fraction of the side.
        wildness: How far the outline strays.
    """
    rows, columns = coordinates(size)
    down, right = rows - center[0], (columns - center[1]) * rng.uniform(0.75, 1.3)
    angle = np.arctan2(down, right)
    reach = np.ones_like(rows)
    for lobes in range(2, 6):
        reach += wildness / lobes * rng.uniform(0.3, 1) * np.cos(lobes * angle + rng.uniform(0, 2 * np.pi))
    return (1 - np.hypot(down, right) / (radius * reach) + 0.5 * wildness * fractal(rng, size, 1.5)).astype(np.float32)


def mix(canvas: Canvas, color: NDArray[np.floating] | tuple[float, float, float], alpha: Field) -> None:
    """Paint ``color`` (one RGB triple or one per pixel) over ``canvas`` with opacity ``alpha``, in place."""
    canvas += alpha[..., None] * (np.asarray(color, dtype=np.float32) - canvas)


def concrete(rng: Rng, size: int) -> Canvas:
    """A bare concrete wall: clouds, grain, speckle, pores, sometimes the tone of form boards."""
    tone = rng.uniform(0.5, 0.72)
    tint = np.array([1.0, rng.uniform(0.965, 0.995), rng.uniform(0.88, 0.98)], dtype=np.float32)
    gray = tone + 0.045 * fractal(rng, size, 1.7) + 0.022 * fractal(rng, size, 0.9) + 0.018 * fractal(rng, size, 0.2)
    if rng.random() < 0.4:
        gray = gray + _boards(rng, size)
    canvas = gray[..., None] * tint
    canvas += 0.012 * fractal(rng, size, 1.6)[..., None] * np.array([1, 0.2, -1], dtype=np.float32)
    _pores(rng, canvas)
    return canvas.astype(np.float32)


def _boards(rng: Rng, size: int) -> Field:
    """Planks of the formwork: bands of slightly different tone with fine grooves between them."""
    count = int(rng.integers(3, 7))
    along = np.arange(size) * count / size + rng.uniform(0, 1)
    tones = rng.normal(0, 0.018, count + 2)[along.astype(int)]
    groove = -0.06 * np.exp(-(((along % 1) * size / count) ** 2) / max(0.7, size / 400))
    band = (tones + groove).astype(np.float32)
    field = np.repeat(band[:, None], size, axis=1)
    return field if rng.random() < 0.5 else np.ascontiguousarray(field.T)


def _pores(rng: Rng, canvas: Canvas) -> None:
    """Bug holes: small dark pits with a lit lower rim."""
    size = canvas.shape[0]
    for _ in range(int(rng.integers(8, 45))):
        radius = max(0.6, size * rng.uniform(0.0015, 0.006))
        reach = int(3 * radius + 2)
        row, column = rng.integers(reach, size - reach, 2)
        y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float32)
        squash = rng.uniform(0.7, 1.3)
        pit = np.exp(-(((x * squash) ** 2 + y**2) / radius**2) ** 2)
        rim = np.exp(-(((x * squash) ** 2 + (y - radius) ** 2) / radius**2))
        patch = canvas[row - reach : row + reach + 1, column - reach : column + reach + 1]
        patch *= (1 - 0.45 * pit + 0.08 * rim)[..., None]


def light(rng: Rng, canvas: Canvas) -> None:
    """Uneven light over everything: a gradient, vignetting, sometimes the soft edge of a cast shadow; in place."""
    size = canvas.shape[0]
    rows, columns = coordinates(size)
    angle = rng.uniform(0, 2 * np.pi)
    across = (rows - 0.5) * np.sin(angle) + (columns - 0.5) * np.cos(angle)
    factor = rng.uniform(0.88, 1.12) + rng.uniform(0.05, 0.35) * across
    factor -= rng.uniform(0, 0.5) * ((rows - 0.5) ** 2 + (columns - 0.5) ** 2)
    if rng.random() < 0.3:
        tilt = rng.uniform(0, 2 * np.pi)
        edge = (rows - 0.5) * np.sin(tilt) + (columns - 0.5) * np.cos(tilt) - rng.uniform(0.0, 0.3)
        factor *= 1 - rng.uniform(0.25, 0.45) / (1 + np.exp(-edge * rng.uniform(60, 200)))
    canvas *= factor[..., None]


def camera(rng: Rng, canvas: Canvas) -> NDArray[np.uint8]:
    """Develop the canvas into a photograph uint8 (S, S, 3): slight blur, sensor noise, JPEG softness."""
    size = canvas.shape[0]
    blurred = ndimage.gaussian_filter(canvas, (rng.uniform(0.2, 0.55),) * 2 + (0,))
    noisy = blurred + rng.normal(0, rng.uniform(0.006, 0.016), (size, size, 3))
    pixels = (np.clip(noisy, 0, 1) * 255).round().astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=int(rng.integers(84, 96)))
    return np.array(Image.open(buffer).convert("RGB"))
