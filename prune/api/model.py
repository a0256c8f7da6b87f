"""A network as the Python API hands it around: a checkpoint, an export, or somebody's own module, ready for prediction."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.predictor import Card, Predictor

if TYPE_CHECKING:  # an edge box has no PyTorch
    from prune.models.checkpoint import Network


@dataclass
class Model:
    """A network that can be predicted with, trained, pruned, scored and exported, as far as its kind allows.

    Args:
        predictor: What runs it.
    """

    predictor: Predictor

    @property
    def card(self) -> Card:
        """What it says about itself."""
        return self.predictor.card

    @property
    def classes(self) -> ClassSet:
        """What its output channels mean."""
        return self.predictor.classes

    @property
    def network(self) -> Network:
        """The PyTorch network behind it.

        Raises:
            UserError: for an export, which cannot be trained or pruned any more.
        """
        network = getattr(self.predictor, "network", None)
        if network is None:
            raise UserError(
                f"{self.card.file}: expected a PyTorch network (.pth), found an export for {self.card.runtime}"
            )
        return network

    @property
    def module(self) -> Any:
        """The ``torch.nn.Module`` behind it (see ``network``)."""
        return self.network.model

    def copy_of_network(self) -> Network:
        """A copy of the PyTorch network, so that training or pruning it leaves this one as it is."""
        return copy.deepcopy(self.network)

    def save(self, path: str | Path) -> Path:
        """Write the PyTorch network as a checkpoint and return its path (see ``prune.models.checkpoint``)."""
        from prune.models.checkpoint import save_checkpoint

        self.network.file = save_checkpoint(self.network, Path(path))
        return self.network.file


def model_of(network: Network, device: str = "cpu") -> Model:
    """A PyTorch network as a model."""
    from prune.hardware import choose_device
    from prune.inference.torch import TorchPredictor

    return Model(TorchPredictor(network, choose_device(device)))
