"""Latency-aware allocation: channels are removed where the least importance buys the most time."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn

from prune.pruning.graph import Graph, blocks, only_frozen
from prune.pruning.layer_times import LayerShape
from prune.pruning.settings import PruneSettings

TimeOf = Callable[[LayerShape, float, float], float]
"""ms of a layer with so many input and output channels."""


@dataclass(frozen=True)
class Work:
    """One call of a layer, and the groups its widths follow.

    Args:
        shape: The layer.
        reads: Input channels of the layer per channel of a group, by group.
        writes: Output channels likewise.
    """

    shape: LayerShape
    reads: Mapping[str, float]
    writes: Mapping[str, float]

    @property
    def groups(self) -> set[str]:
        """All groups that change its time."""
        return {*self.reads, *self.writes}

    def widths(self, gone: Mapping[str, int]) -> tuple[float, float]:
        """Input and output channels when every group has lost so many channels."""
        inputs = self.shape.inputs - sum(gone[group] * each for group, each in self.reads.items())
        return inputs, self.shape.outputs - sum(gone[group] * each for group, each in self.writes.items())


@dataclass(frozen=True)
class Steps:
    """The widths a group may get.

    Args:
        initial: Channels before pruning.
        multiple: What widths are multiples of.
        least: The smallest width.
    """

    initial: int
    multiple: int
    least: int

    def below(self, width: int) -> int | None:
        """The next smaller width, None at the smallest."""
        smaller = (width - 1) // self.multiple * self.multiple
        return smaller if smaller >= self.least else None


@dataclass(frozen=True)
class Cut:
    """One step of the way from the unpruned network to the smallest: which group got which width, and the time then."""

    group: str
    width: int
    milliseconds: float


def way_down(
    scores: Mapping[str, torch.Tensor], steps: Mapping[str, Steps], works: Sequence[Work], time_of: TimeOf
) -> tuple[float, list[Cut]]:
    """Shrink one group after the other by one step, each time the one that saves the most ms per importance lost.

    A greedy knapsack over measured layer times, as HALP (Shen et al. 2022, Structural Pruning via Latency-Saliency Knapsack)
    puts it; the table per layer and width is NetAdapt's (Yang et al. 2018). Time saved is taken at the present widths of all
    other groups, so that a layer that has become narrow is worth less. A step's importance is the sum of the scores of its
    channels, the lowest that are left. The way ends where no step saves time.

    Args:
        scores: Of every group, comparable across groups, ≥ 0.
        steps: The widths every group may get.
        works: All layers.
        time_of: Times of layers, not falling with a width.

    Returns:
        The time of the unpruned network in ms, and the cuts in order.
    """
    ascending = {group: score.double().sort().values.cumsum(0) for group, score in scores.items()}
    widths = {group: step.initial for group, step in steps.items()}
    gone = dict.fromkeys(steps, 0)
    touched = {group: [work for work in works if group in work.groups] for group in steps}
    times = {id(work): time_of(work.shape, *work.widths(gone)) for work in works}
    total = start = sum(times.values())
    worth: dict[str, tuple[float, float, int]] = {}

    def lost(group: str, width: int) -> float:
        removed = steps[group].initial - width
        return float(ascending[group][removed - 1]) if removed else 0.0

    def look(group: str) -> None:
        worth.pop(group, None)
        width = steps[group].below(widths[group])
        if width is None:
            return
        then = {**gone, group: steps[group].initial - width}
        saved = sum(times[id(work)] - time_of(work.shape, *work.widths(then)) for work in touched[group])
        if saved > 0:
            price = lost(group, width) - lost(group, widths[group])
            worth[group] = (saved / price if price > 0 else float("inf"), saved, width)

    cuts: list[Cut] = []
    for group in steps:
        look(group)
    while worth:
        group = max(worth, key=lambda name: worth[name][:2])
        _, saved, width = worth[group]
        widths[group], gone[group] = width, steps[group].initial - width
        for work in touched[group]:
            times[id(work)] = time_of(work.shape, *work.widths(gone))
        total -= saved
        cuts.append(Cut(group, width, total))
        for other in {name for work in touched[group] for name in work.groups} & set(steps):
            look(other)
    return start, cuts


def works_of(
    model: nn.Module, calls: Mapping[str, list[LayerShape]], config: PruneSettings
) -> tuple[list[Work], dict[str, Steps]]:
    """The layers of a network with the groups they depend on, and the widths those may get.

    Args:
        model: The network; it stays as it is, and may be on the meta device.
        calls: Its layers, see ``prune.pruning.layer_times.layer_shapes``.
        config: ``round_to``, and the most that one layer may lose.
    """
    reads: dict[str, dict[str, float]] = {}
    writes: dict[str, dict[str, float]] = {}
    steps: dict[str, Steps] = {}
    most = min(config.max_layer_ratio, config.max_pruning_ratio) / 100
    with only_frozen(model, ()):
        graph = Graph(model)
        for group in graph.groups():
            coupling, block = graph.coupling(group), blocks(group)
            multiple = math.lcm(config.divisor, block)
            least = max(multiple, math.ceil(coupling.channels * (1 - most) - 1e-9))
            steps[coupling.name] = Steps(coupling.channels, multiple, least)
            for members, record in ((coupling.consumers, reads), (coupling.producers, writes)):
                for member in members:
                    own = record.setdefault(graph.names[member.layer], {})
                    own[coupling.name] = own.get(coupling.name, 0.0) + len(member.indices) / coupling.channels
    works = []
    for name, shapes in calls.items():
        own_reads, own_writes = reads.get(name, {}), writes.get(name, {})
        for shape in shapes:
            if shape.kind == "depthwise":
                own_reads = own_writes
            works.append(Work(replace(shape, fixed=(not own_reads, not own_writes)), own_reads, own_writes))
    return works, steps
