"""How near the next pixel of a mask is, up to a given radius: cheap, exact and of bounded cost."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def squared_distance(mask: Mask, radius: int) -> NDArray[Any]:
    """Squared Euclidean distance in px² from every pixel to the nearest pixel of ``mask``, exact up to ``radius``.

    Args:
        mask: bool (H, W).
        radius: Distances beyond it are not told apart, in px.

    Returns:
        Integers (H, W): the squared distance where it is at most ``radius``², something larger elsewhere (also
        everywhere for an empty mask).
    """
    far = radius + 1
    kind: Any = np.uint8 if far**2 + radius**2 < 256 else np.int32
    column: NDArray[Any] = np.where(mask, 0, far).astype(kind)
    for _ in range(radius):  # after k rounds: the vertical distance, up to k
        column[1:] = np.minimum(column[1:], column[:-1] + kind(1))
        column[:-1] = np.minimum(column[:-1], column[1:] + kind(1))
    column *= column
    nearest = column.copy()
    for step in range(1, min(radius, mask.shape[1] - 1) + 1):
        shift = kind(step * step)
        np.minimum(nearest[:, step:], column[:, :-step] + shift, out=nearest[:, step:])
        np.minimum(nearest[:, :-step], column[:, step:] + shift, out=nearest[:, :-step])
    return nearest


def within(mask: Mask, radius: int) -> Mask:
    """The pixels at most ``radius`` px from ``mask``: its dilation by ``skimage.morphology.disk(radius)``."""
    return squared_distance(mask, radius) <= radius * radius
