"""Where a network looks when it predicts a class: Seg-Grad-CAM on photographs of any size."""

import difflib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn
from torch.nn import functional as F

from prune.errors import UserError
from prune.inference.torch import TorchPredictor
from prune.models import all_logits, architecture, mode, without_auxiliary

LONGEST_SIDE = 1024
"""px: larger photographs are scaled down first, because gradients need the whole image at once and the map is coarse."""
ASKED = 100
"""Where the class is not predicted, one pixel in so many is asked instead: those where it is most probable."""


@dataclass(frozen=True)
class Evidence:
    """What speaks for a class in one layer, before scaling.

    Args:
        heat: float (h, w), at least 0, at the layer's own resolution.
        class_map: The classes predicted, int64 (H, W), at the size of the network's input.
        predicted: Whether the class is among them.
    """

    heat: torch.Tensor
    class_map: torch.Tensor
    predicted: bool


@dataclass(frozen=True)
class ClassHeat:
    """The heat map of one class on a photograph.

    Args:
        heat: float32 (H, W) at the photograph's own size, 0…1; 1 is its warmest pixel, a map without heat is 0.
        class_map: The classes predicted, uint8 (h, w), at the size the photograph was scaled to.
        predicted: Whether the class is among them.
    """

    heat: NDArray[np.float32]
    class_map: NDArray[np.uint8]
    predicted: bool


def cam_layer(predictor: TorchPredictor, name: str | None = None) -> str:
    """The name of the module whose feature maps are weighed: ``name``, or the usual one of the architecture.

    Raises:
        UserError: when the network has no such module; the message suggests those with the nearest names.
    """
    network = predictor.network
    if name is None and network.factory is not None:
        raise UserError(f"--layer: expected a module of {network.architecture} by name, found none")
    chosen = architecture(network.architecture).cam_layer if name is None else name
    with without_auxiliary(network.model) as model:
        names = [known for known, _ in model.named_modules() if known]
    if chosen not in names:
        near = difflib.get_close_matches(chosen, names, n=3, cutoff=0)
        found = f"{network.architecture} has no {chosen!r}"
        raise UserError(f"--layer: expected a module such as {', '.join(near)}; {found}")
    return chosen


@contextmanager
def _watched(model: nn.Module, layer: str) -> Iterator[list[torch.Tensor]]:
    """Collect what ``layer`` gives inside the block, where gradients begin: they are off before it and on behind it.

    So nothing before the layer takes memory, and frozen parameters do not matter. What goes on is a copy, because the
    next module may change its input in place.
    """
    seen: list[torch.Tensor] = []

    def keep(module: nn.Module, inputs: object, output: object) -> torch.Tensor:
        if not isinstance(output, torch.Tensor) or output.ndim != 4:
            kind = f"(…) of {output.ndim} axes" if isinstance(output, torch.Tensor) else type(output).__name__
            raise UserError(f"--layer: expected one that gives feature maps (N, K, h, w), {layer} gives {kind}")
        seen.append(output.detach().requires_grad_())
        torch.set_grad_enabled(True)
        return seen[-1].clone()

    handle = model.get_submodule(layer).register_forward_hook(keep)
    try:
        with torch.no_grad():
            yield seen
    finally:
        handle.remove()


def pixel_set(logits: torch.Tensor, class_id: int) -> tuple[torch.Tensor, bool]:
    """The pixels whose logits are asked, bool (H, W), and whether they are those predicted as the class.

    Where logits (C, H, W) predict it nowhere, it is one pixel in ``ASKED``, rounded up, with its highest probabilities.
    """
    predicted = logits.argmax(0) == class_id
    if predicted.any():
        return predicted, True
    probability = logits.softmax(0)[class_id].flatten()
    best = probability.topk(-(-len(probability) // ASKED)).indices
    asked = torch.zeros_like(probability, dtype=torch.bool).index_fill(0, best, True)
    return asked.view_as(predicted), False


def seg_grad_cam(model: nn.Module, image: torch.Tensor, class_id: int, layer: str) -> Evidence:
    """Seg-Grad-CAM: ReLU(Σ_k α_k A_k), where α_k is the mean over space of ∂s / ∂A_k.

    A_k are the feature maps of the layer; the score s is the sum of the class's logits over the pixels predicted as it
    (``pixel_set``). The network runs in evaluation mode without auxiliary heads and is left as it was: modes,
    ``requires_grad``, ``grad`` and hooks.

    Vinogradova, Dibrov, Myers 2020: Towards Interpretable Semantic Segmentation via Gradient-Weighted Class Activation
    Mapping.

    Args:
        model: See ``prune.models.build_model``.
        image: One normalized image float32 (1, 3, H, W).
        class_id: The output channel.
        layer: Name of a module. Of one that runs several times, the last time counts.

    Raises:
        UserError: when the layer gives no feature maps, does not run, or the logits do not depend on it.
    """
    with without_auxiliary(model), mode(model, training=False), _watched(model, layer) as seen:
        logits = all_logits(model, image)["out"][0]
        asked, predicted = pixel_set(logits.detach(), class_id)
        score = logits[class_id][asked].sum()
        gradient = None
        if seen and score.requires_grad:
            (gradient,) = torch.autograd.grad(score, seen[-1], allow_unused=True)
    if gradient is None:
        raise UserError(f"--layer: expected one the prediction depends on; it does not on the output of {layer}")
    weights = gradient[0].mean((1, 2))
    heat = torch.einsum("k,khw->hw", weights, seen[-1].detach()[0]).relu()
    return Evidence(heat, logits.detach().argmax(0), predicted)


def shrink(image: NDArray[np.uint8], longest: int = LONGEST_SIDE) -> NDArray[np.uint8]:
    """A photograph uint8 (H, W, 3) scaled down until no side is longer than ``longest`` px; never enlarged."""
    height, width = image.shape[:2]
    if max(height, width) <= longest:
        return image
    ratio = longest / max(height, width)
    size = max(1, round(width * ratio)), max(1, round(height * ratio))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))


def class_heat(predictor: TorchPredictor, image: NDArray[np.uint8], class_id: int, layer: str) -> ClassHeat:
    """The Seg-Grad-CAM of a photograph uint8 (H, W, 3), RGB, at its own size and scaled to 0…1 by its maximum.

    A photograph with a side of more than ``LONGEST_SIDE`` px is scaled down for the network, so memory is bounded. The
    map, as coarse as the layer, is brought to the photograph's size by bilinear interpolation. Computed in float32.

    Raises:
        UserError: as ``seg_grad_cam``.
    """
    batch = torch.from_numpy(predictor.card.preprocessing.normalize(shrink(image))).to(predictor.where)
    network = predictor.network.model
    found = seg_grad_cam(network, batch.contiguous(memory_format=predictor.format), class_id, layer)
    size = image.shape[0], image.shape[1]
    heat = F.interpolate(found.heat[None, None], size=size, mode="bilinear", align_corners=False)[0, 0]
    peak = float(heat.max())
    scaled = heat / peak if peak > 0 else heat
    return ClassHeat(scaled.cpu().numpy(), found.class_map.to(torch.uint8).cpu().numpy(), found.predicted)
