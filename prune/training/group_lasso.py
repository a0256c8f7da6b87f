"""Sparse training: a penalty on whole channels, so that those that do not help become small before they are pruned."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import nn

from prune.errors import UserError
from prune.pruning.graph import Graph, only_frozen, readable
from prune.pruning.group import Group, Member

SMALLEST = 1e-12
"""Norms below this count as this: a channel that is zero stays zero."""


@dataclass(frozen=True)
class _Part:
    """Where channels of a group lie: at ``indices`` along the axis of the number ``axis``, for the channels ``roots``."""

    axis: int
    indices: torch.Tensor
    roots: torch.Tensor


class GroupLasso:
    """W · Σ_g Σ_k √n_gk · ‖w_gk‖₂ over the channels k of all groups g that can be pruned (Yuan and Lin 2006).

    w_gk are the n_gk weights that would be removed together with channel k: the filters and biases that produce it in every
    coupled layer, scale and shift of its batch norms, and the columns of every layer that reads it, which are the groups of
    DepGraph (Fang et al. 2023). √n_gk makes W the pull on a typical weight, whatever the size of the group. DepGraph's own
    sparse training takes γ_k · ‖w_gk‖² instead, with γ_k from 1 for the largest to 16 for the smallest norm of a group; the
    norm without the square also pulls small channels with full strength, down to zero.

    Args:
        model: On its device; its parameters are the same tensors throughout the training. Frozen ones count in the norms
            and are left as they are.
        weight: W.

    Raises:
        UserError: when the couplings of the network cannot be traced, or nothing in it can be pruned.
    """

    def __init__(self, model: nn.Module, weight: float) -> None:
        self.weight = weight
        self._axes: list[tuple[torch.Tensor, int]] = []
        self._numbers: dict[tuple[int, int], int] = {}
        device = next(model.parameters()).device
        with only_frozen(model, ()), readable(model):
            graph = Graph(model)
            couplings = [graph.coupling(group) for group in graph.groups()]
            self._groups = [(one.channels, [*self._parts(one, device)]) for one in couplings]
            self.names = [one.name for one in couplings]
            self.root_sizes = [size.sqrt() for size in self._sums([self._weights_each(p, a) for p, a in self._axes])]
            self.norms()
        if not self._groups:
            raise UserError(f"--sparsity: expected layers that can be pruned, found none in {type(model).__name__}")

    def _axis(self, parameter: torch.Tensor, axis: int) -> int:
        """The number of an axis of a parameter; several groups may share one."""
        number = self._numbers.setdefault((id(parameter), axis), len(self._axes))
        if number == len(self._axes):
            self._axes.append((parameter, axis))
        return number

    def _parts(self, group: Group, device: torch.device) -> Iterator[_Part]:
        places: list[tuple[Member, torch.Tensor, int]] = []
        for member in (*group.producers, *group.norms):
            made = int(isinstance(member.layer, nn.ConvTranspose2d))
            places.append((member, member.layer.weight, made))
            if member.layer.bias is not None:
                places.append((member, member.layer.bias, 0))
        for member in group.consumers:
            places.append((member, member.layer.weight, int(not isinstance(member.layer, nn.ConvTranspose2d))))
        for member, parameter, axis in places:
            yield _Part(self._axis(parameter, axis), member.indices.to(device), member.roots.to(device))

    @staticmethod
    def _weights_each(parameter: torch.Tensor, axis: int) -> torch.Tensor:
        """How many weights each channel along an axis has."""
        length = parameter.shape[axis]
        return torch.full((length,), parameter.numel() / length, dtype=parameter.dtype, device=parameter.device)

    def _sums(self, along: list[torch.Tensor]) -> list[torch.Tensor]:
        """The sum over the parts of every channel, (channels,) of each group, of what ``along`` has of every axis."""
        totals = []
        for channels, parts in self._groups:
            total = torch.zeros(channels, dtype=along[0].dtype, device=along[0].device)
            for part in parts:
                total.index_add_(0, part.roots, along[part.axis][part.indices])
            totals.append(total)
        return totals

    @torch.no_grad()
    def norms(self) -> list[torch.Tensor]:
        """‖w_gk‖₂ of every channel, float32 (channels,) of each group, in the order of ``names``."""
        return [total.sqrt() for total in self._sums([self._energies(*place) for place in self._axes])]

    @staticmethod
    def _energies(parameter: torch.Tensor, axis: int) -> torch.Tensor:
        """The sum of squares of each channel along an axis."""
        others = [d for d in range(parameter.dim()) if d != axis]
        return parameter.square().sum(others) if others else parameter.square()

    @torch.no_grad()
    def add_gradients(self) -> None:
        """Add the gradient W · √n_gk · w / ‖w_gk‖₂ to that of every weight w that has one; 0 for a channel of zeros."""
        strengths = [torch.zeros(p.shape[axis], dtype=p.dtype, device=p.device) for p, axis in self._axes]
        for (_, parts), root, norm in zip(self._groups, self.root_sizes, self.norms(), strict=True):
            strength = self.weight * root / norm.clamp(min=SMALLEST)
            for part in parts:
                strengths[part.axis].index_add_(0, part.indices, strength[part.roots])
        for (parameter, axis), strength in zip(self._axes, strengths, strict=True):
            if parameter.grad is not None:
                shape = [-1 if d == axis else 1 for d in range(parameter.dim())]
                parameter.grad.addcmul_(parameter, strength.view(shape))
