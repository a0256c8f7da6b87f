"""What running a network costs: parameters, multiply-accumulates and measured latency."""

import copy
import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode
from tqdm import tqdm

from prune.hardware import device_name
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


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass of one image, in ms, and the conditions it was taken under."""

    median_ms: float
    p95_ms: float
    repeats: int
    device: str
    threads: int


def _timed_ms(model: nn.Module, image: torch.Tensor) -> float:
    if image.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    all_logits(model, image)
    if image.is_cuda:
        torch.cuda.synchronize()
    return (time.perf_counter() - start) * 1e3


def measure_latency(
    models: Mapping[str, nn.Module], size: tuple[int, int], repeats: int, device: torch.device
) -> dict[str, Latency]:
    """Time the forward pass of every network, float32, batch 1, channels_last, without auxiliary head.

    The contenders take turns, so that a noisy machine disturbs all of them alike; one warm-up pass each. The networks
    can be trained afterwards: they are moved outside inference mode, inside it their weights would become tensors that
    autograd refuses for good.

    Args:
        models: Networks by name; they are moved to ``device``.
        size: Height and width of the input in px.
        repeats: Timed passes per network; the median and 95th percentile of them are given.
        device: Where to run.
    """
    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    image = image.to(device, memory_format=torch.channels_last)
    times: dict[str, list[float]] = {name: [] for name in models}
    rounds = tqdm(range(repeats + 1), desc="measuring latency", unit="round", leave=False)
    for turn in rounds:
        for name, model in models.items():
            model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            with torch.inference_mode(), without_auxiliary(model) as inference, mode(inference, training=False):
                elapsed = _timed_ms(inference, image)
            if turn:
                times[name].append(elapsed)
    where, threads = device_name(device), torch.get_num_threads()
    return {
        name: Latency(float(np.median(t)), float(np.percentile(t, 95)), repeats, where, threads)
        for name, t in times.items()
    }
