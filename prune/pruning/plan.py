"""From what was asked for, a target or ``round_to`` auto, to a ratio and a divisor that a network can be pruned with."""

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from prune.errors import UserError
from prune.models.cost import count
from prune.options import parse_amount
from prune.progress import say
from prune.pruning.latency_plan import Scores, plan_latency
from prune.pruning.layer_times import Measure
from prune.pruning.report import NetworkCost, WidthRow, layer_widths
from prune.pruning.settings import TARGETS, PruneSettings
from prune.pruning.target_search import (
    CostTarget,
    DivisorTable,
    DivisorTiming,
    FoundRatio,
    TargetSearchResult,
    first_ratio,
    medians_in_turns,
    search,
    search_measured,
)
from prune.pruning.width_estimate import WidthEstimate

DIVISORS = (1, 4, 8, 16, 32)
"""What ``--round_to auto`` chooses from."""


@dataclass(frozen=True)
class Plan:
    """What is pruned in the end: ``config`` with a ratio and a divisor instead of a target, and how they were found.

    ``expected`` holds the widths the search counted with and ``wishes`` the target's flags, empty without a target.
    Latency allocation gives ``widths``, the final one of every group, and leaves the target in ``config``; the ratio
    recorded is then the percent of all channels that are gone.
    """

    config: PruneSettings
    budget: TargetSearchResult | None = None
    divisors: DivisorTable | None = None
    expected: list[WidthRow] = field(default_factory=list)
    wishes: dict[str, Any] = field(default_factory=dict)
    widths: dict[str, int] | None = None

    @property
    def ratio(self) -> float:
        """Percent of the channels that are removed."""
        return self.budget.ratio if self.widths is not None and self.budget else self.config.pruning_ratio

    def settings(self) -> dict[str, Any]:
        """What is recorded: the numbers pruned with, and the target they were found for."""
        found = {"pruning_ratio": self.ratio, "criterion": self.config.criterion}
        return {**dataclasses.asdict(self.config), **self.wishes, **found}

    def reached(self, after: NetworkCost) -> TargetSearchResult | None:
        """The budget with what was counted on the pruned network itself; a latency is the one of the search."""
        if self.budget is None or self.budget.target.quantity == "latency_ms":
            return self.budget
        counted = after.macs if self.budget.target.quantity == "macs" else after.parameters
        return dataclasses.replace(self.budget, reached=counted)

    def disagreement(self, pruned: nn.Module) -> list[str]:
        """A note when the widths are not those the search counted with, else none."""
        pairs = zip(layer_widths(pruned), self.expected, strict=True) if self.expected else ()
        differing = [f"{own[0]} {own[2:]} instead of {other[2:]}" for own, other in pairs if own != other]
        if not differing:
            return []
        return [f"{len(differing)} layers got other widths than the search counted with, the first: {differing[0]}"]


def _target(config: PruneSettings, whole: nn.Module) -> CostTarget | None:
    """The target in MACs, parameters or ms; a share is one of the network ``whole``."""
    name = config.target
    if name is None:
        return None
    given = getattr(config, name)
    if name == "target_latency_ms":
        return CostTarget("latency_ms", f"--{name} {given:g}", given)
    amount, share = parse_amount(name, str(given))
    parameters, macs = count(whole, (config.latency_size, config.latency_size))
    dense = macs if name == "target_macs" else parameters
    return CostTarget(name.removeprefix("target_"), f"--{name} {given}", amount * dense if share else amount)


def _search(
    target: CostTarget, config: PruneSettings, estimate: WidthEstimate, divisor: int, measure: Measure
) -> FoundRatio:
    """The ratio for ``target`` with widths in multiples of ``divisor``."""
    top, limit = config.max_pruning_ratio, f" with --round_to {divisor}"
    if target.quantity != "latency_ms":
        which = 1 if target.quantity == "macs" else 0
        return search(lambda ratio: estimate.counts(ratio, divisor)[which], target, top, limit)
    bottom = first_ratio(lambda ratio: estimate.shrinks(ratio, divisor), top)
    if bottom is None:
        raise UserError(f"{target.flag}: nothing shrinks up to --max_pruning_ratio {top:g}{limit}")

    def cost(ratio: float) -> float:
        return measure(estimate.network(ratio, divisor), estimate.size, config.runtime)

    return search_measured(cost, target, bottom, top, limit)


def _choose_divisor(config: PruneSettings, estimate: WidthEstimate, ratio: float, measure: Measure) -> DivisorTable:
    """Time the divisors at ``ratio`` percent; those that give the same widths are timed once."""
    same: dict[tuple[int, ...], list[int]] = {}
    for divisor in DIVISORS:
        if estimate.shrinks(ratio, divisor):
            same.setdefault(estimate.widths(ratio, divisor), []).append(divisor)
    if not same:
        raise UserError(f"--round_to auto: nothing shrinks at --pruning_ratio {ratio:g}, choose a larger ratio")
    models = {divisors[0]: estimate.network(ratio, divisors[0]) for divisors in same.values()}

    def timer(model: nn.Module) -> Callable[[], float]:
        return lambda: measure(model, estimate.size, config.runtime)

    times = medians_in_turns({divisor: timer(model) for divisor, model in models.items()})
    rows = [DivisorTiming(tuple(d), estimate.counts(ratio, d[0])[1], times[d[0]]) for d in same.values()]
    return DivisorTable(config.runtime, ratio, rows)


def _result(
    target: CostTarget, found: FoundRatio, config: PruneSettings, divisor: int, estimate: WidthEstimate
) -> TargetSearchResult:
    limit = f"that widths in multiples of {divisor} allow up to ratio {config.max_pruning_ratio:g}%"
    limit += "; a smaller --round_to comes closer" if divisor > 1 else ""
    if target.quantity == "latency_ms":
        limit = f"that {len(found.tried)} measurements with --round_to {divisor} found"
    runtime = f"{config.runtime} at {estimate.size[1]}x{estimate.size[0]}" if target.quantity == "latency_ms" else None
    return TargetSearchResult(target, found.value, found.ratio, limit, runtime, found.tried)


def _hit(
    target: CostTarget, config: PruneSettings, estimate: WidthEstimate, measure: Measure, table: DivisorTable | None
) -> Plan:
    """The plan that meets ``target`` as closely as ``config`` allows."""
    found = _search(target, config, estimate, config.divisor, measure)
    budget = _result(target, found, config, config.divisor, estimate)
    say("target", budget.sentence())
    none: dict[str, Any] = dict.fromkeys(TARGETS)
    chosen = dataclasses.replace(config, **{**none, "pruning_ratio": found.ratio})
    wishes = {name: getattr(config, name) for name in TARGETS}
    return Plan(chosen, budget, table, estimate.layers(found.ratio, config.divisor), wishes)


def unmeasured(model: nn.Module, size: tuple[int, int], runtime: str) -> float:
    """What stands in for a clock where none was handed in; raises ``ValueError``."""
    raise ValueError("plan: expected a measure for a target latency or round_to auto, found none")


def unscored() -> Mapping[str, torch.Tensor]:
    """What stands in for scores where none were handed in; raises ``ValueError``."""
    raise ValueError("plan: expected scores for latency allocation, found none")


def plan(
    model: nn.Module,
    config: PruneSettings,
    measure: Measure = unmeasured,
    scores: Scores = unscored,
    whole: nn.Module | None = None,
) -> Plan:
    """Search the pruning ratio for the target and the fastest divisor, where ``config`` asks for them.

    Works on copies and writes nothing but ``--layer_times``. With both, divisors are compared at the ratio that
    whole channels need for the target, and the ratio is then searched again for the fastest; latency allocation compares
    whole plans (``plan_latency``).

    Args:
        model: The network to be pruned.
        config: What was asked for.
        measure: Gives a latency; called for a target latency and for divisors only.
        scores: Give the scores of all groups; called for latency allocation only.
        whole: The network that shares of MACs and parameters are taken of, where it is not ``model``.

    Raises:
        UserError: for a target that is not below what the network costs now, or cannot be reached.
    """
    if config.target is None and config.round_to != "auto":
        return Plan(config)
    if config.target is None and not config.pruning_ratio:
        return Plan(dataclasses.replace(config, round_to=PruneSettings.round_to))
    target, table = _target(config, whole or model), None
    if target and config.allocation == "latency":
        chosen = plan_latency(model, config, target, measure, scores)
        if config.round_to == "auto":
            say("round_to", f"auto: {chosen.round_to}")
        config = dataclasses.replace(config, round_to=chosen.round_to)
        say("target", chosen.budget.sentence())
        return Plan(config, chosen.budget, expected=chosen.layers, widths=chosen.widths)
    estimate = WidthEstimate(model, (config.latency_size, config.latency_size))
    if config.round_to == "auto":
        ratio = _search(target, config, estimate, 1, measure).ratio if target else config.pruning_ratio
        table = _choose_divisor(config, estimate, ratio, measure)
        say("round_to", f"auto: {table.text()}")
    config = dataclasses.replace(config, round_to=table.fastest) if table else config
    return _hit(target, config, estimate, measure, table) if target else Plan(config, divisors=table)
