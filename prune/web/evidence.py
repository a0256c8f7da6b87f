"""What a network finds on a photograph, kept so that threshold and class switches act without running it again."""

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.inference.predictor import Predictor, class_ids
from prune.inference.probability import softmax


@dataclass(frozen=True)
class Evidence:
    """Two bytes per pixel and class at most.

    Args:
        best: The most probable class after the background, uint8 (H, W).
        odds: 255 p / (p + p of the background) of that class, rounded, uint8 (H, W).
        levels: 255 times the probability of every class, rounded, uint8 (C, H, W).
    """

    best: NDArray[np.uint8]
    odds: NDArray[np.uint8]
    levels: NDArray[np.uint8]

    def class_map(self, threshold: float = 0.5, shown: Collection[int] | None = None) -> NDArray[np.uint8]:
        """Class ids uint8 (H, W); at a threshold of 0.5 those of the network itself, where no two are equally probable.

        Args:
            threshold: Share (0…1) the best class must have of itself and the background together.
            shown: Ids to be shown, None = all; pixels of the others become background.
        """
        result = np.where(self.odds >= 255 * threshold, self.best, np.uint8(0))
        if shown is not None:
            result[~np.isin(result, list(shown))] = 0
        return result


def see(predictor: Predictor, image: NDArray[np.uint8]) -> Evidence:
    """Run a network of at least two classes on a photograph uint8 (H, W, 3), RGB, of any size."""
    size = image.shape[:2]
    best, odds = np.empty(size, np.uint8), np.empty(size, np.uint8)
    levels = np.empty((len(predictor.classes), *size), np.uint8)
    for window in predictor.windows(image):
        place = window.rows, window.columns
        logits = predictor.to_numpy(window.logits)
        best[place] = class_ids(logits[1:]) + np.uint8(1)
        lead = np.clip(logits[1:].max(0) - logits[0], -80, 80)
        odds[place] = np.rint(255 / (1 + np.exp(-lead)))
        levels[:, place[0], place[1]] = np.rint(255 * softmax(logits))
    return Evidence(best, odds, levels)
