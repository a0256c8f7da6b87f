"""Criteria that look at weights alone: they need no labeled image and take milliseconds."""

import torch

from prune.errors import UserError
from prune.pruning.criteria.criterion import FromWeights, relative
from prune.pruning.group import Group, Layer, Member, filters


def _filters(member: Member) -> torch.Tensor:
    """The filters that produce the channels of a group in one layer, float64 (len(indices), weights of a filter)."""
    layer = member.layer
    assert isinstance(layer, Layer)
    return filters(layer, layer.weight.detach()).cpu().double().flatten(1)[member.indices]


def _power_sums(group: Group, p: int) -> torch.Tensor:
    """Σ|w|^p per channel over the filters of every layer that produces it, float64 (channels,)."""
    total = torch.zeros(group.channels, dtype=torch.float64)
    for member in group.producers:
        total.index_add_(0, member.roots, _filters(member).abs().pow(p).sum(1))
    return total


class Magnitude(FromWeights):
    """The p-norm of a channel's filters, (Σ|w|^p)^(1/p) over the weights of every layer that produces it.

    p = 1 is the filter norm of Li et al. 2017 (Pruning Filters for Efficient ConvNets); where a residual sum couples
    layers, the norm runs over the filters of all of them (Fang et al. 2023, DepGraph). Across layers, scores are
    relative to their group's mean.
    """

    def __init__(self, p: int) -> None:
        self.p = p

    def score(self, group: Group) -> torch.Tensor:
        """p-norm per channel."""
        return _power_sums(group, self.p).pow(1 / self.p)

    def comparable(self, scores: torch.Tensor) -> torch.Tensor:
        """Relative to the group's mean."""
        return relative(scores)


class LAMP(FromWeights):
    """Layer-adaptive magnitude (Lee et al. 2021, LAMP): a channel's share of what would be left with it.

    The paper scores a weight u of a layer by u² / Σ v² over the weights v of that layer with v² ≥ u²: the largest gets 1 in
    every layer, so that a global ranking never empties one. Here a channel takes the place of a weight, and Σw² over the
    filters of every layer that produces it that of u². Within a group the order is that of L2; what differs is the ranking
    across groups. Equal channels count in each other's sum.
    """

    def score(self, group: Group) -> torch.Tensor:
        """Shares in 0…1.

        Raises:
            UserError: when all filters are zero, of which no share can be told.
        """
        squares = _power_sums(group, 2)
        if not squares.sum() > 0:
            raise UserError(f"LAMP: expected weights that are not all zero, found none in the filters of {group.name}")
        ascending, order = squares.sort()
        # Σ over all that are at least as large: from the first equal one on.
        remaining = ascending.flip(0).cumsum(0).flip(0)[torch.searchsorted(ascending, ascending)]
        scores = torch.empty_like(squares)
        scores[order] = ascending / remaining
        return scores


class FPGM(FromWeights):
    """Filter pruning via the geometric median (He et al. 2019): the mean distance of a filter from all others of its layer.

    The filters nearest to the geometric median of their layer can be replaced by the others, however large they are: their
    Σ_j ‖F_i − F_j‖₂ is the smallest. Coupled layers count as one: the distance is that of the joined filters, √Σ‖F_i − F_j‖²
    over the layers that produce both channels. The mean over the other filters is taken instead of the paper's sum, as
    layers of a concatenation have different numbers of them. Across layers, scores are relative to their group's mean.
    """

    def score(self, group: Group) -> torch.Tensor:
        """Mean Euclidean distance per channel; 0 for the only channel of a group."""
        squared = torch.zeros(group.channels, group.channels, dtype=torch.float64)
        compared = torch.zeros_like(squared)
        for member in group.producers:
            for own, roots in _without_repeats(member):
                distances = torch.cdist(own, own).square()
                squared.index_put_((roots[:, None], roots[None, :]), distances, accumulate=True)
                compared.index_put_((roots[:, None], roots[None, :]), torch.ones_like(distances), accumulate=True)
        others = (compared > 0).fill_diagonal_(False).sum(1)
        return squared.fill_diagonal_(0).sqrt().sum(1) / others.clamp(min=1)

    def comparable(self, scores: torch.Tensor) -> torch.Tensor:
        """Relative to the group's mean."""
        return relative(scores)


def _without_repeats(member: Member) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The filters of a layer and the channels they belong to, in parts in which no channel appears twice."""
    weights, order = _filters(member), member.roots.argsort(stable=True)
    roots = member.roots[order]
    repeat = torch.arange(len(roots)) - torch.searchsorted(roots, roots)
    return [(weights[order[repeat == turn]], roots[repeat == turn]) for turn in range(int(repeat.max()) + 1)]


class BNScale(FromWeights):
    """The scale |γ| of a channel's batch norm (Liu et al. 2017, Network Slimming).

    The paper trains with Σ|γ| added to the loss, so that γ tells what the network can do without; without such a training
    it tells less. The mean where several batch norms scale a channel (coupled layers). All γ of a network are ranked
    together, as in the paper.
    """

    def score(self, group: Group) -> torch.Tensor:
        """Mean |γ| per channel.

        Raises:
            UserError: for a group with a channel that no batch norm scales.
        """
        total = torch.zeros(group.channels, dtype=torch.float64)
        norms = torch.zeros_like(total)
        for member in group.norms:
            scales = member.layer.weight.detach().cpu().double().abs()
            total.index_add_(0, member.roots, scales[member.indices])
            norms.index_add_(0, member.roots, torch.ones(len(member.roots), dtype=torch.float64))
        if not (norms > 0).all():
            raise UserError(
                f"--importance_type BNScale: expected batch norm behind every layer, found none behind {group.name}; "
                "choose another criterion"
            )
        return total / norms


class Random(FromWeights):
    """Uniform random scores: the control every comparison of criteria needs."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)

    def score(self, group: Group) -> torch.Tensor:
        """Uniform numbers in 0…1, reproducible by the seed."""
        return torch.rand(group.channels, generator=self._generator, dtype=torch.float64)
