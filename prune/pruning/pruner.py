"""Remove channels: score, allocate, cut; in one step or several."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from prune.errors import UserError, first_line
from prune.models import all_logits, mode, output_layers
from prune.models.outputs import TRACE_SIZE, width_of
from prune.progress import progress
from prune.pruning.allocation import global_widths, isomorphic_widths, local_widths, widths_on_the_way
from prune.pruning.criteria.criterion import Criterion, Gradients
from prune.pruning.criteria.make import make_criterion
from prune.pruning.graph import Graph, frozen_names, lowest, only_frozen, readable, whole_blocks
from prune.pruning.group import Group
from prune.pruning.report import LayerWidth, layer_widths
from prune.pruning.settings import PruneSettings

Widths = Mapping[str, int]
"""Final width of every group, by the name of its first layer."""


@dataclass(frozen=True)
class Hooks:
    """What pruning is handed from outside, since it knows neither data nor training.

    Args:
        gradients: Gives an iterator that leaves one gradient on labeled images after the other in ``.grad``, taken of what
            ``PruneSettings.gradients`` asks for; each item is the class it was taken on, None = all.
        finetune: Trains the network after the given step (1-based); called between steps, never after the last, with
            the parameters frozen that were frozen before pruning.
        recalibrate: Re-estimates batch-norm statistics; called after the last step.
    """

    gradients: Callable[[], Gradients] | None = None
    finetune: Callable[[int], None] | None = None
    recalibrate: Callable[[], None] | None = None


@dataclass
class PruneOutcome:
    """What was removed: widths of every layer, and per layer and step the indices cut.

    ``removed_inputs[layer][step]`` and ``removed_outputs[layer][step]`` are the input and output channels cut from that
    layer in that step, ascending, numbered as they were before the step. Layers that lost nothing are left out.
    """

    layers: list[LayerWidth]
    removed_inputs: dict[str, list[list[int]]] = field(default_factory=dict)
    removed_outputs: dict[str, list[list[int]]] = field(default_factory=dict)


def flush_denormals(model: nn.Module) -> None:
    """Set weights too small for a normal float32 to zero: they would make CPU kernels ten times slower."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor[tensor.abs() < torch.finfo(tensor.dtype).tiny] = 0


def _scores(graph: Graph, couplings: list[Group], criterion: Criterion, name: str) -> list[torch.Tensor]:
    """The scores of every group; raises ``UserError`` when one is not finite."""
    scores = [criterion.score(coupling) for coupling in couplings]
    for coupling, score in zip(couplings, scores, strict=True):
        if not torch.isfinite(score).all():
            raise UserError(f"{name}: scores of {coupling.name} are not finite")
    return scores


def _allocated(
    graph: Graph, groups: list[Any], comparable: list[torch.Tensor], config: PruneSettings, share: float, final: Widths
) -> list[int]:
    """How many channels each group keeps after the share ``share`` (0…1) of the pruning.

    Args:
        graph: Of the network.
        groups: Its groups at their present widths.
        comparable: Their scores, comparable across groups.
        config: Allocation, ratio and rounding.
        share: Of the ratio, or of the way to the final widths.
        final: What latency allocation chose.
    """
    names, divisor = [graph.root_name(group) for group in groups], config.divisor
    initial, ratio, limit = (
        [graph.initial[n] for n in names],
        config.pruning_ratio / 100 * share,
        config.max_layer_ratio / 100,
    )
    if config.allocation == "latency":
        widths = widths_on_the_way(initial, [final[name] for name in names], share, divisor)
    elif config.allocation == "global":
        widths = global_widths(comparable, initial, ratio, divisor, limit)
    elif config.allocation == "isomorphic":
        kinds = [graph.topologies[name] for name in names]
        widths = isomorphic_widths(comparable, kinds, initial, ratio, divisor, limit)
    else:
        widths = local_widths(initial, ratio, divisor)
    return whole_blocks(groups, widths)


def _step(
    graph: Graph, criterion: Criterion, step: int, outcome: PruneOutcome, config: PruneSettings, final: Widths
) -> None:
    """Cut every group down to its width after step ``step`` (1-based) and note in ``outcome`` what went.

    The share rises linearly with the steps, measured against the initial widths; after the last it is the whole ratio
    exactly (n/n is 1), so that one-shot and iterative pruning end at the same widths.
    """
    groups, steps = graph.groups(), config.iterative_steps
    couplings = [graph.coupling(group) for group in groups]
    scores = _scores(graph, couplings, criterion, config.criterion)
    comparable = [criterion.comparable(score) for score in scores]
    widths = _allocated(graph, groups, comparable, config, step / steps, final)
    for group, coupling, score, width in zip(groups, couplings, scores, widths, strict=True):
        if width >= len(score):
            continue
        removed = lowest(group, score, width)
        graph.cut(group, removed)
        # Named by the coupling as it was before any cut: inside a concatenation, earlier cuts shift later channels.
        for record, members in (
            (outcome.removed_inputs, coupling.consumers),
            (outcome.removed_outputs, coupling.producers),
        ):
            for layer, gone in coupling.removed_from(members, removed):
                cuts = record.setdefault(graph.names[layer], [[] for _ in range(steps)])
                cuts[step - 1] = sorted(cuts[step - 1] + gone)


def _check_structure(outputs: dict[nn.Module, int], layers: list[LayerWidth], config: PruneSettings) -> None:
    """Fail when a class output, given with its width before, changed or nothing shrank."""
    if any(width_of(layer) != width for layer, width in outputs.items()):
        raise UserError("pruning changed the class outputs")
    if not any(layer.shrank for layer in layers):
        raise UserError(
            f"nothing shrank at --pruning_ratio {config.pruning_ratio:g}: with --round_to {config.round_to} every "
            "layer keeps its width; choose a larger ratio or a smaller --round_to"
        )


def _check_runs(model: nn.Module) -> None:
    """Fail when the pruned network breaks on an image or its logits are not finite."""
    example = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=next(model.parameters()).device)
    try:
        with torch.no_grad(), mode(model, training=False):
            logits = all_logits(model, example)
    except UserError:
        raise
    except Exception as error:  # an external network may raise anything
        raise UserError(f"the pruned network does not run: {first_line(error)}") from error
    for name, value in logits.items():
        if not torch.isfinite(value).all():
            raise UserError(f"the pruned network's {name} logits are not finite")


def _criterion(config: PruneSettings, hooks: Hooks) -> Criterion:
    """The criterion; raises ``UserError`` when it needs gradients and nothing gives any."""
    criterion = make_criterion(config)
    if criterion.needs_gradients and hooks.gradients is None:
        raise UserError(
            f"--data: expected labeled images, which {config.importance_type} takes gradients on, found none"
        )
    return criterion


def _prune_steps(model: nn.Module, config: PruneSettings, hooks: Hooks, final: Widths) -> PruneOutcome:
    """Trace, then for every step score, cut and, before the next, fine-tune with the caller's frozen parts frozen."""
    criterion = _criterion(config, hooks)
    outcome, frozen = PruneOutcome([]), frozen_names(model)
    with only_frozen(model, ()):
        graph = Graph(model)
        for step in progress(range(1, config.iterative_steps + 1), "pruning", "step"):
            if hooks.gradients is not None and criterion.needs_gradients:
                criterion.collect(model, hooks.gradients())
            with readable(model):
                _step(graph, criterion, step, outcome, config, final)
            if hooks.finetune is not None and step < config.iterative_steps:
                with only_frozen(model, frozen):
                    hooks.finetune(step)
    model.zero_grad(set_to_none=True)
    return outcome


def group_scores(model: nn.Module, config: PruneSettings, hooks: Hooks | None = None) -> dict[str, torch.Tensor]:
    """Scores of every group of an unpruned network, comparable across groups, by the name of its first layer.

    Args:
        model: It stays as it is.
        config: The criterion.
        hooks: Gradients, where the criterion needs some.

    Raises:
        UserError: as ``prune_model``.
    """
    hooks = hooks or Hooks()
    criterion = _criterion(config, hooks)
    with only_frozen(model, ()):
        graph = Graph(model)
        if hooks.gradients is not None and criterion.needs_gradients:
            criterion.collect(model, hooks.gradients())
        with readable(model):
            couplings = [graph.coupling(group) for group in graph.groups()]
            scores = _scores(graph, couplings, criterion, config.criterion)
    model.zero_grad(set_to_none=True)
    return {c.name: criterion.comparable(score) for c, score in zip(couplings, scores, strict=True)}


def prune_model(
    model: nn.Module, config: PruneSettings, hooks: Hooks | None = None, widths: Widths | None = None
) -> PruneOutcome:
    """Remove ``config.pruning_ratio`` percent of the channels of every prunable layer of ``model``, in place.

    Class outputs of all heads are kept by identity. Frozen parts are pruned too and stay frozen. With several steps the
    share rises linearly, measured against the initial widths, and gradients are recomputed before every step. Ratio 0
    changes nothing at all.

    Args:
        model: A network, see ``prune.models.build_model``.
        config: Criterion, ratio, allocation, steps and rounding.
        hooks: Gradients, fine-tuning and recalibration.
        widths: What latency allocation chose, see ``prune.pruning.plan``.

    Raises:
        ValueError: for latency allocation without ``widths``.
        UserError: when nothing shrank, gradients are missing or not finite, a class output changed, or the pruned
            network does not run.
    """
    hooks = hooks or Hooks()
    before = layer_widths(model)
    if config.pruning_ratio == 0:
        return PruneOutcome([LayerWidth.unchanged(*row) for row in before])
    outputs = {layer: width_of(layer) for layer in output_layers(model)}
    if config.allocation == "latency" and widths is None:
        raise ValueError("prune_model: expected the widths that prune.pruning.plan chose for latency allocation")
    outcome = _prune_steps(model, config, hooks, widths or {})
    outcome.layers = [LayerWidth.between(old, new) for old, new in zip(before, layer_widths(model), strict=True)]
    _check_structure(outputs, outcome.layers, config)
    _check_runs(model)
    if hooks.recalibrate is not None:
        hooks.recalibrate()
    flush_denormals(model)
    _check_runs(model)
    return outcome
