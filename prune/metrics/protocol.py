"""What counts: the pixels a protocol leaves out."""

import numpy as np
from numpy.typing import NDArray

from prune.metrics.distance import within

BAND_PX = 2
"""Radius of the disk the borders of areal classes are dilated by."""


def ignored_band(label: NDArray[np.integer], num_classes: int, crack: int | None) -> NDArray[np.bool_]:
    """The band along the borders of areal classes that the S2DS protocol does not score (Benz & Rodehorst 2022).

    Both sides of every border between two classes, dilated by a disk of 2 px. Cracks are taken for background when
    borders are looked for, and their own pixels always count: a crack in the background has no band around it. (One
    inside an areal defect has, on the defect's side: to the published tool it cuts the defect in two, so it does here.)

    Args:
        label: Class ids (H, W); ids of ``num_classes`` and above are not scored anyway and make no border.
        num_classes: Number of classes.
        crack: Id of the crack class, None = there is none.

    Returns:
        bool (H, W), True = leave out.
    """
    areas = label if crack is None else np.where(label == crack, 0, label)
    known = label < num_classes
    border = np.zeros(label.shape, dtype=bool)
    for first, second in (((slice(1, None),), (slice(-1),)), ((slice(None), slice(1, None)), (slice(None), slice(-1)))):
        differs = (areas[first] != areas[second]) & known[first] & known[second]
        border[first] |= differs
        border[second] |= differs
    band = within(border, BAND_PX)
    return band if crack is None else band & (label != crack)
