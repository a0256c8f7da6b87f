"""Scoring less than the whole image as it is: only on request, and every table says so."""

from dataclasses import dataclass, replace

import torch
from torch.nn import functional as F

from prune.data.dataset import Sample


@dataclass(frozen=True)
class Framing:
    """What part of an image is scored, at which size.

    Args:
        resize: Longer side in px the image is scaled to, 0 = as it is.
        crop: Side in px of the central square that is kept (where the image is as large), 0 = all of it.
    """

    resize: int = 0
    crop: int = 0

    def __str__(self) -> str:
        parts = [f"resized to {self.resize} px on the longer side"] if self.resize else []
        parts += [f"central {self.crop} px"] if self.crop else []
        return ", ".join(parts) or "whole images"

    def scale(self, size: tuple[int, int]) -> float:
        """By how much an image of ``size`` (height, width) is enlarged."""
        return self.resize / max(size) if self.resize else 1.0

    def __call__(self, sample: Sample) -> Sample:
        """The sample as it is scored: bilinear (with antialiasing) for the image, nearest for the label."""
        image, label = sample.image, sample.label
        if self.resize:
            scale = self.scale((label.shape[0], label.shape[1]))
            size = [max(1, round(side * scale)) for side in label.shape]
            resized = F.interpolate(image[None].float(), size, mode="bilinear", antialias=True)[0]
            image = resized.round().clamp(0, 255).to(torch.uint8)
            label = F.interpolate(label[None, None].float(), size, mode="nearest-exact")[0, 0].long()
        if self.crop:
            top, left = (max(0, (side - self.crop) // 2) for side in label.shape)
            rows, columns = slice(top, top + self.crop), slice(left, left + self.crop)
            image, label = image[:, rows, columns], label[rows, columns]
        return replace(sample, image=image, label=label)
