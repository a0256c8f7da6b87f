"""Training losses on float32 logits (N, C, H, W) and int64 labels (N, H, W).

All ignore pixels labeled ``IGNORE_INDEX``, give a scalar, and give 0 with a graph when no pixel is valid. Of several processes
each has a share of the batch, and all get the loss of the whole batch: its sums go over all of them (``global_sum``).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from prune.data.labels import IGNORE_INDEX, ClassSet
from prune.errors import UserError
from prune.options import LOSSES
from prune.training.parallel import global_sum
from prune.training.settings import TrainSettings

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
"""Takes logits float (N, C, H, W) and labels int64 (N, H, W); gives a scalar."""


def cross_entropy(logits: torch.Tensor, label: torch.Tensor, weights: torch.Tensor | None = None) -> torch.Tensor:
    """Cross entropy per valid pixel, with class weights float (C,) the weighted mean; 0 when no pixel is valid."""
    total = F.cross_entropy(logits, label, weight=weights, ignore_index=IGNORE_INDEX, reduction="sum")
    valid = label != IGNORE_INDEX
    norm = valid.sum() if weights is None else weights[label[valid]].sum()
    return global_sum(total) / max(float(global_sum(norm)), 1e-12)


def _mean(per_pixel: torch.Tensor, label: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Mean over valid pixels of float (N, H, W), each counting ``weights`` (C,) of its label."""
    valid = label != IGNORE_INDEX
    if weights is None:
        return global_sum((per_pixel * valid).sum()) / global_sum(valid.sum()).clamp(min=1)
    share = weights[label.where(valid, 0)] * valid
    return global_sum((per_pixel * share).sum()) / global_sum(share.sum()).clamp(min=1e-12)


def _log_not(logits: torch.Tensor) -> torch.Tensor:
    """log(1 − p) of the softmax p of every class, float (N, C, H, W), finite wherever the logits are.

    The likeliest class has a p that may round to 1, so that its log(1 − p) is taken as that of the others' sum.
    """
    top = logits.argmax(1, keepdim=True)
    others = logits.scatter(1, top, -torch.inf).logsumexp(1, keepdim=True) - logits.logsumexp(1, keepdim=True)
    return torch.log1p(-logits.softmax(1).clamp(max=0.75)).scatter(1, top, others)


def binary_cross_entropy(
    logits: torch.Tensor, label: torch.Tensor, weights: torch.Tensor | None = None
) -> torch.Tensor:
    """Binary cross entropy of each foreground class against all the rest, mean over these classes and valid pixels.

    The probability of a class is its softmax, as if its logit were z_c − log Σ_{k≠c} exp z_k. Background, class 0, is
    no problem of its own; with two classes the loss is the cross entropy. With class weights float (C,) a pixel counts the
    weight of its label in each of the C − 1 problems, and the mean is the weighted one, as in ``cross_entropy``.
    """
    number = logits.shape[1]
    hit = torch.arange(number, device=label.device).view(1, -1, 1, 1) == label.unsqueeze(1)
    entropy = -torch.where(hit, logits.log_softmax(1), _log_not(logits))
    return _mean(entropy[:, 1:].mean(1), label, weights)


def focal(
    logits: torch.Tensor,
    label: torch.Tensor,
    weights: torch.Tensor | None = None,
    gamma: float = TrainSettings.focal_gamma,
) -> torch.Tensor:
    """Focal loss (Lin et al. 2017): −(1 − p)^gamma · log p, p the softmax of the labeled class, mean over valid pixels.

    gamma 0 is the cross entropy. Class weights float (C,) take the place of the paper's alpha; the mean is then the
    weighted one, as in ``cross_entropy``, where the paper divides by the number of anchors with an object.
    """
    entropy = F.cross_entropy(logits, label, ignore_index=IGNORE_INDEX, reduction="none")
    # A power below 1 has an infinite slope at 0, which a surely right pixel reaches in float32.
    missing = (-torch.expm1(-entropy)).clamp(min=1e-7)
    return _mean(missing**gamma * entropy, label, weights)


def dice(logits: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """Soft Dice loss (Milletari et al. 2016), 1 − mean over the classes labeled in the batch of 2Σpy / (Σp + Σy).

    Classes without a labeled pixel in the batch are left out: they would only reward predicting nothing. 0 when no
    pixel is valid.
    """
    probabilities = logits.softmax(1)
    ids = torch.arange(logits.shape[1], device=label.device).view(1, -1, 1, 1)
    target = (label.unsqueeze(1) == ids).to(probabilities.dtype)  # no class where a pixel is ignored
    overlap = global_sum((probabilities * target).sum((0, 2, 3)))
    labeled = global_sum(target.sum((0, 2, 3)))
    predicted = global_sum((probabilities * (label != IGNORE_INDEX).unsqueeze(1)).sum((0, 2, 3)))
    score = 2 * overlap / (predicted + labeled).clamp(min=1e-6)
    present = labeled > 0
    return (1 - score[present]).mean() if present.any() else logits.sum() * 0


def make_loss(name: str, weights: torch.Tensor | None = None, gamma: float = TrainSettings.focal_gamma) -> Loss:
    """Build a loss by its name in ``LOSSES``; ``ce_dice`` and its like are the sum of both.

    Args:
        name: ``ce``, ``bce``, ``focal``, ``dice``, or one of the first three with ``_dice``.
        weights: Class weights float (C,); they act on every part but Dice, whose classes already count alike.
        gamma: Of the focal losses.

    Raises:
        UserError: for an unknown name.
    """
    if name not in LOSSES:
        raise UserError(f"unknown --loss {name!r}: expected one of {', '.join(LOSSES)}")
    pixelwise: dict[str, Loss] = {
        "ce": lambda logits, label: cross_entropy(logits, label, weights),
        "bce": lambda logits, label: binary_cross_entropy(logits, label, weights),
        "focal": lambda logits, label: focal(logits, label, weights, gamma),
    }
    if name == "dice":
        return dice
    part = pixelwise[name.removesuffix("_dice")]
    return (lambda logits, label: part(logits, label) + dice(logits, label)) if name.endswith("_dice") else part


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

    ``none`` gives None, ``inverse`` and ``sqrt_inverse`` weigh by the data, ``crack=2`` (several joined by commas)
    weighs single classes, ``1,1,1,1,1,1,2`` gives all.

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
