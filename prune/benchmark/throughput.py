"""How many images of a network fit into a second when every core works on one of its own, in interleaved runs."""

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from prune.inference.predictor import Predictor
from prune.progress import progress

TURN_SECONDS = 0.5
"""How long every network works in one round."""


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
        for turn in progress(range(rounds + 1), "measuring throughput", "round"):
            for name in rng.permutation(list(copies)).tolist():
                rate = sum(pool.map(lambda predictor: _rate(predictor, image), copies[name]))
                if turn:
                    rates[name].append(rate)
    return {name: float(np.median(values)) for name, values in rates.items()}
