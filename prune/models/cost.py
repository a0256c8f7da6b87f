"""What running a network costs: parameters and multiply-accumulates."""

import copy

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prune.models import all_logits, mode, without_auxiliary


def shapes_of(model: nn.Module) -> nn.Module:
    """A copy of ``model`` on the meta device, without a single weight; all its parameters want gradients."""
    # A memo that already knows the shape-only twin of every tensor keeps deepcopy from copying a single weight.
    memo: dict[int, object] = {id(p): nn.Parameter(p.detach().to("meta")) for p in model.parameters()}
    memo |= {id(b): b.to("meta") for b in model.buffers()}
    return copy.deepcopy(model, memo)


def count(model: nn.Module, size: tuple[int, int]) -> tuple[int, int]:
    """Parameters and MACs of the inference network (without auxiliary head) on one image.

    The only counter of this project: every table, chart, target and share is in these MACs. One multiply-accumulate of
    a convolution or a linear layer is one MAC (two FLOPs), also where zeros are padded; a transposed convolution counts
    what it multiplies, per input pixel. Batch norm, which export folds away, activations, pooling and resizing count
    nothing, so that figures of counters that include them, such as torch-pruning's, are higher.

    Counted on shapes alone, on the meta device, so it copies no weight and computes nothing.

    Args:
        model: A network, see ``prune.models.build_model``.
        size: Height and width of the input in px.
    """
    with without_auxiliary(model) as inference:
        shapes = shapes_of(inference)
    counter = FlopCounterMode(display=False)
    with counter, mode(shapes, training=False), torch.no_grad():
        all_logits(shapes, torch.empty(1, 3, *size, device="meta"))
    return sum(p.numel() for p in shapes.parameters()), counter.get_total_flops() // 2
