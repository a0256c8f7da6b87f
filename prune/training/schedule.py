"""Learning rate over time: pure functions of the step, and the one schedule that has to listen."""

import math
from dataclasses import dataclass

from prune.training.settings import TrainSettings

THRESHOLD = 1e-4
"""A loss counts as lower when it is below the best one by more than this share of it."""
SMALLEST_CUT = 1e-8
"""A cut that would lower the learning rate by no more than this is not made."""


def lr_factor(kind: str, step: int, total: int, warmup: int, power: float = TrainSettings.poly_power) -> float:
    """Share of the peak learning rate at optimizer step ``step`` (0-based) of ``total``.

    The first ``warmup`` steps rise linearly; after them ``poly`` falls as (1 − t)^power (Chen et al. 2017), ``cosine``
    as (1 + cos πt)/2, both to 0, while ``constant`` and ``plateau`` stay at 1.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if kind == "poly":
        return float((1 - progress) ** power)
    if kind == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0


@dataclass
class Plateau:
    """Cut the learning rate after ``patience`` epochs without a lower validation loss.

    The rules are those of PyTorch's ``ReduceLROnPlateau`` with ``mode="min"`` and its defaults: a loss is lower when it
    is below the best one by more than the share ``THRESHOLD``, the epoch after ``patience`` others without a lower one
    makes the cut and starts the count anew, and a cut smaller than ``SMALLEST_CUT`` is not made.

    Args:
        lr: Learning rate now; at the start the peak.
        patience: Epochs in a row that may bring no lower loss.
        factor: What a cut multiplies the learning rate by, 0…1.
        min_lr: Lowest learning rate.
        best: Lowest loss so far.
        waited: Epochs since then or since the last cut.
    """

    lr: float
    patience: int = TrainSettings.plateau_patience
    factor: float = TrainSettings.plateau_factor
    min_lr: float = TrainSettings.min_lr
    best: float = math.inf
    waited: int = 0

    def update(self, loss: float) -> None:
        """Take note of an epoch's validation loss, and cut ``lr`` when it is time."""
        if loss < self.best * (1 - THRESHOLD):
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            lowered, self.waited = max(self.lr * self.factor, self.min_lr), 0
            if self.lr - lowered > SMALLEST_CUT:
                self.lr = lowered
