"""Time of one forward pass of networks of any runtime, and how many fit into a second, taken in turns."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from tqdm import tqdm

from prune.inference.predictor import Predictor

SETTLING_MS = 200
"""Passes shorter than this are repeated before one is timed."""
TURN_SECONDS = 0.5
"""How long every network works in one round of throughput."""


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


def _rate(predictor: Predictor, image: np.ndarray) -> float:
    """Passes per second over one turn, the last of them completed."""
    start, passes, elapsed = time.perf_counter(), 0, 0.0
    while elapsed < TURN_SECONDS:
        predictor.run(image)
        passes, elapsed = passes + 1, time.perf_counter() - start
    return passes / elapsed


def throughput(copies: Mapping[str, Sequence[Predictor]], size: tuple[int, int], rounds: int) -> dict[str, float]:
    """Images per second of networks whose copies run at the same time, each on one image: a folder on all cores.

    One image per core loses nothing to cores that wait for each other within a layer; a single image takes longer.

    Args:
        copies: Networks by name, usually as many copies as there are cores with one thread each, of runtimes that release
            Python's lock.
        size: Height and width in px.
        rounds: Rounds, in each of which every network works for ``TURN_SECONDS``, in random order; the median counts.
    """
    rng = np.random.default_rng(0)
    image = rng.standard_normal((1, 3, *size)).astype(np.float32)
    rates: dict[str, list[float]] = {name: [] for name in copies}
    with ThreadPoolExecutor(max(map(len, copies.values()))) as pool:
        for turn in tqdm(range(rounds + 1), desc="measuring throughput", unit="round", leave=False):
            for name in rng.permutation(list(copies)).tolist():
                rate = sum(pool.map(lambda predictor: _rate(predictor, image), copies[name]))
                if turn:
                    rates[name].append(rate)
    return {name: float(np.median(values)) for name, values in rates.items()}
