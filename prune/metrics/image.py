"""Everything counted about one image: the matrix, the crack, the boundaries of all classes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import IGNORE_INDEX
from prune.metrics.box import bounding_box
from prune.metrics.confusion import confusion_matrix
from prune.metrics.crack import Counts, CrackSettings, boundary_counts, count_crack, line_counts
from prune.metrics.protocol import ignored_band
from prune.metrics.thinning import thin

VALIDATION_TOLERANCE = 4
"""Tolerance in px of the ltIoU that training logs."""


@dataclass(frozen=True)
class ImageCounts:
    """Counts of one image.

    Args:
        matrix: Confusion matrix int64 (C, C), rows = label.
        crack: Counts of the crack class by name (see ``prune.metrics.crack``); empty without such a class.
        boundary: The same of the boundaries, one entry per class: float64 (C,) by name; empty when not counted.
    """

    matrix: NDArray[np.int64]
    crack: Counts
    boundary: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def _boundaries(
    prediction: NDArray[Any], label: NDArray[Any], classes: int, radius: int
) -> dict[str, NDArray[np.float64]]:
    """Boundary counts of every class, each within its own part of the image."""
    known, rows = label < classes, []
    for index in range(classes):
        masks = prediction == index, label == index
        box = bounding_box(masks[0] | masks[1], radius + 2)
        rows.append(boundary_counts(masks[0][box], masks[1][box], known[box], radius))
    return {name: np.array([row[name] for row in rows], float) for name in rows[0]}


@dataclass(frozen=True)
class ImageScorer:
    """Counts an image; a value that can be sent to worker processes.

    Args:
        classes: Number of classes.
        crack: Id of the crack class, None = there is none.
        settings: What is counted; None = the matrix and the lines at 4 px only, which is what training logs.
    """

    classes: int
    crack: int | None
    settings: CrackSettings | None = None

    def __call__(self, prediction: NDArray[np.integer], label: NDArray[np.integer]) -> ImageCounts:
        """Count one image.

        Args:
            prediction: Class ids (H, W).
            label: Class ids (H, W); C and above = not labeled.
        """
        scored = label
        if self.settings and self.settings.protocol == "s2ds":
            scored = np.where(ignored_band(label, self.classes, self.crack), IGNORE_INDEX, label)
        matrix = confusion_matrix(prediction, scored, self.classes)
        known, counts = label < self.classes, {}
        if self.crack is not None:
            masks = prediction == self.crack, label == self.crack
            if not self.settings:
                box = bounding_box(masks[0] | masks[1], VALIDATION_TOLERANCE + 1)
                cut = masks[0][box], masks[1][box]
                lines = thin(cut[0]), thin(cut[1])
                return ImageCounts(matrix, line_counts(cut, lines, known[box], (VALIDATION_TOLERANCE,)))
            counts = count_crack(*masks, known, scored < self.classes, self.settings)
        if not self.settings:
            return ImageCounts(matrix, {})
        return ImageCounts(matrix, counts, _boundaries(prediction, label, self.classes, self.settings.boundary_px))
