"""Re-estimated batch-norm statistics of a network whose channels were removed."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import nn

from prune.errors import UserError
from prune.models import all_logits, mode


@contextmanager
def _averaging(norms: list[nn.BatchNorm2d]) -> Iterator[None]:
    """Let batch norms alone be in training mode, averaging over all batches instead of forgetting the first.

    A failure inside the block brings the old statistics back.
    """
    momenta = [norm.momentum for norm in norms]
    statistics = [[buffer.clone() for buffer in norm.buffers()] for norm in norms]
    try:
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None
            norm.training = True
        yield
    except BaseException:
        for norm, old in zip(norms, statistics, strict=True):
            for buffer, value in zip(norm.buffers(), old, strict=True):
                buffer.copy_(value)
        raise
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def recalibrate_batch_norm(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace the running mean and variance of every batch norm by their average over ``batches``.

    Weights, modes and momenta stay as they are; dropout is off. When it fails, the statistics stay as they were too.

    Args:
        model: The pruned network.
        batches: Images float32 (N, 3, H, W) as the network wants them, N ≥ 2.

    Raises:
        UserError: for a batch of one image, whose globally pooled features have no variance, or without any batch.
    """
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    seen = 0
    with torch.no_grad(), mode(model, training=False), _averaging(norms):
        for images in batches:
            if len(images) < 2:
                raise UserError("batch-norm recalibration needs batches of at least 2 images, found 1")
            all_logits(model, images)
            seen += 1
        if not seen:
            raise UserError("batch-norm recalibration needs at least one batch, found none")
