"""The part of an image that holds a mask; needs NumPy only."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


def bounding_box(mask: Mask, margin: int) -> tuple[slice, slice]:
    """The rows and columns that hold the mask, with a margin in px; empty slices for an empty mask."""
    spans = []
    for axis in (1, 0):
        used = np.flatnonzero(mask.any(axis=axis))
        spans.append(slice(max(0, used[0] - margin), used[-1] + 1 + margin) if len(used) else slice(0, 0))
    return spans[0], spans[1]
