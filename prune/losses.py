"""Training losses. All ignore pixels labeled ``IGNORE_INDEX`` and work on logits (N, C, H, W)."""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from prune.data.labels import IGNORE_INDEX, ClassSet
from prune.errors import UserError

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes logits float (N, C, H, W) and labels int64 (N, H, W); gives a scalar."""


def cross_entropy(logits: torch.Tensor, label: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Cross entropy per valid pixel, with class weights float (C,) the weighted mean; 0 when no pixel is valid."""
    total = F.cross_entropy(logits, label, weight=weights, ignore_index=IGNORE_INDEX, reduction="sum")
    valid = label[label != IGNORE_INDEX]
    norm = valid.numel() if weights is None else weights[valid].sum()
    return total / max(float(norm), 1e-12)


def dice(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss (Milletari et al. 2016), 1 − mean over the classes labeled in the batch of 2Σpy / (Σp + Σy).

    Classes without a labeled pixel in the batch are left out: they would only reward predicting nothing. 0 when no
    pixel is valid.
    """
    valid = (label != IGNORE_INDEX).unsqueeze(1)
    probabilities = logits.softmax(1) * valid
    target = F.one_hot(label.clamp(max=logits.shape[1] - 1), logits.shape[1]).permute(0, 3, 1, 2) * valid
    overlap = (probabilities * target).sum((0, 2, 3))
    labeled = target.sum((0, 2, 3))
    score = 2 * overlap / (probabilities.sum((0, 2, 3)) + labeled).clamp(min=1e-6)
    present = labeled > 0
    return (1 - score[present]).mean() if present.any() else logits.sum() * 0


def make_loss(name: str, weights: torch.Tensor | None = None) -> Loss:
    """Build a loss: ``ce``, ``dice`` or ``ce_dice`` (their sum); weights float (C,) act on the cross entropy.

    Raises:
        UserError: for an unknown name.
    """
    losses: dict[str, Loss] = {
        "ce": lambda logits, label: cross_entropy(logits, label, weights),
        "dice": dice,
        "ce_dice": lambda logits, label: cross_entropy(logits, label, weights) + dice(logits, label),
    }
    if name not in losses:
        raise UserError(f"unknown --loss {name!r}: expected one of {', '.join(losses)}")
    return losses[name]


def inverse_frequency(pixels: NDArray[np.int64], power: float = 1.0) -> torch.Tensor:
    """Class weights ∝ (pixel share)^−power, mean 1 over the classes present, absent classes 0.

    Args:
        pixels: Labeled pixels per class, int64 (C,).
        power: 1 is the plain inverse, which for S2DS weighs a crack pixel 900 times a background pixel and drowns the
            precision; 0.5 tempers it to 30 times.

    Returns:
        float32 (C,).
    """
    present = pixels > 0
    weights = np.zeros(len(pixels))
    weights[present] = (pixels[present] / pixels.sum()) ** -power
    weights[present] /= weights[present].mean()
    return torch.tensor(weights, dtype=torch.float32)


def class_weights(spec: str, pixels: NDArray[np.int64], classes: ClassSet) -> torch.Tensor | None:
    """Weights float32 (C,) from the text of ``--class_weights``.

    ``none`` gives None, ``inverse`` and ``sqrt_inverse`` weigh by the data, ``crack=2`` (several joined by commas) weighs single classes,
    ``1,1,1,1,1,1,2`` gives all.

    Raises:
        UserError: for anything else, a negative weight, an unknown class or a wrong number of weights.
    """
    if spec == "none":
        return None
    if spec in ("inverse", "sqrt_inverse"):
        return inverse_frequency(pixels, 1.0 if spec == "inverse" else 0.5)
    parts = [p.strip() for p in spec.split(",")]
    try:
        if "=" in spec:
            weights = [1.0] * len(classes)
            for part in parts:
                name, _, value = part.partition("=")
                index = classes.index(name)
                if index is None:
                    raise UserError(f"--class_weights: no class {name!r}, expected {', '.join(classes.classes)}")
                weights[index] = float(value)
        else:
            weights = [float(p) for p in parts]
    except ValueError:
        raise UserError(
            f"--class_weights: expected none, inverse, sqrt_inverse, name=weight or {len(classes)} numbers, found {spec!r}"
        ) from None
    if len(weights) != len(classes) or not all(0 <= w < float("inf") for w in weights):
        raise UserError(f"--class_weights: expected {len(classes)} weights of at least 0, found {spec!r}")
    return torch.tensor(weights, dtype=torch.float32)
