"""What is coupled in a network, traced once, and cutting it: the only place that uses torch-pruning."""

import math
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
import torch_pruning
from torch import nn

from prune.errors import UserError, first_line
from prune.models import all_logits, mode, output_layers
from prune.models.outputs import TRACE_SIZE
from prune.pruning.allocation import local_widths, rounded
from prune.pruning.group import Group, topology

ROOTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def frozen_names(model: nn.Module) -> frozenset[str]:
    """The parameters that take no gradient."""
    return frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)


@contextmanager
def only_frozen(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Let exactly the parameters called ``names`` be without gradient inside the block.

    By name, because cutting replaces the parameters themselves. The tracer does not see frozen parameters and would leave
    them dense without a word, so it runs where none is.
    """
    before = frozen_names(model)
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name not in names
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name not in before


@contextmanager
def readable(model: nn.Module) -> Iterator[None]:
    """Turn whatever scoring and cutting an external network may raise into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{type(model).__name__} cannot be pruned: {first_line(error)}") from error


def _uncouple_gates(dependencies: torch_pruning.DependencyGraph) -> None:
    """Forget what reads the output of layers with a single channel.

    It is a map that weighs all channels of other features alike (the α of an attention gate): the tracer takes the
    product for an operation on equal channels and would couple the one channel with all of them.
    """
    nodes = dependencies.module2node.values()
    gates = {node for node in nodes if isinstance(node.module, nn.Conv2d) and node.module.out_channels == 1}
    for node in nodes:
        kept = [d for d in node.dependencies if not (d.source in gates and d.target in d.source.outputs)]
        node.dependencies = [d for d in kept if not (d.target in gates and d.source in d.target.outputs)]


class Graph:
    """The groups of a network and how to cut them.

    Raises:
        UserError: when the network cannot be traced.
    """

    def __init__(self, model: nn.Module) -> None:
        self.names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
        self.outputs = output_layers(model)
        example = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=next(model.parameters()).device)
        try:
            with mode(model, training=False):
                self.dependencies = torch_pruning.DependencyGraph().build_dependency(
                    model, example_inputs=example, forward_fn=lambda net, image: list(all_logits(net, image).values())
                )
        except Exception as error:  # an external network may fail in the tracer in any way
            raise UserError(f"the couplings of {type(model).__name__} cannot be traced: {first_line(error)}") from error
        _uncouple_gates(self.dependencies)
        groups = self.groups()
        self.initial = {self.root_name(group): len(group[0].idxs) for group in groups}
        self.topologies = {self.root_name(group): topology(group) for group in groups}

    def groups(self) -> list[Any]:
        """All groups at their present widths, without those that contain a class output or cannot be cut (``blocks``)."""
        found = self.dependencies.get_all_groups(ignored_layers=self.outputs, root_module_types=ROOTS)
        return [group for group in found if blocks(group)]

    def root_name(self, group: Any) -> str:
        """The name of the layer a group starts from."""
        return self.names[group[0].dep.target.module]

    def coupling(self, group: Any) -> Group:
        """What a group consists of."""
        return Group.of(group, self.root_name(group))

    def cut(self, group: Any, indices: list[int]) -> None:
        """Remove channels of a group.

        Raises:
            UserError: when that would leave a layer without channels.
        """
        root = group[0].dep
        smaller = self.dependencies.get_pruning_group(root.target.module, root.handler, indices)
        if not self.dependencies.check_pruning_group(smaller):
            raise UserError(f"removing {len(indices)} channels of {self.root_name(group)} would empty a layer")
        smaller.prune()


def blocks(group: Any) -> int:
    """In how many equal blocks the channels of a group lie for group normalization.

    0 when the group is left as it is: channels are numbered otherwise there, or a convolution reads or makes them in groups
    (ResNeXt), whose filters have no channel of their own.
    """
    number, own = 1, list(range(len(group[0].idxs)))
    for item in group:
        norm = item.dep.target.module
        if isinstance(norm, nn.Conv2d) and 1 < norm.groups != norm.out_channels:
            return 0
        if isinstance(norm, nn.GroupNorm) and norm.num_groups > 1:
            if list(item.idxs) != own or list(item.root_idxs) != own or norm.num_channels != len(own):
                return 0
            number = math.lcm(number, norm.num_groups)
    return number if len(own) % number == 0 else 0


def whole_blocks(groups: list[Any], widths: list[int]) -> list[int]:
    """Widths that group normalization can divide into its blocks."""
    pairs = [(width, blocks(group), len(group[0].idxs)) for group, width in zip(groups, widths, strict=True)]
    return [width if number == 1 else rounded(width, number, channels) for width, number, channels in pairs]


def lowest(group: Any, scores: torch.Tensor, width: int) -> list[int]:
    """The channels to remove, ascending: the lowest scores, as many of every block of group normalization."""
    per_block = scores.reshape(blocks(group), -1)
    number, channels = per_block.shape
    chosen = per_block.argsort(dim=1, stable=True)[:, : channels - width // number]
    return sorted((chosen + torch.arange(number)[:, None] * channels).flatten().tolist())


def group_channels(model: nn.Module) -> list[int]:
    """Channels of every prunable group of ``model``, which may be on the meta device."""
    with only_frozen(model, ()):
        return list(Graph(model).initial.values())


def cut_to_widths(model: nn.Module, widths: Callable[[Graph, list[Any]], list[int]]) -> None:
    """Cut ``model`` in place to the widths that ``widths`` gives for the groups of its graph.

    Which channels go is arbitrary, so that neither scores nor weights are needed: it works on the meta device too.
    """
    with only_frozen(model, ()), readable(model):
        graph = Graph(model)
        groups = graph.groups()
        starts = [len(group[0].idxs) for group in groups]
        for group, start, width in zip(groups, starts, widths(graph, groups), strict=True):
            if width < start:
                graph.cut(group, lowest(group, torch.zeros(start), width))


def cut_to_ratio(model: nn.Module, ratio: float, round_to: int) -> None:
    """Cut ``model`` in place to the widths ``prune_model`` gives it at ``ratio`` percent with local allocation."""

    def local(graph: Graph, groups: list[Any]) -> list[int]:
        return whole_blocks(groups, local_widths([len(group[0].idxs) for group in groups], ratio / 100, round_to))

    cut_to_widths(model, local)


def cut_to_named(model: nn.Module, widths: Mapping[str, int]) -> None:
    """Cut ``model`` in place to the widths of its groups, which are named by their first layers."""
    cut_to_widths(model, lambda graph, groups: [widths[graph.root_name(group)] for group in groups])
