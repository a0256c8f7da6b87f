"""The networks: building by name, their outputs, freezing, rebuilding from shapes, and what they cost."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from prune.errors import UserError
from prune.models.deeplab import build_deeplabv3_resnet101, build_deeplabv3_tiny

ARCHITECTURES: dict[str, Callable[[int, bool], nn.Module]] = {
    "deeplabv3_resnet101": build_deeplabv3_resnet101,
    "deeplabv3_tiny": build_deeplabv3_tiny,
}


def build_model(name: str, num_classes: int, auxiliary: bool = True) -> nn.Module:
    """Build a randomly initialized network.

    Args:
        name: A key of ``ARCHITECTURES``.
        num_classes: Number of output channels of every head, real classes only.
        auxiliary: Whether to add the auxiliary head used in training.

    Returns:
        A module that maps float32 images (N, 3, H, W) to a dict of logits (N, C, H, W): ``out`` and, with an
        auxiliary head, ``aux``. It has the attributes ``backbone``, ``classifier`` and ``aux_classifier``.

    Raises:
        UserError: for an unknown name.
    """
    if name not in ARCHITECTURES:
        raise UserError(f"unknown network {name!r}: expected one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name](num_classes, auxiliary)


def output_layers(model: nn.Module) -> list[nn.Conv2d]:
    """The last convolution of every head, by identity: its outputs are the classes and must never be pruned."""
    heads: list[nn.Module | None] = [getattr(model, name, None) for name in ("classifier", "aux_classifier")]
    return [[m for m in head.modules() if isinstance(m, nn.Conv2d)][-1] for head in heads if head is not None]


def all_logits(model: nn.Module, images: torch.Tensor) -> dict[str, torch.Tensor]:
    """Logits of every head, each float (N, C, H, W); a bare tensor output counts as ``out``."""
    output = model(images)
    return output if isinstance(output, dict) else {"out": output}


@contextmanager
def without_auxiliary(model: nn.Module) -> Iterator[nn.Module]:
    """Take the auxiliary head off inside the block: what a device runs, and what costs are counted on."""
    head = getattr(model, "aux_classifier", None)
    if head is None:
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
