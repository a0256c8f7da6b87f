"""Groups: what has to be removed together.

A *group* is the output channel of one or more layers (several, where a residual sum couples them), its batch norms, and
the input channel of every layer that reads it.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch_pruning.pruner import function

Layer = nn.Conv2d | nn.ConvTranspose2d | nn.Linear
Norm = nn.modules.batchnorm._BatchNorm
OUTWARD = (
    function.prune_conv_out_channels,
    function.prune_depthwise_conv_out_channels,
    function.prune_linear_out_channels,
)
"""What cuts the channels that a layer produces; a depthwise convolution is registered once, and reads them too."""
Topology = tuple[tuple[tuple[str, str], int], ...]


def filters(layer: Layer, tensor: torch.Tensor) -> torch.Tensor:
    """A tensor of the shape of a layer's weight with the output channels first: (out, in, …)."""
    return tensor.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else tensor


@dataclass(frozen=True)
class Member:
    """One layer or batch norm of a group: ``indices`` are its own channels, ``roots`` the group's channels they belong to."""

    layer: Layer | Norm
    indices: torch.Tensor
    roots: torch.Tensor


@dataclass(frozen=True)
class Group:
    """The layers that produce, normalize and read the ``channels`` channels of a group.

    Args:
        channels: How many there are.
        producers: Layers whose output channels they are, depthwise convolutions among them.
        consumers: Layers whose input channels they are.
        norms: Batch norms with a scale and a shift for each of them.
        name: The layer the group starts from, for messages.
    """

    channels: int
    producers: tuple[Member, ...]
    consumers: tuple[Member, ...]
    norms: tuple[Member, ...] = ()
    name: str = "a group"

    def removed_from(self, members: tuple[Member, ...], removed: list[int]) -> list[tuple[nn.Module, list[int]]]:
        """What the group's channels ``removed`` are called in each layer: a concatenation shifts, a flattening repeats."""
        gone = torch.zeros(self.channels, dtype=torch.bool)
        gone[removed] = True
        return [(member.layer, member.indices[gone[member.roots]].tolist()) for member in members]

    @classmethod
    def of(cls, group: Any, name: str = "a group") -> "Group":
        """Sort the members of a torch-pruning group that spans all channels of its root layer."""
        producers: list[Member] = []
        consumers: list[Member] = []
        norms: list[Member] = []
        for item in group:
            layer = item.dep.target.module
            member = Member(layer, torch.tensor(item.idxs), torch.tensor(item.root_idxs))
            if isinstance(layer, Norm) and layer.affine:
                norms.append(member)
            elif isinstance(layer, Layer):
                (producers if item.dep.handler in OUTWARD else consumers).append(member)
        return cls(len(group[0].idxs), tuple(producers), tuple(consumers), tuple(norms), name)


def topology(group: Any) -> Topology:
    """What two torch-pruning groups have in common when they are isomorphic (Fang et al. 2024, Isomorphic Pruning).

    The kinds of the modules on both sides of every dependency in the group, with what is cut there, as a multiset: kernel
    sizes and widths do not matter, nor does the order in which the group was walked through.
    """
    edges = (
        (
            f"{type(item.dep.source.module).__name__}",
            f"{type(item.dep.target.module).__name__} {_cut(item.dep.handler)}",
        )
        for item in group
    )
    return tuple(sorted(Counter(edges).items()))


def _cut(handler: Any) -> str:
    """What a function of torch-pruning cuts, such as ``prune_out_channels`` of a convolution."""
    return f"{type(handler.__self__).__name__}.{handler.__name__}"
