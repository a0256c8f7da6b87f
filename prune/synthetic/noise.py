"""Fractal noise: the one source of irregularity of everything that is drawn."""

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

Field = NDArray[np.float32]
"""One value per pixel, float32 (H, W)."""
Rng = np.random.Generator


def fractal(rng: Rng, size: int, roughness: float) -> Field:
    """Periodic noise with a power-law spectrum, mean 0 and standard deviation 1, float32 (size, size).

    ``roughness`` is the exponent of 1/f: 0 is white noise, 2 is cloudy.
    """
    spectrum = np.fft.rfft2(rng.standard_normal((size, size), dtype=np.float32))
    rows, columns = np.fft.fftfreq(size).astype(np.float32), np.fft.rfftfreq(size).astype(np.float32)
    frequency = rows[:, None] ** 2 + columns**2
    frequency[0, 0] = np.inf
    spectrum *= frequency ** np.float32(-roughness / 2)
    field = np.fft.irfft2(spectrum, s=(size, size))
    return (field / (field.std() + 1e-9)).astype(np.float32)


class Noise:
    """A bank of noise: one field per roughness, returned shifted, mirrored and rotated.

    A Fourier transform per use would take most of the drawing time. The fields are periodic, so a shifted one has no
    seam and looks like another.
    """

    def __init__(self, rng: Rng, size: int) -> None:
        self._rng, self._size = rng, size
        self._fields: dict[float, Field] = {}

    def __call__(self, roughness: float, shape: tuple[int, int]) -> Field:
        """Noise float32 ``shape`` (no side above the image side) with standard deviation about 1; read-only."""
        if roughness not in self._fields:
            self._fields[roughness] = np.tile(fractal(self._rng, self._size, roughness), (2, 2))
            self._fields[roughness].flags.writeable = False  # the results are views
        flip_rows, flip_columns, turn = self._rng.integers(0, 2, 3)
        row, column = self._rng.integers(0, self._size, 2)
        field = self._fields[roughness][:: 1 - 2 * flip_rows, :: 1 - 2 * flip_columns]
        return (field.T if turn else field)[row : row + shape[0], column : column + shape[1]]

    def local(self, roughness: float, shape: tuple[int, int]) -> Field:
        """Like a call, but with mean 0 and standard deviation 1 over the part itself."""
        field = self(roughness, shape)
        return (field - field.mean()) / (field.std() + np.float32(1e-6))


def smooth(field: Field, sigma: float) -> Field:
    """Blur by a Gaussian of ``sigma`` px, float32 (H, W); wide ones at a lower resolution, which looks the same."""
    shrink = int(sigma / 2)
    height, width = field.shape
    if shrink < 2 or min(height, width) < 4 * shrink:
        return ndimage.gaussian_filter(field, sigma)
    small = Image.fromarray(field).resize((width // shrink, height // shrink), Image.Resampling.BOX)
    blurred = ndimage.gaussian_filter(np.asarray(small, dtype=np.float32), sigma / shrink)
    return np.array(Image.fromarray(blurred).resize((width, height), Image.Resampling.BICUBIC), dtype=np.float32)
