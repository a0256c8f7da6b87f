"""U-Net (Ronneberger et al. 2015) and Attention U-Net (Oktay et al. 2018)."""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from prune.models.blocks import conv_norm, double_conv, pad_to_multiple, resize_to

WIDTHS = (64, 128, 256, 512, 1024)
"""Channels of the five resolutions, as in the paper."""


class Encoder(nn.Module):
    """Features of every resolution, halved from one to the next by max pooling."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        inputs = (3, *widths[:-1])
        self.stages = nn.ModuleList([double_conv(i, o) for i, o in zip(inputs, widths, strict=True)])

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        """Finest first."""
        features = [self.stages[0](images)]
        for stage in self.stages[1:]:
            features.append(stage(F.max_pool2d(features[-1], 2)))
        return features


class AttentionGate(nn.Module):
    """Additive attention: how much of a skip connection passes is decided per pixel by the coarser features.

    α = σ(ψ(ReLU(W_x x + W_g g))), out = α · x, with 1x1 convolutions and one α for all channels (Oktay et al. 2018,
    equations 1 and 2). The gating features g have been brought to the resolution of x before.
    """

    def __init__(self, skip: int, gating: int, inner: int) -> None:
        super().__init__()
        self.skip = conv_norm(skip, inner, 1, relu=False)
        self.gating = conv_norm(gating, inner, 1, relu=False)
        self.attention = nn.Conv2d(inner, 1, 1)

    def forward(self, skip: torch.Tensor, gating: torch.Tensor) -> torch.Tensor:
        """``skip`` (N, C, H, W), weighed per pixel."""
        alpha = torch.sigmoid(self.attention(F.relu(self.skip(skip) + self.gating(gating))))
        # In this order, because torch-pruning takes the channels of a product from its last factor.
        return alpha * skip


class Up(nn.Module):
    """One step of the up path: double the resolution, join the skip connection, convolve twice.

    Args:
        inputs: Channels from below.
        outputs: Channels of the skip connection, and of the result.
        attention: Weigh the skip connection by a gate; the resolution is then doubled by interpolation and a
            convolution, as in published Attention U-Nets, instead of a transposed convolution.
    """

    def __init__(self, inputs: int, outputs: int, attention: bool) -> None:
        super().__init__()
        self.up = conv_norm(inputs, outputs) if attention else nn.ConvTranspose2d(inputs, outputs, 2, stride=2)
        self.gate = AttentionGate(outputs, outputs, max(1, outputs // 2)) if attention else None
        self.convs = double_conv(2 * outputs, outputs)

    def forward(self, below: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        """Features (N, outputs, H, W) at the resolution of ``skip``."""
        up = self.up(below if self.gate is None else resize_to(below, skip))
        skip = skip if self.gate is None else self.gate(skip, up)
        return self.convs(torch.cat([skip, up], dim=1))


class UNet(nn.Module):
    """Encoder, up path with skip connections, 1x1 classifier. Images of any size: they are padded inside.

    Args:
        num_classes: Number of output channels.
        widths: Channels of each resolution, finest first.
        attention: Build the Attention U-Net.
    """

    def __init__(self, num_classes: int, widths: Sequence[int] = WIDTHS, attention: bool = False) -> None:
        super().__init__()
        self.multiple = 2 ** (len(widths) - 1)
        self.backbone = Encoder(widths)
        steps = zip(reversed(widths[1:]), reversed(widths[:-1]), strict=True)
        self.decoder = nn.ModuleList([Up(coarse, fine, attention) for coarse, fine in steps])
        self.classifier = nn.Conv2d(widths[0], num_classes, 1)
        self.aux_classifier = None

    def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        """Logits of images (N, 3, H, W): ``out`` (N, num_classes, H, W)."""
        *skips, features = self.backbone(pad_to_multiple(images, self.multiple))
        for step, skip in zip(self.decoder, reversed(skips), strict=True):
            features = step(features, skip)
        return {"out": self.classifier(features)[..., : images.shape[-2], : images.shape[-1]]}
