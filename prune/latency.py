"""Time of one forward pass of networks of any runtime, taken in turns."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from prune.predict import Predictor

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
        """95 % bootstrap interval of the median in ms; both ends are the value itself for a single pass."""
        times = np.array(self.milliseconds)
        drawn = np.random.default_rng(seed).choice(times, (1000, len(times)))
        low, high = np.percentile(np.median(drawn, axis=1), [2.5, 97.5])
        return float(low), float(high)


def _pass(predictor: Predictor, batch: np.ndarray) -> float:
    start = time.perf_counter()
    predictor.run(batch)
    predictor.synchronize()
    return (time.perf_counter() - start) * 1e3


def time_predictors(
    predictors: Mapping[str, Predictor], size: tuple[int, int], repeats: int, *, batch: int = 1, warmup: int = 1
) -> dict[str, Timing]:
    """Time ``run`` of every network on the same random images; normalization and reading are not part of it.

    In every round each network runs, in random order, so that a noisy machine disturbs all of them alike. Fast ones run
    once untimed before: the threads of the runtime before them may still be waiting busily for more work.

    Args:
        predictors: Networks by name. Those that accept one size only are timed at that size.
        size: Height and width in px.
        repeats: Timed rounds.
        batch: Images per pass.
        warmup: Rounds before them.
    """
    rng = np.random.default_rng(0)
    images = {
        name: rng.standard_normal((batch, 3, *(predictor.card.size or size))).astype(np.float32)
        for name, predictor in predictors.items()
    }
    times: dict[str, list[float]] = {name: [] for name in predictors}
    fast = dict.fromkeys(predictors, False)
    for turn in tqdm(range(warmup + repeats), desc="measuring latency", unit="round", leave=False):
        for name in rng.permutation(list(predictors)).tolist():
            if fast[name]:
                _pass(predictors[name], images[name])
            elapsed = _pass(predictors[name], images[name])
            fast[name] = elapsed < SETTLING_MS
            if turn >= warmup:
                times[name].append(elapsed)
    return {name: Timing(tuple(values)) for name, values in times.items()}
