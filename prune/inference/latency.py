"""Time of one forward pass of networks of any runtime, taken in interleaved runs: the only latency measurement in this project."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prune.inference.predictor import Predictor
from prune.progress import progress

if TYPE_CHECKING:  # an edge device has no PyTorch
    import torch
    from torch import nn

SETTLING_MS = 200
"""Passes shorter than this are repeated before one is timed."""


@dataclass(frozen=True)
class Timing:
    """Times of the passes of one network in ms, in the order they were taken."""

    milliseconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median in ms."""
        return float(np.median(self.milliseconds))

    @property
    def p95(self) -> float:
        """95th percentile in ms."""
        return float(np.percentile(self.milliseconds, 95))

    def interval(self, seed: int = 0) -> tuple[float, float]:
        """95% bootstrap interval of the median in ms; both ends are the value itself for a single pass."""
        times = np.array(self.milliseconds)
        drawn = np.random.default_rng(seed).choice(times, (1000, len(times)))
        low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
        return float(low), float(high)


@dataclass(frozen=True)
class Latency:
    """Time of one forward pass of one image, in ms, and the conditions it was taken under."""

    median_ms: float
    p95_ms: float
    repeats: int
    device: str
    threads: int


def _elapsed_ms(forward: Callable[[], object]) -> float:
    start = time.perf_counter()
    forward()
    return (time.perf_counter() - start) * 1e3


def time_in_turns(
    passes: Mapping[str, Callable[[], object]],
    repeats: int,
    *,
    warmup: int = 1,
    rng: np.random.Generator | None = None,
    label: str = "measuring latency",
) -> dict[str, Timing]:
    """Time the passes of several networks, or other work that is repeated.

    In every round each of them runs, in random order, so that noise affects all of them alike. Fast ones run
    once untimed before: the threads of the runtime before them may still be waiting busily for more work.

    Args:
        passes: One forward pass of each network, by name; it returns when the device has finished.
        repeats: Timed rounds.
        warmup: Rounds before them.
        rng: Draws the orders, None = a new one.
        label: What the progress bar says.
    """
    rng = rng or np.random.default_rng(0)
    times: dict[str, list[float]] = {name: [] for name in passes}
    fast = dict.fromkeys(passes, False)
    for turn in progress(range(warmup + repeats), label, "round"):
        for name in rng.permutation(list(passes)).tolist():
            if fast[name]:
                passes[name]()
            elapsed = _elapsed_ms(passes[name])
            fast[name] = elapsed < SETTLING_MS
            if turn >= warmup:
                times[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in times.items()}


def _pass(predictor: Predictor, batch: np.ndarray) -> Callable[[], None]:
    def forward() -> None:
        predictor.run(batch)
        predictor.synchronize()

    return forward


def time_predictors(
    predictors: Mapping[str, Predictor], size: tuple[int, int], repeats: int, *, batch: int = 1, warmup: int = 1
) -> dict[str, Timing]:
    """Time ``run`` of every network on the same random images; normalization and reading are not part of it.

    Args:
        predictors: Networks by name. Those that accept one size only are timed at that size.
        size: Height and width in px.
        repeats: Timed rounds, see ``time_in_turns``.
        batch: Images per pass.
        warmup: Rounds before them.
    """
    rng = np.random.default_rng(0)
    passes = {}
    for name, predictor in predictors.items():
        shape = (batch, 3, *(predictor.card.size or size))
        passes[name] = _pass(predictor, rng.standard_normal(shape).astype(np.float32))
    return time_in_turns(passes, repeats, warmup=warmup, rng=rng)


def measure_latency(
    models: Mapping[str, nn.Module], size: tuple[int, int], repeats: int, device: torch.device
) -> dict[str, Latency]:
    """Time the forward pass of every network, float32, batch 1, channels_last, without auxiliary head.

    The networks can be trained afterwards: they are moved outside inference mode, inside it their weights would become
    tensors that autograd refuses for good.

    Args:
        models: Networks by name; they are moved to ``device``.
        size: Height and width of the input in px.
        repeats: Timed passes per network, see ``time_in_turns``; the median and 95th percentile of them are given.
        device: Where to run.
    """
    import torch

    from prune.hardware import device_name
    from prune.models import all_logits, mode, without_auxiliary

    image = torch.randn(1, 3, *size, generator=torch.Generator().manual_seed(0))
    image = image.to(device, memory_format=torch.channels_last)

    def forward(model: nn.Module) -> Callable[[], None]:
        def run() -> None:
            with torch.inference_mode():
                all_logits(model, image)
            if device.type == "cuda":
                torch.cuda.synchronize(device)

        return run

    with ExitStack() as stack:
        passes = {}
        for name, model in models.items():
            model.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
            inference = stack.enter_context(without_auxiliary(model))
            stack.enter_context(mode(inference, training=False))
            passes[name] = forward(inference)
        timed = time_in_turns(passes, repeats)
    where, threads = device_name(device), torch.get_num_threads()
    return {name: Latency(t.median, t.p95, repeats, where, threads) for name, t in timed.items()}
