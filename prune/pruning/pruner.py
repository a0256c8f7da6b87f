"""Remove channels: trace what is coupled, score, allocate, cut; in one step or several."""

import math
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
import torch_pruning
from torch import nn

from prune.errors import UserError, first_line
from prune.models import all_logits, mode, output_layers
from prune.models.outputs import TRACE_SIZE, width_of
from prune.progress import progress
from prune.pruning.allocation import global_widths, local_widths, rounded
from prune.pruning.importance import Criterion, Group, make_criterion
from prune.pruning.report import LayerWidth, layer_widths
from prune.pruning.settings import PruneSettings

ROOTS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


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


@dataclass(frozen=True)
class Hooks:
    """What pruning is handed from outside, since it knows neither data nor training.

    Args:
        gradients: Gives an iterator that leaves the gradient of one labeled batch after the other in ``.grad``.
        finetune: Trains the network after the given step (1-based); called between steps, never after the last, with
            the parameters frozen that were frozen before pruning.
        recalibrate: Estimates batch-norm statistics anew; called after the last step.
    """

    gradients: Callable[[], Iterable[None]] | None = None
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


def _frozen_names(model: nn.Module) -> frozenset[str]:
    return frozenset(name for name, parameter in model.named_parameters() if not parameter.requires_grad)


@contextmanager
def _readable(model: nn.Module) -> Iterator[None]:
    """Turn what scoring and cutting somebody's network may raise into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{type(model).__name__} cannot be pruned: {first_line(error)}") from error


@contextmanager
def _only_frozen(model: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Let exactly the parameters called ``names`` be without gradient inside the block.

    By name, because cutting replaces the parameters themselves.
    """
    before = _frozen_names(model)
    try:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name not in names
        yield
    finally:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name not in before


def flush_denormals(model: nn.Module) -> None:
    """Set weights too small for a normal float32 to zero: they would make CPU kernels ten times slower."""
    with torch.no_grad():
        for tensor in [*model.parameters(), *model.buffers()]:
            if tensor.is_floating_point():
                tensor[tensor.abs() < torch.finfo(tensor.dtype).tiny] = 0


class _Graph:
    """The groups of a network and how to cut them."""

    def __init__(self, model: nn.Module, config: PruneSettings) -> None:
        self.config = config
        self.names: dict[nn.Module, str] = {module: name for name, module in model.named_modules()}
        self.outputs = output_layers(model)
        example = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=next(model.parameters()).device)
        try:
            with mode(model, training=False):
                self.dependencies = torch_pruning.DependencyGraph().build_dependency(
                    model, example_inputs=example, forward_fn=lambda net, image: list(all_logits(net, image).values())
                )
        except Exception as error:  # somebody's network fails the tracer in any way
            raise UserError(f"the couplings of {type(model).__name__} cannot be traced: {first_line(error)}") from error
        _uncouple_gates(self.dependencies)
        self.initial = {self._root(group): len(group[0].idxs) for group in self.groups()}

    @staticmethod
    def _root(group: Any) -> nn.Module:
        return group[0].dep.target.module

    def groups(self) -> list[Any]:
        """All groups at their present widths, without those that contain a class output or cannot be cut (``_blocks``)."""
        found = self.dependencies.get_all_groups(ignored_layers=self.outputs, root_module_types=ROOTS)
        return [group for group in found if _blocks(group)]

    def root_name(self, group: Any) -> str:
        """The name of the layer a group starts from."""
        return self.names[self._root(group)]

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

    def widths(self, groups: list[Any], scores: list[torch.Tensor], criterion: Criterion, ratio: float) -> list[int]:
        """How many channels each group keeps at ``ratio`` (0…1 of the initial channels)."""
        config, initial = self.config, [self.initial[self._root(group)] for group in groups]
        if config.allocation == "local":
            return _whole_blocks(groups, local_widths(initial, ratio, config.divisor))
        comparable = [criterion.comparable(score) for score in scores]
        widths = global_widths(comparable, initial, ratio, config.divisor, config.max_layer_ratio / 100)
        return _whole_blocks(groups, widths)


def _blocks(group: Any) -> int:
    """In how many equal blocks the channels of a group lie for group normalization.

    0 when the group is left as it is: channels are numbered otherwise there, or a convolution reads or makes them in groups
    (ResNeXt), whose filters have no channel of their own.
    """
    blocks, own = 1, list(range(len(group[0].idxs)))
    for item in group:
        norm = item.dep.target.module
        if isinstance(norm, nn.Conv2d) and 1 < norm.groups != norm.out_channels:
            return 0
        if isinstance(norm, nn.GroupNorm) and norm.num_groups > 1:
            if list(item.idxs) != own or list(item.root_idxs) != own or norm.num_channels != len(own):
                return 0
            blocks = math.lcm(blocks, norm.num_groups)
    return blocks if len(own) % blocks == 0 else 0


def _whole_blocks(groups: list[Any], widths: list[int]) -> list[int]:
    """Widths that group normalization can divide into its blocks."""
    pairs = [(width, _blocks(group), len(group[0].idxs)) for group, width in zip(groups, widths, strict=True)]
    return [width if blocks == 1 else rounded(width, blocks, channels) for width, blocks, channels in pairs]


def _lowest(group: Any, scores: torch.Tensor, width: int) -> list[int]:
    """The channels to remove, ascending: the lowest scores, as many of every block of group normalization."""
    per_block = scores.reshape(_blocks(group), -1)
    blocks, channels = per_block.shape
    lowest = per_block.argsort(dim=1, stable=True)[:, : channels - width // blocks]
    return sorted((lowest + torch.arange(blocks)[:, None] * channels).flatten().tolist())


def _step(graph: _Graph, criterion: Criterion, step: int, outcome: PruneOutcome) -> None:
    """Cut every group down to its width after step ``step`` (1-based) and note in ``outcome`` what went.

    The share rises linearly with the steps, measured against the initial widths; after the last it is the whole ratio
    exactly (n/n is 1), so that one-shot and iterative pruning end at the same widths.
    """
    groups, steps = graph.groups(), graph.config.iterative_steps
    couplings = [Group.of(group) for group in groups]
    scores = [criterion.score(coupling) for coupling in couplings]
    for group, score in zip(groups, scores, strict=True):
        if not torch.isfinite(score).all():
            raise UserError(f"{graph.config.criterion}: scores of {graph.root_name(group)} are not finite")
    widths = graph.widths(groups, scores, criterion, graph.config.pruning_ratio / 100 * (step / steps))
    for group, coupling, score, width in zip(groups, couplings, scores, widths, strict=True):
        if width >= len(score):
            continue
        lowest = _lowest(group, score, width)
        graph.cut(group, lowest)
        # Named by the coupling as it was before any cut: inside a concatenation, earlier cuts shift later channels.
        for record, members in (
            (outcome.removed_inputs, coupling.consumers),
            (outcome.removed_outputs, coupling.producers),
        ):
            for layer, gone in coupling.removed_from(members, lowest):
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
    except Exception as error:  # somebody's network fails in any way
        raise UserError(f"the pruned network does not run: {first_line(error)}") from error
    for name, value in logits.items():
        if not torch.isfinite(value).all():
            raise UserError(f"the pruned network's {name} logits are not finite")


def _prune_steps(model: nn.Module, config: PruneSettings, hooks: Hooks) -> PruneOutcome:
    """Trace, then for every step score, cut and, before the next, fine-tune with the caller's frozen parts frozen."""
    criterion = make_criterion(config)
    if criterion.needs_gradients and hooks.gradients is None:
        raise UserError(
            f"--data: expected labeled images, which {config.importance_type} takes gradients on, found none"
        )
    outcome, frozen = PruneOutcome([]), _frozen_names(model)
    # The tracer does not see frozen parameters and would leave them dense without a word.
    with _only_frozen(model, ()):
        graph = _Graph(model, config)
        for step in progress(range(1, config.iterative_steps + 1), "pruning", "step"):
            if hooks.gradients is not None and criterion.needs_gradients:
                criterion.collect(model, hooks.gradients())
            with _readable(model):
                _step(graph, criterion, step, outcome)
            if hooks.finetune is not None and step < config.iterative_steps:
                with _only_frozen(model, frozen):
                    hooks.finetune(step)
    model.zero_grad(set_to_none=True)
    return outcome


def group_channels(model: nn.Module) -> list[int]:
    """Channels of every prunable group of ``model``, which may be on the meta device."""
    with _only_frozen(model, ()):
        return list(_Graph(model, PruneSettings()).initial.values())


def cut_to_ratio(model: nn.Module, ratio: float, round_to: int) -> None:
    """Cut ``model`` in place to the widths ``prune_model`` gives it at ``ratio`` percent with local allocation.

    Which channels go is arbitrary, so that neither scores nor weights are needed: it works on the meta device too.
    """
    with _only_frozen(model, ()), _readable(model):
        graph = _Graph(model, PruneSettings())
        groups = graph.groups()
        initial = [len(group[0].idxs) for group in groups]
        widths = _whole_blocks(groups, local_widths(initial, ratio / 100, round_to))
        for group, start, width in zip(groups, initial, widths, strict=True):
            if width < start:
                graph.cut(group, _lowest(group, torch.zeros(start), width))


def prune_model(model: nn.Module, config: PruneSettings, hooks: Hooks | None = None) -> PruneOutcome:
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
    outputs = {layer: width_of(layer) for layer in output_layers(model)}
    outcome = _prune_steps(model, config, hooks)
    outcome.layers = [LayerWidth.between(old, new) for old, new in zip(before, layer_widths(model), strict=True)]
    _check_structure(outputs, outcome.layers, config)
    _check_runs(model)
    if hooks.recalibrate is not None:
        hooks.recalibrate()
    flush_denormals(model)
    _check_runs(model)
    return outcome
