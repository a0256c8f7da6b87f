"""Learning rate over time: pure functions of the step, and the one schedule that has to listen."""

import math
from dataclasses import dataclass


def lr_factor(kind: str, step: int, total: int, warmup: int) -> float:
    """Share of the peak learning rate at optimizer step ``step`` (0-based) of ``total``.

    The first ``warmup`` steps rise linearly; after them ``poly`` falls as (1 − t)^0.9 (Chen et al. 2017), ``cosine`` as
    (1 + cos πt)/2, both to 0, while ``constant`` and ``plateau`` stay at 1.
    """
    if step < warmup:
        return (step + 1) / (warmup + 1)
    progress = min(1.0, (step - warmup) / max(1, total - warmup))
    if kind == "poly":
        return (1 - progress) ** 0.9
    if kind == "cosine":
        return (1 + math.cos(math.pi * progress)) / 2
    return 1.0


@dataclass
class Plateau:
    """Divide the learning rate by ten after ``patience`` epochs without a lower validation loss."""

    patience: int = 5
    best: float = math.inf
    waited: int = 0
    factor: float = 1.0
    floor: float = 1e-4

    def update(self, loss: float) -> None:
        """Take note of an epoch's validation loss."""
        if loss < self.best:
            self.best, self.waited = loss, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            self.factor, self.waited = max(self.factor * 0.1, self.floor), 0
