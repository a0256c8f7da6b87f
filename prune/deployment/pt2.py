"""PyTorch's own exported programs."""

from pathlib import Path

import torch

from prune.deployment.target import ExportTarget, metadata, traced_program
from prune.inference.metadata import METADATA
from prune.models.checkpoint import Network


def write_pt2(network: Network, target: ExportTarget, file: Path) -> None:
    """The network as ``torch.export`` saves it."""
    extra = {METADATA: metadata(network, target)}
    torch.export.save(traced_program(network, target), file, extra_files=extra)
