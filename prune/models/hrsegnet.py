"""HrSegNet (Li et al. 2023, Automation in Construction 156, 105112), written from the paper."""

import torch
from torch import nn

from prune.models.blocks import conv_norm, resize_to

FUSIONS = 3
"""How often each stage adds semantic features to the high-resolution path."""


def _downsample(base: int, stage: int) -> nn.Sequential:
    """Into the low-resolution path: 1/2, 1/4 or 1/8 of the high-resolution path's sides, ``base`` · 2^stage channels."""
    width = base * 2**stage
    layers: list[nn.Module] = [nn.AvgPool2d(3, 2, 1)] if stage > 1 else []
    layers.append(conv_norm(base, width, stride=2))
    if stage > 2:
        layers += [nn.AvgPool2d(3, 2, 1), conv_norm(width, width)]
    return nn.Sequential(*layers)


class GuidedStage(nn.Module):
    """A high-resolution path of constant width beside a low-resolution path that guides it at every convolution.

    Args:
        base: Channels of the high-resolution path.
        stage: 1, 2 or 3; later stages go down deeper and wider.
    """

    def __init__(self, base: int, stage: int) -> None:
        super().__init__()
        width = base * 2**stage
        self.high = nn.ModuleList([conv_norm(base, base, relu=False) for _ in range(FUSIONS)])
        rest = [conv_norm(width, width) for _ in range(FUSIONS - 1)]
        self.low = nn.ModuleList([_downsample(base, stage), *rest])
        self.guide = nn.ModuleList([conv_norm(width, base, 1, relu=False) for _ in range(FUSIONS)])

    def forward(self, high: torch.Tensor) -> torch.Tensor:
        """High-resolution features (N, base, H, W) in and out."""
        low = high
        for high_conv, low_conv, guide in zip(self.high, self.low, self.guide, strict=True):
            low = low_conv(low)
            high = torch.relu(high_conv(high) + guide(resize_to(low, high)))
        return high


def _head(base: int, num_classes: int) -> nn.Sequential:
    """The first of two steps up: a transposed convolution to 1/2 of the image's sides; the second is interpolation."""
    up = nn.ConvTranspose2d(base, base, 3, stride=2, padding=1, output_padding=1, bias=False)
    norms = nn.BatchNorm2d(base), nn.BatchNorm2d(base)
    return nn.Sequential(norms[0], nn.ReLU(), up, norms[1], nn.ReLU(), nn.Conv2d(base, num_classes, 1))


def _auxiliary_head(base: int, num_classes: int) -> nn.Sequential:
    return nn.Sequential(conv_norm(base, base), nn.Conv2d(base, num_classes, 1))


class Backbone(nn.Module):
    """Two strided convolutions to 1/4 of the image's sides, then three guided stages."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(conv_norm(3, base // 2, stride=2), conv_norm(base // 2, base, stride=2))
        self.stages = nn.ModuleList([GuidedStage(base, stage) for stage in (1, 2, 3)])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Features (N, base, H/4, W/4) after every stage."""
        features = [self.stem(images)]
        for stage in self.stages:
            features.append(stage(features[-1]))
        return features[1:]


class HrSegNet(nn.Module):
    """The whole network; its auxiliary heads sit on the first and second stage and exist in training only.

    Args:
        num_classes: Number of output channels.
        base: Channels of the high-resolution path: 16, 32, 48 or 64 in the paper's B16 … B64.
        auxiliary: Whether to build the auxiliary heads.
    """

    def __init__(self, num_classes: int, base: int, auxiliary: bool) -> None:
        super().__init__()
        self.backbone = Backbone(base)
        self.classifier = _head(base, num_classes)
        heads = [_auxiliary_head(base, num_classes) for _ in range(2)]
        self.aux_classifier = nn.ModuleList(heads) if auxiliary else None

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of images (N, 3, H, W): ``out`` and, with auxiliary heads, ``aux1``, ``aux2``, all at the image's size."""
        *guided, last = self.backbone(images)
        logits = {"out": self.classifier(last)}
        for number, (head, features) in enumerate(zip(self.aux_classifier or (), guided, strict=False), start=1):
            logits[f"aux{number}"] = head(features)
        return {name: resize_to(value, images) for name, value in logits.items()}
