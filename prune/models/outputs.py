"""The logits of any segmentation network, and the layers they come from, found by following a forward pass back."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from prune.errors import UserError, first_line

TRACE_SIZE = 64
"""Side in px of the image that is followed through a network; its layers do not depend on it."""
LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


def all_logits(model: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Logits of every head, each float (N, C, H, W); a bare tensor output counts as ``out``.

    Raises:
        UserError: when a network gives something else.
    """
    output = model(images)
    if isinstance(output, dict):
        if "out" not in output:
            raise UserError(f"expected a network whose output has out, found one with {', '.join(map(str, output))}")
        return output
    if not isinstance(output, torch.Tensor):
        raise UserError(f"expected a network that gives logits or a dict with out, found {type(output).__name__}")
    return {"out": output}


@contextmanager
def without_auxiliary(model: nn.Module) -> Iterator[nn.Module]:
    """Take the auxiliary heads off inside the block: what a device runs, and what costs are counted on.

    They are what a network calls ``aux_classifier``; one that has none of that name stays as it is.
    """
    head = getattr(model, "aux_classifier", None)
    if not isinstance(head, nn.Module):
        yield model
        return
    model.aux_classifier = None  # type: ignore[assignment]
    try:
        yield model
    finally:
        model.aux_classifier = head


@contextmanager
def mode(model: nn.Module, training: bool) -> Iterator[nn.Module]:
    """Put ``model`` into training or evaluation mode inside the block and restore every module's own mode after."""
    before = {module: module.training for module in model.modules()}
    model.train(training)
    try:
        yield model
    finally:
        for module, was_training in before.items():
            module.training = was_training


@contextmanager
def _noting(model: nn.Module) -> Iterator[dict[Any, nn.Module]]:
    """Which layer made which node of the graph that autograd records inside the block."""
    made: dict[Any, nn.Module] = {}

    def hook(layer: nn.Module) -> Callable[..., None]:
        def note(module: nn.Module, given: Any, output: torch.Tensor) -> None:
            made[output.grad_fn] = layer

        return note

    layers = [module for module in model.modules() if isinstance(module, LAYERS)]
    handles = [layer.register_forward_hook(hook(layer)) for layer in layers]
    try:
        yield made
    finally:
        for handle in handles:
            handle.remove()


def _nearest(node: Any, made: dict[Any, nn.Module]) -> list[nn.Module]:
    """The layers met first on every way back from a node of autograd's graph."""
    found, seen, stack = [], set(), [node]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if node in made:
            found.append(made[node])
        else:
            stack += [before for before, _ in reversed(node.next_functions)]
    return found


def traced_logits(model: nn.Module) -> dict[str, torch.Tensor]:
    """Logits of every head for a black image of ``TRACE_SIZE``, in evaluation mode, with autograd's graph.

    Raises:
        UserError: when the network does not take it, or gives something else than logits (1, C, H, W).
    """
    device = next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
    image = torch.zeros(1, 3, TRACE_SIZE, TRACE_SIZE, device=device, requires_grad=True)
    try:
        with mode(model, training=False), torch.enable_grad():
            logits = all_logits(model, image * 1)  # not the leaf itself, which a network may not change in place
    except UserError:
        raise
    except Exception as error:  # external code may raise anything
        shape = f"(1, 3, {TRACE_SIZE}, {TRACE_SIZE})"
        raise UserError(f"expected a network that takes images {shape}, found: {first_line(error)}") from error
    for name, value in logits.items():
        if not isinstance(value, torch.Tensor) or value.ndim != 4:
            found = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            raise UserError(f"expected logits (N, C, H, W), found {name}: {found}")
    return logits


def output_layers(model: nn.Module) -> list[nn.Module]:
    """The last layers of every head, by identity: their outputs are the classes and must never be pruned.

    One image is followed through the network and back from the logits to the convolutions that made them, past resizing,
    sums and activations. Heads in the order of the output, ``out`` first.

    Raises:
        UserError: when the layer cannot be determined.
    """
    with _noting(model) as made:
        logits = traced_logits(model)
    layers: dict[nn.Module, None] = {}
    for name in sorted(logits, key=lambda name: name != "out"):
        found = _nearest(logits[name].grad_fn, made)
        if not found:
            raise UserError(
                f"cannot tell which layer of {type(model).__name__} gives its logits {name}: expected a convolution "
                "whose output, resized or summed at most, is the result"
            )
        layers.update(dict.fromkeys(found))
    return list(layers)


def width_of(layer: nn.Module) -> int:
    """Output channels of a convolution or linear layer."""
    return int(layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels)  # type: ignore[arg-type]
