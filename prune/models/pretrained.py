"""Where a fresh network's weights come from: COCO when they can be had, else ImageNet, else random, saying which."""

from collections.abc import Callable, Mapping

import torch
from torch import nn
from torchvision.models import ResNet101_Weights
from torchvision.models.resnet import Bottleneck
from torchvision.models.segmentation import DeepLabV3_ResNet101_Weights

from prune.errors import UserError, first_line

State = Mapping[str, torch.Tensor]


def _coco() -> State:
    return DeepLabV3_ResNet101_Weights.COCO_WITH_VOC_LABELS_V1.get_state_dict(progress=True, check_hash=True)


def _imagenet() -> State:
    state = ResNet101_Weights.IMAGENET1K_V2.get_state_dict(progress=True, check_hash=True)
    return {f"backbone.{name}": tensor for name, tensor in state.items()}


SOURCES: dict[str, tuple[str, Callable[[], State]]] = {
    "coco": ("COCO segmentation weights (torchvision)", _coco),
    "imagenet": ("ImageNet backbone weights (torchvision)", _imagenet),
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
    """Zero the scale of the last batch norm of every bottleneck, so that each block starts as the identity.

    A deep random network then learns as fast as a shallow one from its first steps (Goyal et al. 2017, Accurate, Large
    Minibatch SGD, section 5.1); with pretrained weights there is nothing to gain.
    """
    for module in model.modules():
        if isinstance(module, Bottleneck):
            nn.init.zeros_(module.bn3.weight)


def initialize(model: nn.Module, architecture: str, source: str) -> str:
    """Fill ``model`` with pretrained weights and return a sentence on what it got.

    Args:
        model: A fresh network.
        architecture: Its name; only ``deeplabv3_resnet101`` has published weights here.
        source: ``auto`` (COCO, else ImageNet, else random), ``coco``, ``imagenet`` or ``none``.

    Raises:
        UserError: when a source was named and cannot be had.
    """
    start_as_identity(model)
    if source == "none":
        return "random weights"
    if architecture != "deeplabv3_resnet101":
        if source == "auto":
            return f"random weights (none are published for {architecture})"
        raise UserError(f"--weights {source}: no such weights are published for {architecture}")
    reason = ""
    for name in ("coco", "imagenet") if source == "auto" else (source,):
        label, fetch = SOURCES[name]
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
    return f"random weights: neither COCO nor ImageNet weights can be downloaded ({reason}); expect much lower scores"
