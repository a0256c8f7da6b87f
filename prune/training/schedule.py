"""Learning rate over time: pure functions of the step, and the one schedule that has to listen."""

import math
from dataclasses import dataclass

import torch
from torch.optim.lr_scheduler import ReduceLROnPlateau

from prune.training.settings import TrainSettings


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
    """Where the cuts of a plateau schedule stand: all of ``ReduceLROnPlateau`` that a resumed run needs.

    Args:
        lr: Peak learning rate now.
        patience: Epochs in a row that may bring no lower validation loss.
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

    def update(self, optimizer: torch.optim.Optimizer, loss: float) -> None:
        """Take note of an epoch's validation loss, and cut ``lr`` when PyTorch's ``ReduceLROnPlateau`` would.

        The optimizer is left with ``lr``, whatever share of it a warm-up had set.
        """
        for group in optimizer.param_groups:
            group["lr"] = self.lr
        scheduler = ReduceLROnPlateau(optimizer, "min", self.factor, self.patience, min_lr=self.min_lr)
        scheduler.best, scheduler.num_bad_epochs = self.best, self.waited
        scheduler.step(loss)
        self.lr, self.best, self.waited = optimizer.param_groups[0]["lr"], scheduler.best, scheduler.num_bad_epochs
