"""What the networks written here are made of."""

import torch
from torch import nn
from torch.nn import functional as F


def conv_norm(inputs: int, outputs: int, kernel: int = 3, *, stride: int = 1, relu: bool = True) -> nn.Sequential:
    """Convolution without bias, batch norm and, if wanted, ReLU; the size is kept or divided by ``stride``."""
    layers = [nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False), nn.BatchNorm2d(outputs)]
    return nn.Sequential(*layers, *([nn.ReLU(inplace=True)] if relu else []))


def double_conv(inputs: int, outputs: int) -> nn.Sequential:
    """Two 3x3 convolutions, each with batch norm and ReLU."""
    return nn.Sequential(conv_norm(inputs, outputs), conv_norm(outputs, outputs))


def pad_to_multiple(images: torch.Tensor, multiple: int) -> torch.Tensor:
    """Continue images (N, C, H, W) to the right and below by their last pixels until ``multiple`` divides both sides."""
    height, width = images.shape[-2:]
    # Written so that an exporter can prove that the padded sides are divisible, whatever the size.
    below = (height + multiple - 1) // multiple * multiple - height
    right = (width + multiple - 1) // multiple * multiple - width
    known = isinstance(below, int) and isinstance(right, int)
    return images if known and not below and not right else F.pad(images, (0, right, 0, below), mode="replicate")


def resize_to(features: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Bilinear interpolation of features (N, C, h, w) to the size of ``like`` (N, K, H, W)."""
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)
