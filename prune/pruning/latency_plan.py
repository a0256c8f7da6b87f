"""From a target latency to the width of every group, by measured times of the network's layers."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import nn

from prune.errors import UserError
from prune.hardware import choose_device, device_name, versions
from prune.models.cost import shapes_of
from prune.pruning.graph import cut_to_named
from prune.pruning.latency_allocation import Cut, Steps, TimeOf, way_down, works_of
from prune.pruning.layer_times import Measure, layer_shapes, measured_times
from prune.pruning.report import WidthRow, layer_widths
from prune.pruning.settings import PruneSettings
from prune.pruning.target_search import CostTarget, FoundRatio, TargetSearchResult, search_measured

Scores = Callable[[], Mapping[str, torch.Tensor]]
"""Scores of every group, comparable across groups, by the name of its first layer."""
MULTIPLES = (8, 16, 32)
"""What ``--round_to auto`` tries: runtimes compute channels in blocks of such sizes, and a block begun costs a whole one."""


@dataclass(frozen=True)
class LatencyWidths:
    """Widths for every share of the layers' time that is removed.

    Args:
        steps: The widths every group may get.
        milliseconds: Of all layers of the unpruned network.
        cuts: From there down.
    """

    steps: Mapping[str, Steps]
    milliseconds: float
    cuts: list[Cut]

    def share(self, number: int) -> float:
        """Percent of the layers' time that the first ``number`` cuts remove."""
        return 100 * (1 - self.cuts[number - 1].milliseconds / self.milliseconds) if number else 0.0

    def at(self, share: float) -> dict[str, int]:
        """The width of every group after the fewest cuts that remove ``share`` percent of the layers' time."""
        widths = {group: step.initial for group, step in self.steps.items()}
        for number, cut in enumerate(self.cuts):
            if self.share(number) >= share - 1e-9:
                break
            widths[cut.group] = cut.width
        return widths

    def channels_removed(self, share: float) -> float:
        """Percent of the channels of all groups that are gone then."""
        whole = sum(step.initial for step in self.steps.values())
        return round(100 * (1 - sum(self.at(share).values()) / whole), 2)


def latency_widths(
    model: nn.Module,
    config: PruneSettings,
    scores: Mapping[str, torch.Tensor],
    time_of: TimeOf | None,
    measure: Measure,
) -> LatencyWidths:
    """Widths for every share of time, by the scores and the times of the layers.

    Args:
        model: The unpruned network.
        config: Runtime, size, rounding, and where layer times are kept.
        scores: See ``Scores``.
        time_of: Times of layers, None = they are measured.
        measure: Times a network.
    """
    works, steps = works_of(shapes_of(model), layer_shapes(model, (config.latency_size, config.latency_size)), config)
    if time_of is None:
        device = choose_device(config.device if config.runtime == "pytorch" else "cpu")
        machine = f"{device_name(device)}, {torch.get_num_threads()} threads, torch {versions()['torch']}"
        file = Path(config.layer_times) if config.layer_times else None
        time_of = measured_times(dict.fromkeys(w.shape for w in works), measure, config.runtime, machine, file)
    milliseconds, cuts = way_down(scores, steps, works, time_of)
    return LatencyWidths(steps, milliseconds, cuts)


@dataclass(frozen=True)
class LatencyPlan:
    """What latency allocation chose.

    Args:
        budget: What was asked for and what was reached.
        widths: Of every group.
        layers: The layers' widths that follow.
        lost: Importance of all channels that go.
        round_to: What widths are multiples of.
    """

    budget: TargetSearchResult
    widths: dict[str, int]
    layers: list[WidthRow]
    lost: float
    round_to: int


def plan_latency(
    model: nn.Module,
    config: PruneSettings,
    target: CostTarget,
    measure: Measure,
    scores: Scores,
    time_of: TimeOf | None = None,
) -> LatencyPlan:
    """The widths at which a network takes the target latency, chosen by importance and layer times.

    Layer times add up to the network's only roughly (runtimes fuse, resizing is left out), so they decide *where* channels
    go; *how many* is searched for by measuring whole networks, cut to the widths for one share of time after the other.
    They are interpolated between few widths, which hides that runtimes compute channels in blocks; so ``round_to`` auto
    plans with every one of ``MULTIPLES`` and takes the plan that reaches the target at the least loss of importance.

    Args:
        model: The unpruned network; it stays as it is.
        config: With ``target_latency_ms`` and latency allocation.
        target: The same target.
        measure: Times a network.
        scores: Called once.
        time_of: Times of layers, None = they are measured.

    Raises:
        UserError: for a target that is not below what the network takes now, or cannot be reached.
    """
    worth = scores()
    if config.round_to != "auto":
        return _planned(model, config, target, measure, worth, time_of)
    found, refusals = [], []
    for multiple in MULTIPLES:
        try:
            found.append(_planned(model, replace(config, round_to=multiple), target, measure, worth, time_of))
        except UserError as error:  # wide steps may not reach what narrow ones do
            refusals.append(error)
    if not found:
        raise refusals[0]
    reached = [plan for plan in found if plan.budget.hit] or found
    return min(reached, key=lambda plan: (plan.lost, -plan.round_to))


def _planned(
    model: nn.Module,
    config: PruneSettings,
    target: CostTarget,
    measure: Measure,
    scores: Mapping[str, torch.Tensor],
    time_of: TimeOf | None,
) -> LatencyPlan:
    """The plan for widths in multiples of one number, see ``plan_latency``."""
    size = (config.latency_size, config.latency_size)
    choice = latency_widths(model, config, scores, time_of, measure)
    if not choice.cuts:
        raise UserError(f"{target.flag}: nothing shrinks with --round_to {config.round_to}")

    def cut(share: float) -> nn.Module:
        smaller = copy.deepcopy(model)
        cut_to_named(smaller, choice.at(share))
        return smaller

    top = math.floor(100 * choice.share(len(choice.cuts))) / 100
    bound = f"--max_layer_ratio {min(config.max_layer_ratio, config.max_pruning_ratio):g}"
    bottom = min(choice.share(1), top)
    found = search_measured(
        lambda share: measure(cut(share), size, config.runtime),
        target,
        bottom,
        top,
        f" with --round_to {config.round_to}",
        bound,
    )
    shapes, widths = shapes_of(model), choice.at(found.ratio)
    cut_to_named(shapes, widths)
    told = FoundRatio(
        choice.channels_removed(found.ratio),
        found.value,
        tuple((choice.channels_removed(share), value) for share, value in found.tried),
    )
    limit = f"that {len(found.tried)} measurements with --round_to {config.round_to} found"
    runtime = f"{config.runtime} at {size[1]}x{size[0]}"
    budget = TargetSearchResult(target, told.value, told.ratio, limit, runtime, told.tried)
    lost = sum(
        float(scores[group].double().sort().values[: step.initial - widths[group]].sum())
        for group, step in choice.steps.items()
    )
    return LatencyPlan(budget, widths, layer_widths(shapes), lost, config.divisor)
