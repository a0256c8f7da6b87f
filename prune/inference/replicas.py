"""How many copies of a small network work at the same time: one on all cores, or one on every core; needs NumPy only."""

import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError
from prune.inference.load import load_predictor
from prune.inference.metadata import thread_count
from prune.inference.predictor import TORCH_FREE_SUFFIXES, WHOLE_SIDE, Predictor

ENOUGH = 32
"""Photographs from which on it pays to find out."""
SMALL_SECONDS = 0.25
"""Networks that take longer for a photograph on all cores use them well: one per core would only take more memory."""
ROUNDS, PASSES = 3, 3
"""Of the measurement: about 20 passes of each."""
SETTLING_SECONDS = 0.05
"""The threads of ONNX Runtime spin for a while after a pass; that time must not count for the next network."""
CLEARLY = 1.03
"""How much faster one network per core must be."""


@dataclass(frozen=True)
class Replicas:
    """Copies of one network that work at the same time.

    Args:
        predictors: At least one.
        threads: CPU threads of each.
        reason: Why so many, for the screen; empty = there was no choice.
    """

    predictors: tuple[Predictor, ...]
    threads: int
    reason: str = ""

    def __str__(self) -> str:
        count = len(self.predictors)
        text = f"{count} network{'s' * (count > 1)} of {self.threads} thread{'s' * (self.threads > 1)}"
        return f"{text}, {self.reason}" if self.reason else text


def _rate(predictors: Sequence[Predictor], image: NDArray[np.uint8], pool: ThreadPoolExecutor) -> float:
    """Photographs per second of CPU time when every network segments the same one ``PASSES`` times.

    CPU time, because reading and writing keep all cores busy: threads that wait for each other within a layer, or spin for
    the next call, take it from them.
    """

    def work(predictor: Predictor) -> None:
        for _ in range(PASSES):
            predictor.class_map(image)

    time.sleep(SETTLING_SECONDS)
    start = time.process_time()
    list(pool.map(work, predictors))
    return PASSES * len(predictors) / max(1e-9, time.process_time() - start)


def fastest(
    predictor: Predictor, reopen: Callable[[int], Predictor], threads: int, image: NDArray[np.uint8]
) -> Replicas:
    """One network on all threads, or one per thread where that is measured to be faster on this photograph.

    Args:
        predictor: The network on all threads, of a runtime that releases Python's lock.
        reopen: Opens the network once more with that many threads.
        threads: How many there are.
        image: A photograph uint8 (H, W, 3), RGB, like those to come.
    """
    alone = Replicas((predictor,), threads)
    if threads < 2 or image.shape[0] * image.shape[1] > WHOLE_SIDE**2:
        return alone
    predictor.class_map(image)  # the first pass also allocates
    start = time.perf_counter()
    predictor.class_map(image)
    if time.perf_counter() - start > SMALL_SECONDS:
        return alone
    copies = tuple(reopen(1) for _ in range(threads))
    rates: dict[int, list[float]] = {1: [], threads: []}
    with ThreadPoolExecutor(threads) as pool:
        for turn in range(ROUNDS + 1):
            for predictors in ((predictor,), copies):
                rate = _rate(predictors, image, pool)
                if turn:  # the first round of the copies allocates
                    rates[len(predictors)].append(rate)
    gain = median(rates[threads]) / median(rates[1])
    if gain < CLEARLY:
        return Replicas((predictor,), threads, f"measured {1 / gain:.2f}x as fast as {threads} of 1")
    return Replicas(copies, 1, f"measured {gain:.2f}x as fast as 1 of {threads}")


def replicated(
    predictor: Predictor, networks: int, threads: int, images: int, first: Callable[[], NDArray[np.uint8] | None]
) -> Replicas:
    """As many networks as asked for, else as many as are fastest on the first of many images.

    Args:
        predictor: The network on all threads.
        networks: How many to use, 0 = one, or one per thread where that is measured to be faster.
        threads: CPU threads of all together, 0 = all cores.
        images: How many there are to come.
        first: Reads one of them, uint8 (H, W, 3), RGB; None = none can be read.

    Raises:
        UserError: for several networks of a runtime that has one only.
    """
    count, file = thread_count(threads), predictor.card.file
    if file.suffix not in TORCH_FREE_SUFFIXES:
        if networks > 1:
            raise UserError(f"--networks: expected 1, PyTorch runs {file} on all threads, found {networks}")
        return Replicas((predictor,), count)

    def reopen(each: int) -> Predictor:
        return load_predictor(file, threads=each, classes=predictor.classes)

    if networks > 1:
        each = max(1, count // networks)
        return Replicas(tuple(reopen(each) for _ in range(networks)), each)
    image = first() if networks == 0 and images >= ENOUGH else None
    return Replicas((predictor,), count) if image is None else fastest(predictor, reopen, count, image)
