"""What a criterion is: how much a channel matters, one score per channel of a group of coupled layers."""

from collections.abc import Iterable
from typing import Protocol

import torch
from torch import nn

from prune.pruning.group import Group

Gradients = Iterable[int | None]
"""Leaves one gradient after the other in ``.grad``; each item is the class whose pixels it was taken on, None = all."""


class Criterion(Protocol):
    """Scores the channels of a group; the lowest are removed first."""

    needs_gradients: bool

    def collect(self, model: nn.Module, gradients: Gradients) -> None:
        """Take statistics over labeled batches; called again before every pruning step when gradients are needed."""

    def score(self, group: Group) -> torch.Tensor:
        """Scores float64 (channels,) of a group; comparable within the group."""

    def comparable(self, scores: torch.Tensor) -> torch.Tensor:
        """The scores of a group in a unit that can be ranked across groups (global allocation)."""


def relative(scores: torch.Tensor) -> torch.Tensor:
    """Scores divided by their mean: magnitudes of different layers have no common unit. All zero stays zero."""
    mean = scores.mean()
    return scores / mean if mean > 0 else scores


class FromWeights:
    """A criterion for which weights are enough."""

    needs_gradients = False

    def collect(self, model: nn.Module, gradients: Gradients) -> None:
        """Weights are all it needs."""

    def comparable(self, scores: torch.Tensor) -> torch.Tensor:
        """Already in one unit."""
        return scores
