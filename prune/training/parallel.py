"""One network in several processes: sums, batch norm and gradients over the whole batch.

Each process sees its share of a batch and computes the loss of the whole one from sums over the processes. The average of the
gradients, which ``DistributedDataParallel`` takes, is then that of one process with the whole batch.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from prune.training import ranks

PLAIN = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)
"""What is synchronized; classes derived from these may do more than normalize and stay as they are."""


class _GlobalSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        total = value.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * ranks.size()


def global_sum(value: torch.Tensor) -> torch.Tensor:
    """Sum of ``value`` over the processes; the value itself where there is one.

    The gradient is multiplied by their number, because gradients are averaged over them afterwards. It is right where every
    process computes the same loss from such sums.
    """
    return _GlobalSum.apply(value) if ranks.size() > 1 else value


class _Normalize(torch.autograd.Function):
    """(x − mean) / √(var + eps) · weight + bias, with mean and variance over all processes (Ioffe & Szegedy 2015)."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, weight: Any, bias: Any, eps: float) -> tuple[torch.Tensor, ...]:
        channels, axes = x.shape[1], [0, *range(2, x.dim())]
        exact = torch.promote_types(x.dtype, torch.float32)  # of bfloat16 images under autocast
        variance, mean = (part.double() for part in torch.var_mean(x.to(exact), axes, correction=0))
        count = x.numel() // channels
        sums = torch.cat([mean * count, (variance + mean**2) * count, mean.new_tensor([count])])
        distributed.all_reduce(sums)
        mean = sums[:channels] / sums[-1]
        variance = (sums[channels:-1] / sums[-1] - mean**2).clamp(min=0)
        shape = [1, -1, *[1] * (x.dim() - 2)]
        center, scale = mean.to(exact), (variance + eps).rsqrt().to(exact)
        ctx.save_for_backward(x, weight, center, scale, sums[-1])
        ctx.axes, ctx.shape = axes, shape
        factor = scale if weight is None else scale * weight
        y = (x.to(exact) - center.view(shape)) * factor.view(shape)
        y = y if bias is None else y + bias.view(shape)
        ctx.mark_non_differentiable(mean, variance, total := sums[-1])
        return y.to(x.dtype), mean, variance, total

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        x, weight, mean, scale, count = ctx.saved_tensors
        gradient, centered = gradients[0].to(scale.dtype), x.to(scale.dtype) - mean.view(ctx.shape)
        own = torch.stack([gradient.sum(ctx.axes), (gradient * centered).sum(ctx.axes)])
        sums = own.to(torch.float64, copy=True)
        distributed.all_reduce(sums)
        of_mean, of_variance = (sums / count).to(scale.dtype)
        inner = gradient - of_mean.view(ctx.shape) - centered * (of_variance * scale**2).view(ctx.shape)
        factor = scale if weight is None else scale * weight
        of_weights = (None, None) if weight is None else (own[1] * scale, own[0])
        return (inner * factor.view(ctx.shape)).to(x.dtype), *of_weights, None


class SyncedBatchNorm(nn.BatchNorm2d):
    """Batch norm of the whole batch in training, for CPUs and any number of axes: PyTorch's SyncBatchNorm knows GPUs only."""

    def _check_input_dim(self, input: torch.Tensor) -> None:
        """Take what the batch norm that this one stands for takes."""

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        """Normalize (N, C, ...) float; running statistics take the unbiased variance, as in PyTorch."""
        if not self.training:
            return super().forward(input)
        y, mean, variance, count = _Normalize.apply(input, self.weight, self.bias, self.eps)
        if self.running_mean is not None and self.running_var is not None and self.num_batches_tracked is not None:
            self.num_batches_tracked.add_(1)
            new = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            unbiased = variance * count / (count - 1).clamp(min=1)
            self.running_mean.lerp_(mean.to(self.running_mean.dtype), new)
            self.running_var.lerp_(unbiased.to(self.running_var.dtype), new)
        return y


@contextmanager
def synced_batch_norm(model: nn.Module, device: torch.device) -> Iterator[None]:
    """Inside the block, batch norm takes its statistics over all processes; weights and statistics are the same tensors."""
    kind: Any = nn.SyncBatchNorm if device.type == "cuda" else SyncedBatchNorm
    found: list[Any] = [(parent, name, part) for parent in model.modules() for name, part in parent._modules.items()]
    found = [place for place in found if type(place[2]) in PLAIN]
    made: dict[nn.Module, nn.Module] = {}
    for parent, name, part in found:
        if part not in made:
            norm: Any = part
            new = kind(norm.num_features, norm.eps, norm.momentum, norm.affine, norm.track_running_stats)
            new._parameters, new._buffers, new.training = norm._parameters, norm._buffers, norm.training
            made[part] = new
        setattr(parent, name, made[part])
    try:
        yield
    finally:
        for parent, name, part in found:
            part.training = made[part].training
            setattr(parent, name, part)


@contextmanager
def data_parallel(model: nn.Module, device: torch.device, sync_batchnorm: bool) -> Iterator[nn.Module]:
    """What to call in place of ``model`` so that the gradients are those of all processes; itself where there is one.

    All processes start from the weights of the first.

    Args:
        model: On ``device``.
        device: Of this process.
        sync_batchnorm: Whether batch norm sees the whole batch, else that of each process.
    """
    if ranks.size() == 1:
        yield model
        return
    if not sync_batchnorm:
        yield _parallel(model, device)
        return
    with synced_batch_norm(model, device):
        yield _parallel(model, device)


def _parallel(model: nn.Module, device: torch.device) -> nn.Module:
    places = [device] if device.type == "cuda" else None
    # A static graph allows parameters without a gradient, which external networks have.
    return DistributedDataParallel(model, device_ids=places, broadcast_buffers=False, static_graph=True)


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Give all processes the mean of their gradients, as ``DistributedDataParallel`` does for those of the network."""
    if ranks.size() == 1:
        return
    for parameter in parameters:
        if parameter.grad is not None:
            distributed.all_reduce(parameter.grad)
            parameter.grad /= ranks.size()


def share_buffers(model: nn.Module) -> None:
    """Give all processes the running statistics of the first, so that they score and save the same network."""
    if ranks.size() > 1:
        for buffer in model.buffers():
            distributed.broadcast(buffer, src=0)
