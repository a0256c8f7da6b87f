"""The moving average of the weights over the steps of a training, which validates better than the last weights."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

WARMUP = 9
"""After t updates the decay is at most t / (t + 9): the first weights, which know nothing, are forgotten soon."""


def decay_at(update: int, decay: float) -> float:
    """The decay of an update (0-based): the smaller of ``decay`` and t / (t + 9); 0 for the first, which copies the weights.

    It is the warm-up of TensorFlow's ``ExponentialMovingAverage``, (1 + n) / (10 + n), where n counts from the second update.
    """
    return min(decay, update / (update + WARMUP))


class AveragedWeights:
    """The exponential moving average of the parameters that learn, w̄ ← d·w̄ + (1 − d)·w after every optimizer step.

    Polyak and Juditsky 1992 average all steps alike; with a constant decay d it is the teacher of Tarvainen and Valpola 2017.
    Buffers are not averaged: beside the averaged weights, batch norm has the running statistics of the last step.

    Args:
        model: On its device; its parameters are the same tensors throughout the training.
        decay: d after the warm-up, 0…1 (see ``decay_at``).
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay, self.updates = decay, 0
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.weights = {name: parameter.detach().clone() for name, parameter in self.parameters.items()}

    @torch.no_grad()
    def update(self) -> None:
        """Take the present weights into the average."""
        share = 1 - decay_at(self.updates, self.decay)
        self.updates += 1
        for name, parameter in self.parameters.items():
            self.weights[name].lerp_(parameter, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the averaged weights inside the block, and its own ones bit by bit after it."""
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        for name, parameter in self.parameters.items():
            own = parameter.clone()
            parameter.copy_(self.weights[name])
            self.weights[name].copy_(own)

    def state_dict(self) -> dict[str, Any]:
        """Everything a resumed training needs, as tensors and plain values."""
        return {"updates": self.updates, "weights": dict(self.weights)}

    @torch.no_grad()
    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The inverse of ``state_dict``, into the tensors that are there."""
        self.updates = int(state["updates"])
        for name, weights in self.weights.items():
            weights.copy_(state["weights"][name])
