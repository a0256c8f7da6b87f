"""Photographs that the ranges of INT8 are taken from."""

import numpy as np
from numpy.typing import NDArray

from prune.data.dataset import spread
from prune.data.preprocessing import Preprocessing
from prune.data.split import Split
from prune.errors import UserError
from prune.progress import progress

CALIBRATION_IMAGES = 64
"""As many photographs as there are, at most this many, calibrate INT8 when no number is given."""


def fitted(image: NDArray[np.uint8], size: tuple[int, int] | None) -> NDArray[np.uint8]:
    """The middle of a photograph in the one size a file takes (None = any); what is missing is mirrored."""
    if size is None:
        return image
    top, left = (max(0, (have - want) // 2) for have, want in zip(image.shape[:2], size, strict=True))
    part = image[top : top + size[0], left : left + size[1]]
    missing = [want - have for have, want in zip(part.shape[:2], size, strict=True)]
    return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="symmetric")


def calibration_batches(
    split: Split, preprocessing: Preprocessing, size: tuple[int, int] | None, number: int = 0
) -> list[NDArray[np.float32]]:
    """Normalized photographs float32 (1, 3, H, W), spread over a split.

    Args:
        split: Usually the training images.
        preprocessing: Of the network.
        size: The one size the file takes, None = any.
        number: How many, 0 = up to ``CALIBRATION_IMAGES``.

    Raises:
        UserError: when there are fewer than asked for.
    """
    found = len(split.pairs)
    if number > found:
        raise UserError(f"--calibration_images: expected {number} photographs in {split.folder}, found {found}")
    pairs = spread(split, number or min(CALIBRATION_IMAGES, found)).pairs
    images = (split.read_image(pair) for pair in progress(pairs, "calibration images"))
    return [preprocessing.normalize(fitted(image, size)) for image in images]
