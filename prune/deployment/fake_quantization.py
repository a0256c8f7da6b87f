"""Fake quantization: a network that computes in float32 what its INT8 file computes, see ``rounding``.

Rounded are convolutions that another one follows, and the tensors that reach one. In float stay the last convolutions and
what comes after them, and tensors of a single pixel (pooled branches, gates): they cost nothing and decide much.
"""

import operator
from collections.abc import Iterable
from typing import Any

import torch
from torch import fx, nn

from prune.deployment.rounding import CONVOLUTIONS, Activation, Convolution
from prune.deployment.target import Batches, ExportTarget, traced_program
from prune.models.checkpoint import Network

_ATEN = torch.ops.aten
FUSED = {_ATEN.relu.default, _ATEN.hardtanh.default}
"""Operators that runtimes compute together with the convolution or sum before them."""
SAME_RANGE = {
    *(_ATEN.max_pool2d.default, _ATEN.upsample_bilinear2d.vec, _ATEN.upsample_nearest2d.vec, _ATEN.pad.default),
    *(_ATEN.slice.Tensor, _ATEN.pixel_shuffle.default, _ATEN.dropout.default, _ATEN.alias.default, _ATEN.clone.default),
}
"""Operators whose results lie in the range of what they are given, and share its levels."""


def fake_quantized(network: Network, batches: Batches) -> fx.GraphModule:
    """The inference network with batch norm folded into the convolutions and rounding where INT8 rounds.

    Args:
        network: It is not changed.
        batches: Normalized photographs float32 (1, 3, H, W) that ranges are taken from.

    Returns:
        A module that maps images float32 (N, 3, H, W) to logits; it learns like any other.
    """
    program = traced_program(network, ExportTarget("onnx", "int8")).run_decompositions({})
    traced: Any = program.module(check_guards=False)
    model = fx.GraphModule(traced, traced.graph)  # the traced one refuses train() and eval()
    _fold_batch_norms(model)
    _insert(model)
    model.graph.eliminate_dead_code()
    model = fx.GraphModule(model, model.graph)  # with what the graph still names
    model.graph.lint()
    activations = [part for part in model.modules() if isinstance(part, Activation)]
    for part in activations:
        part.seen = []
    with torch.no_grad():
        for batch in batches:
            model(torch.from_numpy(batch))
    for part in activations:
        part.choose_range()
    return model


def deployed(model: fx.GraphModule) -> fx.GraphModule:
    """Turn a fake-quantized network, in place, into one that is exported to ONNX with integer weights."""
    for node in model.graph.nodes:
        part = _part(model, node) if node.op == "call_module" else None
        if isinstance(part, Convolution):
            part.deploy(_part(model, node.args[0]).step.detach())
        elif isinstance(part, Activation):
            part.deployed = True
    return model.eval()


def _part(model: fx.GraphModule, node: fx.Node) -> Any:
    """The module, weight or constant that a node of the graph names."""
    return operator.attrgetter(str(node.target))(model)


def _tensor(model: fx.GraphModule, node: Any) -> torch.Tensor | None:
    """The values of a weight or constant that a node reads; of no node none."""
    return None if node is None else _part(model, node).detach()


def _grouped_transposed(node: fx.Node) -> bool:
    """Whether the output channels of a convolution do not lie along one axis of its weights."""
    return node.target == _ATEN.conv_transpose2d.input and node.args[6:7] not in ((), (1,))


def _fold_batch_norms(model: fx.GraphModule) -> None:
    """Fold every batch norm that alone follows a convolution into its weights and bias."""
    norm = _ATEN._native_batch_norm_legit_no_training.default
    for node in [node for node in model.graph.nodes if node.op == "call_function" and node.target == norm]:
        source, takers = node.args[0], list(node.users)
        if source.target not in CONVOLUTIONS or len(source.users) > 1 or len(takers) > 1 or _grouped_transposed(source):
            continue
        gamma, beta, mean, variance = (_tensor(model, part) for part in node.args[1:5])
        weight, bias = (_tensor(model, part) for part in (*source.args[1:3], None)[:2])
        assert weight is not None and mean is not None and variance is not None
        scale = (1 if gamma is None else gamma) / torch.sqrt(variance + node.args[6])
        shape = [1] * 4
        shape[CONVOLUTIONS[source.target]] = -1
        shift = (0 if bias is None else bias) - mean
        for name, value in (
            ("weight", weight * scale.view(shape)),
            ("bias", shift * scale + (beta if beta is not None else 0)),
        ):
            model.register_parameter(f"{source.name}_{name}", nn.Parameter(value))
        with model.graph.inserting_before(source):
            folded = tuple(model.graph.get_attr(f"{source.name}_{name}") for name in ("weight", "bias"))
        source.args = (source.args[0], *folded, *source.args[3:])
        takers[0].replace_all_uses_with(source)
        model.graph.erase_node(takers[0])
        model.graph.erase_node(node)


def _spatial(node: fx.Node) -> bool:
    """Whether a node gives a tensor (N, C, H, W) of more than one pixel."""
    value = node.meta.get("val")
    if not isinstance(value, torch.Tensor) or value.dim() != 4 or not value.is_floating_point():
        return False
    return not all(isinstance(side, int) and side == 1 for side in value.shape[2:])


def _before_convolutions(nodes: Iterable[fx.Node]) -> set[fx.Node]:
    """The nodes whose results reach a convolution on more than one pixel."""
    found: set[fx.Node] = set()
    for node in reversed(list(nodes)):
        if any(user in found or (user.target in CONVOLUTIONS and _spatial(user)) for user in node.users):
            found.add(node)
    return found


def _rounding(model: fx.GraphModule, node: Any) -> bool:
    """Whether an argument of a call is a rounded tensor."""
    return isinstance(node, fx.Node) and node.op == "call_module" and isinstance(_part(model, node), Activation)


def _insert(model: fx.GraphModule) -> None:
    """Put rounding after the tensors that reach a convolution, and replace the convolutions that one follows."""
    nodes = [node for node in model.graph.nodes if node.op in ("placeholder", "call_function")]
    wanted = {node for node in _before_convolutions(nodes) if _spatial(node)}
    for number, node in enumerate(nodes):
        if node not in wanted:
            continue
        given: Any = node.args[0] if node.args else None
        fused = all(user.target in FUSED for user in node.users)
        rounded, same = node, _rounding(model, given) and node.target in SAME_RANGE
        if node.target in CONVOLUTIONS and _rounding(model, given) and not _grouped_transposed(node):
            rounded = _replace(model, node, f"convolution_{number}")
        if fused:
            continue
        name = str(given.target) if same else f"round_{number}"
        if not same:
            model.add_submodule(name, Activation())
        with model.graph.inserting_after(rounded):
            after = model.graph.call_module(name, (rounded,))
        rounded.replace_all_uses_with(after, delete_user_cb=lambda user, kept=after: user is not kept)


def _replace(model: fx.GraphModule, node: fx.Node, name: str) -> fx.Node:
    """Compute a convolution by ``Convolution``; the node that now does it."""
    weight, bias = (_tensor(model, part) for part in (*node.args[1:3], None)[:2])
    assert weight is not None
    model.add_submodule(name, Convolution(node.target, weight, bias, tuple(node.args[3:])))
    with model.graph.inserting_before(node):
        new = model.graph.call_module(name, (node.args[0],))
    node.replace_all_uses_with(new)
    model.graph.erase_node(node)
    return new
