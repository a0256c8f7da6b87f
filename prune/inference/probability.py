"""How probable one class is, pixel by pixel, on photographs of any size; needs NumPy only."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError
from prune.inference.predictor import Predictor, class_ids

PROBE = (64, 64)
"""Height and width in px of the black image an export is asked with; one of a fixed size gets its own."""
STEEPEST = np.float32(80)
"""Largest difference of logits that counts; a probability of 2e-35 is none, and its inverse still fits float32."""


@dataclass(frozen=True)
class ClassProbability:
    """What a network says about one class on a photograph.

    Args:
        probability: Of the class, float32 (H, W), 0…1.
        class_map: The most probable class of every pixel, uint8 (H, W).
    """

    probability: NDArray[np.float32]
    class_map: NDArray[np.uint8]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probabilities float32 (C, H, W) of logits (C, H, W), finite however large these are; they sum to 1 per pixel."""
    result = logits - logits.max(0)
    np.exp(result, out=result)
    result /= result.sum(0)
    return result


def share_of(logits: NDArray[np.float32], class_id: int) -> NDArray[np.float32]:
    """The probability of one class, float32 (H, W), of logits (C, H, W): its part of ``softmax``, in a third of the time.

    1 / (1 + Σ exp(other - own)); differences are cut at ``STEEPEST``, so that the sum stays finite.
    """
    total = np.ones(logits.shape[1:], np.float32)
    for other in range(len(logits)):
        if other != class_id:
            apart = logits[other] - logits[class_id]
            np.minimum(apart, STEEPEST, out=apart)
            total += np.exp(apart, out=apart)
    return np.reciprocal(total, out=total)


def require_logits(predictor: Predictor) -> None:
    """Find out whether a network gives logits, before any work is done.

    Class ids, which come as votes of 0 and 1, and probabilities made inside the file sum to 1 over the classes.

    Raises:
        UserError: when it does not; the message names the file.
    """
    output = predictor.to_numpy(predictor.forward(np.zeros((*(predictor.card.size or PROBE), 3), np.uint8)))
    if len(output) != len(predictor.classes) or (output.min() >= 0 and np.allclose(output.sum(0), 1, atol=1e-3)):
        raise UserError(
            f"{predictor.card.file}: expected a network that gives logits, found class ids or probabilities made inside "
            "the file: export it without --argmax"
        )


def class_probability(predictor: Predictor, image: NDArray[np.uint8], class_id: int) -> ClassProbability:
    """The probability of one class at every pixel of a photograph uint8 (H, W, 3), RGB.

    Large photographs go through the network in tiles (``Predictor.windows``): the logits of overlapping tiles are
    averaged first, the softmax over the classes is taken of the average.
    """
    probability = np.empty(image.shape[:2], np.float32)
    class_map = np.empty(image.shape[:2], np.uint8)
    for window in predictor.windows(image):
        logits = predictor.to_numpy(window.logits)
        probability[window.rows, window.columns] = share_of(logits, class_id)
        class_map[window.rows, window.columns] = class_ids(logits)
    return ClassProbability(probability, class_map)
