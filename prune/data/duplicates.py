"""Photographs that are in two splits: a network that has learned one has seen the answer to the other."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIDE = 32
"""px: side of the thumbnails that are compared."""
LARGEST_DISTANCE = 6
"""Bits of 64 in which the hashes of one picture may differ after another compression or size."""
SMALLEST_CORRELATION = 0.95
"""Of the thumbnails, shading removed: plain surfaces have alike hashes by chance, but not alike textures."""
ROWS = 512
"""Pictures compared with all others at a time."""


@dataclass(frozen=True)
class Duplicate:
    """Two pictures that look alike: their positions, bits of difference (0…64) and correlation (-1…1)."""

    first: int
    second: int
    distance: int
    correlation: float


def thumbnail(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photograph uint8 (H, W, 3) as gray levels uint8 (SIDE, SIDE), averaged, whatever its shape was."""
    gray = Image.fromarray(image).convert("L")
    return np.asarray(gray.resize((SIDE, SIDE), Image.Resampling.BOX))


def perceptual_hashes(thumbnails: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """PHash of every thumbnail: uint64 (N,), a bit per low frequency, set where it is above their median.

    The 8 x 8 lowest frequencies of the cosine transform (Zauner 2010, Implementation and Benchmarking of Perceptual
    Image Hash Functions), the mean left out of the median.

    Args:
        thumbnails: uint8 (N, SIDE, SIDE).
    """
    from scipy.fft import dctn

    low = dctn(thumbnails.astype(np.float32), axes=(1, 2), norm="ortho")[:, :8, :8].reshape(-1, 64)
    bits = low > np.median(low[:, 1:], axis=1, keepdims=True)
    return np.packbits(bits, axis=1).view(np.uint64)[:, 0] if len(bits) else np.zeros(0, np.uint64)


def textures(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Thumbnails as unit vectors float32 (N, SIDE²) whose dot product is the correlation of their textures.

    A fitted quadratic surface is taken off first: two plain walls lit from the same side are not one picture. Where
    nothing is left the vector is 0.
    """
    row, column = (axis.ravel() for axis in np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j])
    surface = np.stack([np.ones_like(row), row, column, row * column, row**2, column**2], axis=1)
    basis = np.linalg.qr(surface)[0].astype(np.float32)
    flat = thumbnails.reshape(len(thumbnails), SIDE * SIDE).astype(np.float32)
    flat -= (flat @ basis) @ basis.T
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    # Less than half a gray level is rounding, not texture.
    return np.where(length > 0.5 * SIDE, flat / np.maximum(length, 1e-6), 0).astype(np.float32)


def near_duplicates(thumbnails: NDArray[np.uint8], groups: Sequence[int]) -> list[Duplicate]:
    """Pairs of pictures of different groups that look alike, the most alike first.

    Alike means: hashes at most ``LARGEST_DISTANCE`` bits apart, and textures that correlate by at least
    ``SMALLEST_CORRELATION``. 10,000 pictures take about a second.

    Args:
        thumbnails: uint8 (N, SIDE, SIDE), from ``thumbnail``.
        groups: The split of every picture, as a number.
    """
    hashes, group = perceptual_hashes(thumbnails), np.asarray(groups)
    units = textures(thumbnails)
    found: list[Duplicate] = []
    for start in range(0, len(hashes), ROWS):
        distance = np.bitwise_count(hashes[start : start + ROWS, None] ^ hashes[None, start:])
        alike = (distance <= LARGEST_DISTANCE) & (group[start : start + ROWS, None] != group[None, start:])
        rows, columns = np.nonzero(np.triu(alike))
        correlation = np.einsum("ij,ij->i", units[start + rows], units[start + columns])
        for row, column, value in zip(rows, columns, correlation, strict=True):
            if value >= SMALLEST_CORRELATION:
                bits = int(distance[row, column])
                found.append(Duplicate(start + int(row), start + int(column), bits, float(value)))
    return sorted(found, key=lambda pair: (-pair.correlation, pair.first, pair.second))
