"""The same function in fewer and faster operators: how HrSegNet is rewritten for export."""

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from prune.models.blocks import resize_to
from prune.models.hrsegnet import HrSegNet

PHASES = 4
"""A pixel becomes 2x2 pixels; their phases (row, column) are numbered row by row, as in pixel shuffling."""
TAPS = {0: ((1, 0),), 1: ((2, 0), (0, 1))}
"""Of a transposed 3-tap convolution with stride 2: which kernel index meets which neighbor, per output phase."""


def _phase_convolution(up: nn.ConvTranspose2d, norm: nn.BatchNorm2d) -> nn.Conv2d:
    """A transposed 3x3 convolution (stride 2, padding 1, output padding 1) and its batch norm as a 2x2 convolution.

    Every group of ``up.out_channels`` outputs is one phase of the doubled image; the input must be continued by one
    row and column of zeros at its end.
    """
    inputs, outputs = up.weight.shape[:2]
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
    kernel = up.weight.transpose(0, 1) * scale[:, None, None, None]
    weight = torch.zeros(PHASES, outputs, inputs, 2, 2)
    for phase in range(PHASES):
        for row, below in TAPS[phase // 2]:
            for column, right in TAPS[phase % 2]:
                weight[phase, :, :, below, right] = kernel[:, :, row, column]
    convolution = nn.Conv2d(inputs, PHASES * outputs, 2)
    convolution.weight = nn.Parameter(weight.flatten(0, 1))
    convolution.bias = nn.Parameter((norm.bias - norm.running_mean * scale).repeat(PHASES))
    return convolution


def _per_phase(classifier: nn.Conv2d) -> nn.Conv2d:
    """A 1x1 convolution as one that works on all phases at once and leaves them ready for pixel shuffling."""
    classes, width = classifier.weight.shape[:2]
    weight = torch.zeros(classes, PHASES, PHASES, width)
    for phase in range(PHASES):
        weight[:, phase, phase] = classifier.weight[:, :, 0, 0]
    convolution = nn.Conv2d(PHASES * width, PHASES * classes, 1)
    convolution.weight = nn.Parameter(weight.reshape(PHASES * classes, PHASES * width, 1, 1))
    assert classifier.bias is not None
    convolution.bias = nn.Parameter(classifier.bias.repeat_interleave(PHASES))
    return convolution


def _doubling(classes: int) -> nn.Conv2d:
    """Bilinear interpolation to twice the size as a 3x3 convolution to the phases of every class.

    Half-pixel centers: each new pixel is ¾ of the nearest and ¼ of the second nearest along an axis.
    """
    taps = torch.tensor([[0.25, 0.75, 0.0], [0.0, 0.75, 0.25]])
    weight = torch.zeros(classes, PHASES, classes, 3, 3)
    for phase in range(PHASES):
        for number in range(classes):
            weight[number, phase, number] = taps[phase // 2][:, None] * taps[phase % 2]
    convolution = nn.Conv2d(classes, PHASES * classes, 3, bias=False)
    convolution.weight = nn.Parameter(weight.flatten(0, 1))
    return convolution


class DeployedHrSegNet(nn.Module):
    """HrSegNet for inference: equal logits (up to rounding) for less work between the convolutions.

    - The guides are 1x1 convolutions with batch norm; they commute with bilinear interpolation, whose weights add up to
      one, so they work before it, on a quarter to a sixty-fourth of the pixels.
    - The transposed convolution becomes a plain one at its input's resolution, with ReLU and classifier still there;
      only logits are moved to the finer grid.
    - With ``exact``, the last interpolation, then exactly by two, becomes a small convolution.

    Args:
        model: Dense or pruned; it is copied.
        exact: The sides of all images will be divisible by four.
    """

    def __init__(self, model: HrSegNet, exact: bool) -> None:
        super().__init__()
        model = copy.deepcopy(model).eval()
        self.stem, self.stages = model.backbone.stem, model.backbone.stages
        head: Any = model.classifier
        norm, _, up, after, _, classifier = head
        with torch.no_grad():
            self.norm, self.up = norm, _phase_convolution(up, after)
            self.classifier = _per_phase(classifier)
            self.doubling = _doubling(classifier.out_channels) if exact else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (N, C, H, W) of images (N, 3, H, W)."""
        high, stages = self.stem(images), list[Any](self.stages)
        for stage in stages:
            low = high
            for high_conv, low_conv, guide in zip(stage.high, stage.low, stage.guide, strict=True):
                low = low_conv(low)
                high = torch.relu(high_conv(high) + resize_to(guide(low), high))
        phases = torch.relu(self.up(F.pad(torch.relu(self.norm(high)), (0, 1, 0, 1))))
        logits = F.pixel_shuffle(self.classifier(phases), 2)
        if self.doubling is None:
            return resize_to(logits, images)
        return F.pixel_shuffle(self.doubling(F.pad(logits, (1, 1, 1, 1), mode="replicate")), 2)


def fused_hrsegnet(model: nn.Module, size: tuple[int, int] | None, quantized: bool = False) -> nn.Module:
    """The network as it is exported: ``model`` itself, or an equal one that runs faster.

    Args:
        model: An inference network in evaluation mode, without auxiliary heads.
        size: Height and width in px of the one input it will get, None = any.
        quantized: It will be quantized; logits are then interpolated in float.
    """
    if not isinstance(model, HrSegNet):
        return model
    return DeployedHrSegNet(model, not quantized and size is not None and size[0] % 4 == 0 and size[1] % 4 == 0)
