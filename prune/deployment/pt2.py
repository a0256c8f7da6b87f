"""PyTorch's own exported programs."""

from pathlib import Path

import torch

from prune.deployment.target import ExportTarget, metadata, traced_program
from prune.inference.metadata import METADATA
from prune.models.checkpoint import Network


def write_pt2(network: Network, target: ExportTarget, file: Path) -> None:
    """The network as ``torch.export`` saves it, without its notes which line of which file on this machine made a node."""
    extra = {METADATA: metadata(network, target)}
    program = traced_program(network, target)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)
    torch.export.save(program, file, extra_files=extra)
