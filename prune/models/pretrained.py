"""Where a fresh network's weights come from: COCO if available, else ImageNet, else random; the choice is reported."""

from collections.abc import Callable, Mapping
from functools import partial

import torch
from torch import nn
from torchvision.models import get_model_weights
from torchvision.models.resnet import BasicBlock, Bottleneck

from prune.errors import UserError, first_line
from prune.models.encoders import PREFIX, imagenet_weights
from prune.models.weight_packages import PACKAGES

State = Mapping[str, torch.Tensor]
Source = tuple[str, Callable[[], State]]
"""What the weights are, and how to get them."""

BACKBONES = ("resnet101", "resnet50", "mobilenet_v3_large")
"""Torchvision's classification networks under its segmentation networks."""


def _coco(name: str) -> State:
    return get_model_weights(name).DEFAULT.get_state_dict(progress=True, check_hash=True)


def _imagenet(backbone: str) -> State:
    state = get_model_weights(backbone).DEFAULT.get_state_dict(progress=True, check_hash=True)
    # A backbone is a classification network without its last layers, and of MobileNet only the `features`.
    return {f"backbone.{name.removeprefix('features.')}": tensor for name, tensor in state.items()}


def sources(architecture: str) -> dict[str, Source]:
    """Published weights of a network: ``coco``, ``imagenet``, the best first, and ``package``; empty when there are none."""
    if architecture.startswith(PREFIX):
        encoder = architecture.removeprefix(PREFIX)
        label = "ImageNet encoder weights (segmentation-models-pytorch)"
        published: dict[str, Source] = {"imagenet": (label, partial(imagenet_weights, encoder))}
        package = PACKAGES.get(architecture)
        return published | ({"package": (package.label, package.state)} if package else {})
    backbone = next((name for name in BACKBONES if architecture.endswith(name)), None)
    if backbone is None:
        return {}
    return {
        "coco": ("COCO segmentation weights (torchvision)", partial(_coco, architecture)),
        "imagenet": ("ImageNet backbone weights (torchvision)", partial(_imagenet, backbone)),
    }


def load_matching(model: nn.Module, state: State) -> tuple[int, int]:
    """Copy every tensor whose name and shape fit into ``model``; returns how many fit and how many the model has.

    Heads of another class count do not fit and keep their initialization.
    """
    own = model.state_dict()
    fitting = {name: tensor for name, tensor in state.items() if name in own and own[name].shape == tensor.shape}
    model.load_state_dict(fitting, strict=False)
    return len(fitting), len(own)


def start_as_identity(model: nn.Module) -> None:
    """Zero the scale of the last batch norm of every residual block, so that each block starts as the identity.

    A deep random network then learns as fast as a shallow one from its first steps (Goyal et al. 2017, Accurate, Large
    Minibatch SGD, section 5.1); with pretrained weights there is nothing to gain.
    """
    for module in model.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)
        elif isinstance(module, BasicBlock):
            nn.init.zeros_(module.bn2.weight)


def keep_variance(model: nn.Module) -> None:
    """Draw the weights of convolutions that no batch norm follows so that ReLU layers keep the variance (He et al. 2015).

    PyTorch's default shrinks it layer by layer; the thirteen convolutions of a VGG encoder would pass on nothing.
    """
    encoder = getattr(model, "backbone", None)
    if encoder is None or any(isinstance(m, nn.BatchNorm2d) for m in encoder.modules()):
        return
    for module in encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            if module.bias is not None:
                nn.init.zeros_(module.bias)


def initialize(model: nn.Module, architecture: str, source: str) -> str:
    """Fill ``model`` with pretrained weights and return a sentence on what it got.

    Args:
        model: A fresh network.
        architecture: Its name, see ``prune.models.architecture``.
        source: ``auto`` (COCO, else ImageNet, else random), ``coco``, ``imagenet``, ``package`` (see
            ``prune.models.weight_packages``) or ``none``.

    Raises:
        UserError: when a source was named and is not available.
    """
    start_as_identity(model)
    keep_variance(model)
    if source == "none":
        return "random weights"
    published = sources(architecture)
    if source != "auto" and source not in published:
        raise UserError(f"--weights {source}: no such weights are published for {architecture}")
    if source == "auto":
        published.pop("package", None)
    if not published:
        return f"random weights (none are published for {architecture})"
    reason = ""
    for name in published if source == "auto" else (source,):
        label, fetch = published[name]
        try:
            state = fetch()
        except (OSError, RuntimeError) as error:
            reason = first_line(error)
            continue
        fitted, total = load_matching(model, state)
        return f"{label}: {fitted} of {total} tensors"
    if source != "auto":
        raise UserError(
            f"--weights {source}: cannot be downloaded and is not in the cache ({reason}); try --weights none"
        )
    kinds = " nor ".join({"coco": "COCO", "imagenet": "ImageNet"}[name] for name in published)
    return (
        f"random weights: {'neither ' if len(published) > 1 else 'no '}{kinds} weights can be downloaded ({reason}); "
        "expect much lower scores"
    )
