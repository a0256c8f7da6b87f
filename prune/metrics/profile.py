"""The width of a crack from how its probability falls off across the center line, finer than a pixel."""

import numpy as np
from numpy.typing import NDArray

from prune.metrics.skeleton import STEP, CenterLine, across

Floats = NDArray[np.float64]
REACH = 2.5
"""How far the probability is followed beyond the nearest background pixel, in px."""
DEPTH = 2.5
"""Farther than this from the nearest background pixel, in px, the crack is certain: a probability below 1 is no edge."""
FALLEN = 0.25
"""Probability below which it has fallen off where the cut ends."""


def profile_width(line: CenterLine, probability: NDArray[np.floating]) -> tuple[Floats, NDArray[np.bool_]]:
    """The width along a center line as the integral of the probability across it, w = ∫ p(s) ds.

    For a calibrated probability that is the expected width. It does not change when the edges are blurred, because a blur
    moves probability without adding any, and it does not depend on the threshold the mask was made with. Three rules keep
    noise out: deep inside the mask p counts as 1 (``DEPTH``), outside it p may only fall, so that neighboring cracks and
    noise do not count, and the cut ends ``REACH`` beyond the nearest background pixel.

    Args:
        line: Of the mask of the crack.
        probability: Of the crack, (H, W), 0…1.

    Returns:
        Width float64 (N,) in px, NaN when the mask has no background at all; and whether the probability falls below
        ``FALLEN`` on both sides, bool (N,): where it does not, the integral stops too early.
    """
    points, distance = line.graph.points, line.distance
    if not line.normals.any():
        return line.width, np.zeros(len(points), dtype=bool)
    values, cuts, lowest = np.asarray(probability, np.float32), np.zeros(len(points)), np.ones((2, len(points)))
    for offset, near, sides in across(values, points, distance, line.normals, REACH):
        depth = distance[near] - offset
        for low, level in zip(lowest, sides, strict=True):
            level = np.where(depth < 0.5, np.minimum(level, low[near]), level)
            low[near] = level
            cuts[near] += STEP * np.where(depth > DEPTH, 1.0, level)
    return line.settled(cuts), (lowest[0] < FALLEN) & (lowest[1] < FALLEN)
