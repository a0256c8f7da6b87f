"""Networks that PyTorch runs: checkpoints, and its own exported programs."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.errors import UserError, first_line
from prune.hardware import device_name, exact_float32
from prune.inference.metadata import METADATA, card_from_metadata, votes
from prune.inference.predictor import Card, Predictor
from prune.inference.program import read_program
from prune.models import all_logits, mode, without_auxiliary
from prune.models.checkpoint import Network, load_checkpoint, require_finite

PRECISIONS = {None: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
"""Names of the autocast types."""


class TorchPredictor(Predictor):
    """A network in memory, run in evaluation mode and without auxiliary head.

    Args:
        network: What to run. Its module is moved to ``device``.
        device: Where to run it.
        autocast: Autocast type, None = float32.
        channels_last: Whether images and weights use that memory format.
    """

    def __init__(
        self,
        network: Network,
        device: torch.device,
        autocast: torch.dtype | None = None,
        channels_last: bool = True,
    ) -> None:
        self.network = network
        self.where = device
        self.autocast = autocast
        self.format = torch.channels_last if channels_last else torch.contiguous_format
        file = network.file or Path(network.architecture)
        about = (network.architecture, tuple(network.history()))
        precision = PRECISIONS[autocast]
        self.card = Card(network.title, file, network.classes, network.preprocessing, *about, precision=precision)
        exact_float32()
        network.model.to(device).to(memory_format=self.format)  # type: ignore[call-overload]

    def run(self, batch: NDArray[np.float32]) -> torch.Tensor:
        """Logits float32 (1, C, H, W) on the device."""
        images = torch.from_numpy(batch).to(self.where).contiguous(memory_format=self.format)
        enabled = self.autocast is not None
        with torch.inference_mode(), torch.autocast(self.where.type, self.autocast, enabled=enabled):
            with without_auxiliary(self.network.model) as model, mode(model, training=False):
                return all_logits(model, images)["out"].float()

    def to_numpy(self, logits: Any) -> NDArray[np.float32]:
        """Logits as an array on the CPU."""
        return logits.cpu().numpy() if isinstance(logits, torch.Tensor) else logits

    def synchronize(self) -> None:
        """Wait until the device has finished."""
        if self.where.type == "cuda":
            torch.cuda.synchronize(self.where)

    @property
    def device(self) -> str:
        """The GPU's name, empty on the CPU."""
        return device_name(self.where) if self.where.type == "cuda" else ""


class ProgramPredictor(Predictor):
    """A program that ``torch.export`` wrote (.pt2).

    Args:
        file: The .pt2 file.
        trust_pickle: Load it by ``torch.export.load``, which can run code from it, and takes any operator.
    """

    def __init__(self, file: Path, trust_pickle: bool = False) -> None:
        self.program: Callable[[torch.Tensor], torch.Tensor]
        try:
            if trust_pickle:
                texts: dict[str, Any] = {METADATA: ""}
                # Guards of the example's size (even or odd) do not hold for the operators; parity is measured instead.
                self.program = torch.export.load(file, extra_files=texts).module(check_guards=False)
            else:
                self.program, texts = read_program(file)
                require_finite(self.program.state, file)
            self.card = card_from_metadata(json.loads(texts[METADATA]), file, "pt2")
        except UserError as error:
            if str(file) in error.message:
                raise
            raise UserError(f"{file}: expected an exported program, found: {error.message}") from error
        except (RuntimeError, OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
            raise UserError(f"{file}: expected an exported program, found: {first_line(error)}") from error
        exact_float32()

    def run(self, batch: NDArray[np.float32]) -> torch.Tensor:
        """Logits float32 (1, C, H, W).

        Raises:
            UserError: for a graph that cannot be run, such as one whose operators have other arguments.
        """
        try:
            with torch.inference_mode():
                return torch.from_numpy(votes(self.program(torch.from_numpy(batch)).numpy(), len(self.classes)))
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            file, (height, width) = self.card.file, batch.shape[-2:]
            raise UserError(
                f"{file}: expected an exported program, found one that cannot run on {width}x{height} px: {first_line(error)}"
            ) from error


def open_torch(
    file: Path,
    *,
    device: torch.device | None = None,
    autocast: torch.dtype | None = None,
    channels_last: bool = True,
    trust_pickle: bool = False,
    factory: object = None,
) -> Predictor:
    """The network of a checkpoint or of an exported program; only with ``trust_pickle`` or ``factory`` code may be run.

    See ``prune.models.checkpoint.load_checkpoint`` for ``factory``.

    Raises:
        UserError: for a missing, damaged or foreign file.
    """
    if file.suffix == ".pt2":
        return ProgramPredictor(file, trust_pickle)
    network = load_checkpoint(file, trust_pickle, factory)
    return TorchPredictor(network, device or torch.device("cpu"), autocast, channels_last)
