"""Networks from outside the project: any module that maps images (N, 3, H, W) to logits (N, C, H, W), or to a dict with them as ``out``."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.models.checkpoint import Network
from prune.models.factory import Factory, function_of
from prune.models.output_stride import output_stride, set_output_stride
from prune.models.outputs import TRACE_SIZE, all_logits, mode, traced_logits
from prune.models.rebuild import rebuild
from prune.models.state_dict import describe_state, unnamed_classes


def network_of_module(
    module: nn.Module,
    classes: ClassSet | None = None,
    factory: object = None,
    factory_options: Mapping[str, Any] | None = None,
) -> Network:
    """Wrap a module, which stays as it is and is not copied.

    One that this project would build itself, such as torchvision's DeepLabV3, needs no factory to be saved and loaded.

    Args:
        module: Maps float32 images (N, 3, H, W) to logits (N, C, H, W) of the same size, or to a dict with them as ``out``.
            Images are normalized as ``prune.data.preprocessing.Preprocessing`` says.
        classes: What the C channels mean; None: 7 are those of S2DS, 2 are background and crack, others have numbers.
        factory: What builds it, so that a checkpoint can name it: a function or class, ``package.module:function``, or a
            ``functools.partial`` with keyword arguments. It is called once, to see that it does.
        factory_options: Its keyword arguments, plain values.

    Raises:
        UserError: when the module gives something else, other classes than named, or is not what the factory builds.
        TypeError: for a factory or options of another type.
    """
    number = _channels(module)
    if classes is None:
        classes = unnamed_classes(number, type(module).__name__)
    elif len(classes) != number:
        raise UserError(
            f"--classes: expected the {number} that {type(module).__name__} has outputs for, found {len(classes)}"
        )
    if factory is None:
        if factory_options:
            raise UserError(
                f"--factory: expected a function that takes the factory_options {', '.join(factory_options)}, found none"
            )
        name = _known(module) or f"module:{type(module).__name__}"
        return Network(module, name, classes)
    named = Factory.of(factory, factory_options)
    built = named.build(function_of(factory))
    if built.state_dict().keys() != module.state_dict().keys():
        raise UserError(f"--factory {named.name}: expected the layers of the {type(module).__name__}, found others")
    return Network(module, named.architecture, classes, factory=named)


def _channels(module: nn.Module) -> int:
    """How many classes a module has outputs for; raises ``UserError`` when its output is not as large as its input."""
    shape = tuple(traced_logits(module)["out"].shape)
    if shape[2:] != (TRACE_SIZE, TRACE_SIZE):
        raise UserError(
            f"expected a network whose logits are as large as the image, {TRACE_SIZE}x{TRACE_SIZE}, "
            f"found {shape[3]}x{shape[2]}"
        )
    if shape[1] < 2:
        raise UserError(f"expected a network with one output per class, background included, found {shape[1]}")
    return shape[1]


def _known(module: nn.Module) -> str | None:
    """The name of the network of this project that computes exactly what ``module`` does, None when there is none."""
    state = module.state_dict()
    try:
        name, number, auxiliary = describe_state(state, "")
        own = rebuild(name, number, auxiliary, state)
        stride = output_stride(module)
        if stride is not None:
            set_output_stride(own, stride)
    except UserError:
        return None
    device = next(module.parameters()).device
    image = torch.rand(1, 3, TRACE_SIZE, TRACE_SIZE, generator=torch.Generator().manual_seed(0)).to(device)
    with torch.no_grad(), mode(module, training=False):
        theirs, ours = all_logits(module, image)["out"], all_logits(own.to(device), image)["out"]
    return name if theirs.shape == ours.shape and torch.equal(theirs, ours) else None
