"""A network in the Python API: a checkpoint, an export, or your own module, ready for prediction."""

from __future__ import annotations

import copy
import html
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from prune.api.prediction import Photo, Prediction, predictions
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.predictor import Card, Predictor

if TYPE_CHECKING:  # an edge device has no PyTorch
    from prune.models.checkpoint import Network


@dataclass
class Model:
    """A network for prediction, training, pruning, scoring and export, as far as its kind allows.

    Args:
        predictor: What runs it.
        threads: CPU threads it was given, 0 = all cores.
    """

    predictor: Predictor
    threads: int = 0

    @property
    def card(self) -> Card:
        """The facts that it stores about itself."""
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

    @overload
    def predict(self, photos: Photo) -> Prediction: ...  # type: ignore[overload-overlap]

    @overload
    def predict(self, photos: Sequence[Photo]) -> list[Prediction]: ...

    def predict(self, photos: Photo | Sequence[Photo]) -> Prediction | list[Prediction]:
        """Segment a photograph, or each of a list; ``prune.predict`` writes pictures of whole folders.

        Args:
            photos: A file, or pixels uint8 (H, W, 3), RGB, or (H, W), gray; or a list of them. Of any size.

        Raises:
            TypeError: for anything else.
            UserError: for a file that cannot be read, and an array of another shape.
        """
        return predictions(self.predictor, photos)

    def copy_of_network(self) -> Network:
        """A copy of the PyTorch network, so that training or pruning it leaves this one as it is."""
        return copy.deepcopy(self.network)

    def save(self, path: str | Path) -> Path:
        """Write the PyTorch network as a checkpoint and return its path (see ``prune.models.checkpoint``)."""
        from prune.models.checkpoint import save_checkpoint

        self.network.file = save_checkpoint(self.network, Path(path))
        return self.network.file

    def _parameters(self) -> str:
        """Weights of the inference network in words, empty = unknown."""
        network = getattr(self.predictor, "network", None)
        count = self.card.parameters
        if network is not None:
            named = network.model.named_parameters()
            count = sum(weight.numel() for name, weight in named if not name.startswith("aux_classifier."))
        return "" if count is None else f"{count / 1e6:.2f} M"

    def __str__(self) -> str:
        card = self.card
        size = f", {self._parameters()} parameters" if self._parameters() else ""
        return f"{card.name}: {card.architecture}, {card.runtime} {card.precision}{size}"

    def _repr_html_(self) -> str:
        """A small card, for notebooks."""
        card = self.card
        about = {
            "network": card.architecture,
            "runs on": " ".join(filter(None, (card.runtime, card.precision, self.predictor.device))),
            "parameters": self._parameters(),
            "MACs": ", ".join(f"{macs / 1e9:.2f} G at {size}" for size, macs in card.macs.items()),
            "classes": ", ".join(card.classes.classes),
            "lineage": "; ".join(card.history),
        }
        rows = "".join(f"<tr><th>{k}</th><td>{html.escape(v)}</td></tr>" for k, v in about.items() if v)
        return f"<table><caption>{html.escape(card.name)}</caption>{rows}</table>"


def model_of(network: Network, device: str = "cpu") -> Model:
    """A PyTorch network as a model."""
    from prune.hardware import choose_device
    from prune.inference.torch import TorchPredictor

    return Model(TorchPredictor(network, choose_device(device)))
