"""Remove channels: trace what is coupled, score, allocate, cut; in one step or several."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning
from torch import nn
from tqdm import tqdm

from prune.config import PruneConfig
from prune.errors import UserError
from prune.models import all_logits, mode, output_layers
from prune.pruning.allocation import global_widths, local_widths
from prune.pruning.importance import Criterion, Group, make_criterion
from prune.pruning.report import LayerWidth, layer_widths

TRACE_SIZE = 64
"""Side in px of the input used to trace couplings; they do not depend on it."""

ROOTS = (nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class Hooks:
    """What pruning is handed from outside, since it knows neither data nor training.

    Args:
        gradients: Gives an iterator that leaves the gradient of one labeled batch after the other in ``.grad``.
        finetune: Trains the network after the given step (1-based); called between steps, never after the last.
        recalibrate: Estimates batch-norm statistics anew; called after the last step.
    """

    gradients: Callable[[], Iterable[None]] | None = None
    finetune: Callable[[int], None] | None = None
    recalibrate: Callable[[], None] | None = None


@dataclass
class PruneOutcome:
    """What was removed: widths of every layer, and per layer the indices cut in each step.

    ``removed_inputs[layer]`` lists, step by step, the input channels cut from that layer, numbered as they were before
    the step.
    """

    layers: list[LayerWidth]
    removed_inputs: dict[str, list[list[int]]] = field(default_factory=dict)


@contextmanager
def _all_gradients(model: nn.Module) -> Iterator[None]:
    """Turn every gradient on: the tracer does not see frozen parameters and would leave them dense without a word."""
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    model.requires_grad_(True)
    try:
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name not in frozen


def flush_denormals(model: nn.Module) -> None:
    """Set weights too small for a normal float32 to zero: they would make CPU kernels ten times slower."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor[tensor.abs() < torch.finfo(tensor.dtype).tiny] = 0


class _Graph:
    """The groups of a network and how to cut them."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.names = {module: name for name, module in model.named_modules()}
        self.outputs = output_layers(model)
        self.device = next(model.parameters()).device
        example = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=self.device)
        with mode(model, training=False):
            self.dependencies = torch_pruning.DependencyGraph().build_dependency(
                model, example_inputs=example, forward_fn=lambda net, image: list(all_logits(net, image).values())
            )
        self.initial = {self._root(group): len(group[0].idxs) for group in self.groups()}

    @staticmethod
    def _root(group: Any) -> nn.Module:
        return group[0].dep.target.module

    def groups(self) -> list[Any]:
        """All groups at their present widths, without those that contain a class output."""
        return list(self.dependencies.get_all_groups(ignored_layers=self.outputs, root_module_types=ROOTS))

    def cut(self, group: Any, indices: list[int]) -> dict[str, list[int]]:
        """Remove channels of a group; returns the input channels cut from each layer that reads them."""
        root = group[0].dep
        smaller = self.dependencies.get_pruning_group(root.target.module, root.handler, indices)
        if not self.dependencies.check_pruning_group(smaller):
            raise UserError(f"removing {len(indices)} channels of {self.names[root.target.module]} would empty a layer")
        cut: dict[str, list[int]] = {}
        for member in Group.of(smaller).consumers:
            cut.setdefault(self.names[member.layer], []).extend(member.indices.tolist())
        smaller.prune()
        return cut


def _step(graph: _Graph, criterion: Criterion, ratio: float, config: PruneConfig) -> dict[str, list[int]]:
    """Cut every group down to its width for ``ratio`` (0…1 of the initial channels); returns removed inputs."""
    groups = graph.groups()
    scores = [criterion.score(Group.of(group)) for group in groups]
    for group, score in zip(groups, scores, strict=True):
        if not torch.isfinite(score).all():
            raise UserError(f"{config.criterion}: scores of {graph.names[graph._root(group)]} are not finite")
    initial = [graph.initial[graph._root(group)] for group in groups]
    if config.allocation == "local":
        widths = local_widths(initial, ratio, config.round_to)
    else:
        comparable = [criterion.comparable(score) for score in scores]
        widths = global_widths(comparable, initial, ratio, config.round_to, config.max_layer_ratio / 100)
    removed: dict[str, list[int]] = {}
    for group, score, width in zip(groups, scores, widths, strict=True):
        if width < len(score):
            lowest = score.argsort(stable=True)[: len(score) - width]
            for name, indices in graph.cut(group, sorted(lowest.tolist())).items():
                removed.setdefault(name, []).extend(indices)
    return removed


def _check_result(model: nn.Module, outputs_before: list[int], layers: list[LayerWidth], config: PruneConfig) -> None:
    """Fail when nothing shrank, a class output changed, or the network no longer runs."""
    if [layer.out_channels for layer in output_layers(model)] != outputs_before:
        raise UserError("pruning changed the class outputs")
    if not any(layer.shrank for layer in layers):
        raise UserError(
            f"nothing shrank at --pruning_ratio {config.pruning_ratio:g}: with --round_to {config.round_to} every "
            "layer keeps its width; choose a larger ratio or a smaller --round_to"
        )
    example = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=next(model.parameters()).device)
    with torch.no_grad(), mode(model, training=False):
        logits = all_logits(model, example)
    for name, value in logits.items():
        if not torch.isfinite(value).all():
            raise UserError(f"the pruned network's {name} logits are not finite")


def prune_model(model: nn.Module, config: PruneConfig, hooks: Hooks | None = None) -> PruneOutcome:
    """Remove ``config.pruning_ratio`` percent of the channels of every prunable layer of ``model``, in place.

    Class outputs of all heads are kept by identity. Frozen parts are pruned too and stay frozen. With several steps the
    share rises linearly, measured against the initial widths, and gradients are taken anew before every step. Ratio 0
    changes nothing at all.

    Args:
        model: A network, see ``prune.models.build_model``.
        config: Criterion, ratio, allocation, steps and rounding.
        hooks: Gradients, fine-tuning and recalibration.

    Raises:
        UserError: when nothing shrank, gradients are missing or not finite, a class output changed, or the pruned
            network does not run.
    """
    hooks = hooks or Hooks()
    before = layer_widths(model)
    if config.pruning_ratio == 0:
        return PruneOutcome([LayerWidth.unchanged(*row) for row in before])
    criterion = make_criterion(config)
    if criterion.needs_gradients and hooks.gradients is None:
        raise UserError(f"{config.importance_type} needs labeled batches")
    outputs = [layer.out_channels for layer in output_layers(model)]
    outcome = PruneOutcome([])
    with _all_gradients(model):
        graph = _Graph(model)
        for step in tqdm(range(1, config.iterative_steps + 1), desc="pruning", unit="step", leave=False):
            if hooks.gradients is not None and criterion.needs_gradients:
                criterion.collect(model, hooks.gradients())
            ratio = config.pruning_ratio / 100 * step / config.iterative_steps
            for name, indices in _step(graph, criterion, ratio, config).items():
                outcome.removed_inputs.setdefault(name, []).append(indices)
            if hooks.finetune is not None and step < config.iterative_steps:
                hooks.finetune(step)
    model.zero_grad(set_to_none=True)
    outcome.layers = [LayerWidth.between(old, new) for old, new in zip(before, layer_widths(model), strict=True)]
    if hooks.recalibrate is not None:
        hooks.recalibrate()
    flush_denormals(model)
    _check_result(model, outputs, outcome.layers, config)
    return outcome
