"""Thin masks to one-pixel lines: the published thinning, done only where there is something to thin."""

import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]
NEIGHBORS = ((0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1), (1, 0), (1, 1))
"""(row, column) offsets of the neighbors x1…x8 of the paper: east, then counter-clockwise."""


def _deletable(second: bool) -> Mask:
    """For each of the 256 neighborhoods (bit i = neighbor x(i+1)) whether a sub-iteration deletes the pixel.

    The conditions are those of Lam, Lee & Suen 1992 (after Guo & Hall 1989): G1 one crossing, G2 two or three neighbors
    in the smaller of both countings, G3 removes from the south-east, its mirror image from the north-west.
    """
    codes = np.arange(256)
    x = [(codes >> i & 1).astype(bool) for i in range(8)]
    pairs = [(x[2 * k], x[2 * k + 1], x[(2 * k + 2) % 8]) for k in range(4)]
    crossings = np.sum([~a & (b | c) for a, b, c in pairs], axis=0)
    fewest = np.minimum(np.sum([a | b for a, b, _ in pairs], axis=0), np.sum([b | c for _, b, c in pairs], axis=0))
    e, ne, n, nw, w, sw, s, se = x
    side = ((sw | s | ~nw) & w) if second else ((ne | n | ~se) & e)
    return (crossings == 1) & (fewest >= 2) & (fewest <= 3) & ~side


DELETABLE = (_deletable(second=False), _deletable(second=True))


def _neighborhoods(flat: NDArray[np.uint8], places: NDArray[np.intp], steps: NDArray[np.intp]) -> NDArray[np.uint8]:
    codes = np.zeros(len(places), dtype=np.uint8)
    for bit, step in enumerate(steps):
        codes |= flat[places + step] << np.uint8(bit)
    return codes


def _once(places: NDArray[np.intp], ticket: NDArray[np.intp]) -> NDArray[np.intp]:
    """Every place once, in any order; faster than ``np.unique``. ``ticket`` has an entry for every place there is."""
    turns = np.arange(len(places))
    ticket[places] = turns
    return places[ticket[places] == turns]


def thin(mask: Mask) -> Mask:
    """Thin a mask to lines one pixel wide, pixel for pixel as ``skimage.morphology.thin`` does.

    That is the thinning behind the published ltIoU. It looks at every pixel of the frame in every pass; here a pass
    looks only at pixels whose neighborhood changed since it was last looked at, so time follows the mask's area.

    Args:
        mask: bool (H, W), any size.

    Returns:
        bool (H, W), a subset of the mask with the same connectivity (8-connected). Outside the image is background.
    """
    padded = np.pad(np.ascontiguousarray(mask, dtype=np.uint8), 1)
    flat = padded.ravel()
    steps = np.array([row * padded.shape[1] + column for row, column in NEIGHBORS], dtype=np.intp)
    candidates = np.flatnonzero(flat)
    # Deep inside nothing can change yet: a pixel whose neighborhood is full is never deleted.
    candidates = candidates[_neighborhoods(flat, candidates, steps) != 255]
    fresh, ticket = [candidates, candidates], np.empty(len(flat), np.intp)
    while len(fresh[0]) or len(fresh[1]):
        for turn in (0, 1):
            places, fresh[turn] = fresh[turn], candidates[:0]
            gone = places[DELETABLE[turn][_neighborhoods(flat, places, steps)]]
            if len(gone):
                flat[gone] = 0
                around = (gone[:, None] + steps).ravel()
                around = around[flat[around] == 1]
                fresh = [_once(np.concatenate([old, around]), ticket) for old in fresh]
    return padded[1:-1, 1:-1].astype(bool)
