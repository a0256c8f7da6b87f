"""The networks: building by name, their outputs, freezing, rebuilding from shapes, and what they cost."""

import difflib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from prune.errors import UserError
from prune.models.encoders import PREFIX, EncoderUNet, encoder_names
from prune.models.from_torchvision import build_deeplabv3_tiny, build_torchvision
from prune.models.hrsegnet import HrSegNet
from prune.models.outputs import all_logits, mode, output_layers, without_auxiliary
from prune.models.unet import UNet

__all__ = [
    "ARCHITECTURES",
    "Architecture",
    "all_logits",
    "architecture",
    "build_model",
    "chosen_networks",
    "mode",
    "output_layers",
    "without_auxiliary",
]


@dataclass(frozen=True)
class Architecture:
    """A network that can be built by name.

    Args:
        build: Makes it, randomly initialized, from the number of classes and whether auxiliary heads are wanted.
        source: Paper and, where the code is not ours, library.
        size: Side in px of the square input of its recipe; costs are listed at it.
        cam_layer: Module whose output Seg-Grad-CAM shows unless another is asked for.
    """

    build: Callable[[int, bool], nn.Module]
    source: str
    size: int
    cam_layer: str


def _torchvision(name: str, source: str, cam_layer: str) -> Architecture:
    return Architecture(partial(build_torchvision, name), f"{source}; torchvision", 512, cam_layer)


def _hrsegnet(base: int) -> Architecture:
    source = "Li et al. 2023, Automation in Construction 156, 105112"
    return Architecture(lambda classes, auxiliary: HrSegNet(classes, base, auxiliary), source, 400, "backbone.stages.2")


def _encoder_unet(encoder: str) -> Architecture:
    source = f"Ronneberger et al. 2015 on a {encoder} encoder; segmentation-models-pytorch"
    return Architecture(lambda classes, auxiliary: EncoderUNet(classes, encoder), source, 448, "decoder")


ENCODERS = ("resnet34", "resnet50", "resnet101", "vgg16", "efficientnet_lite0")
"""Encoders whose U-Net is listed."""
_CHEN = "Chen et al. 2017 (DeepLabV3)"

ARCHITECTURES: dict[str, Architecture] = {
    "deeplabv3_resnet101": _torchvision("deeplabv3_resnet101", _CHEN, "backbone.layer4"),
    "deeplabv3_resnet50": _torchvision("deeplabv3_resnet50", _CHEN, "backbone.layer4"),
    "deeplabv3_mobilenet_v3_large": _torchvision(
        "deeplabv3_mobilenet_v3_large", f"{_CHEN}, Howard et al. 2019", "backbone.16"
    ),
    "lraspp_mobilenet_v3_large": _torchvision("lraspp_mobilenet_v3_large", "Howard et al. 2019", "backbone.16"),
    "fcn_resnet50": _torchvision("fcn_resnet50", "Long et al. 2015", "backbone.layer4"),
    "unet": Architecture(lambda classes, auxiliary: UNet(classes), "Ronneberger et al. 2015", 640, "backbone.stages.4"),
    "attention_unet": Architecture(
        lambda classes, auxiliary: UNet(classes, attention=True), "Oktay et al. 2018", 256, "backbone.stages.4"
    ),
    **{f"hrsegnet_b{base}": _hrsegnet(base) for base in (16, 32, 48, 64)},
    **{f"{PREFIX}{encoder}": _encoder_unet(encoder) for encoder in ENCODERS},
    "deeplabv3_tiny": Architecture(
        build_deeplabv3_tiny, "a microscopic DeepLabV3 for tests and quick trials", 128, "backbone.layer4"
    ),
}
"""Every network with a name of its own; ``unet_<encoder>`` builds more (see ``architecture``)."""


def architecture(name: str) -> Architecture:
    """The network called ``name``: a key of ``ARCHITECTURES``, or ``unet_`` and any encoder of segmentation-models-pytorch.

    Raises:
        UserError: for an unknown name; the message suggests the nearest and lists the known.
    """
    if name in ARCHITECTURES:
        return ARCHITECTURES[name]
    if name.startswith(PREFIX) and name.removeprefix(PREFIX) in encoder_names():
        return _encoder_unet(name.removeprefix(PREFIX))
    near = difflib.get_close_matches(name, ARCHITECTURES, n=1)
    hint = f", did you mean {near[0]}?" if near else ","
    raise UserError(
        f"unknown network {name!r}{hint} expected one of {', '.join(ARCHITECTURES)}, "
        f"or {PREFIX}<encoder> with another encoder of segmentation-models-pytorch"
    )


def chosen_networks(text: str) -> list[str]:
    """The networks of ``--models``: names separated by commas, or ``all`` = every one but the microscopic.

    Raises:
        UserError: for no name or an unknown one.
    """
    if text == "all":
        return [name for name in ARCHITECTURES if name != "deeplabv3_tiny"]
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError("--models: expected all, or names separated by commas, found none")
    for name in names:
        architecture(name)
    return names


def build_model(name: str, num_classes: int, auxiliary: bool = True) -> nn.Module:
    """Build a randomly initialized network.

    Args:
        name: See ``architecture``.
        num_classes: Number of output channels of every head, real classes only.
        auxiliary: Whether to add the auxiliary heads used in training, where the network has some.

    Returns:
        A module that maps float32 images (N, 3, H, W) to a dict of logits (N, C, H, W): ``out`` and, with
        auxiliary heads, ``aux`` or ``aux1``, ``aux2``. It has the attributes ``backbone``, ``classifier`` and, for
        every network but LR-ASPP, ``aux_classifier`` (None without auxiliary heads).

    Raises:
        UserError: for an unknown name.
    """
    return architecture(name).build(num_classes, auxiliary)
