"""Confidence intervals by resampling images: pooled statistics are summed again for each draw, without running a network."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.metrics.confusion import blank

Array = NDArray[np.float64]
DRAWS = 1000
COVERAGE = 0.95


@dataclass(frozen=True)
class Interval:
    """A score of the whole set with its 95% interval; NaN where there is none."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, float | None]:
        """``{"value", "low", "high"}``, None for NaN."""
        return {"value": blank(self.value), "low": blank(self.low), "high": blank(self.high)}


def draw_weights(images: int, seed: int, draws: int = DRAWS) -> Array:
    """How often each image is in each draw: float64 (draws, images), the same for the same seed and number of images."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), draws).astype(float)


def resample(counts: Mapping[str, Array], seed: int) -> tuple[dict[str, Array], dict[str, Array]]:
    """Sums over all images, shape (), and over the images of each draw, shape (draws,).

    Args:
        counts: One entry per image, float64 (images,) or with further axes behind.
        seed: Of the draws.
    """
    values = {name: np.asarray(value, float) for name, value in counts.items()}
    weights = draw_weights(len(next(iter(values.values()))), seed)
    pooled = {name: value.sum(axis=0) for name, value in values.items()}
    return pooled, {name: np.tensordot(weights, value, 1) for name, value in values.items()}


def interval(value: float, draws: Array) -> Interval:
    """The percentile interval of ``draws`` (NaN = no score in that draw), blank when fewer than half of them have a score."""
    known = draws[~np.isnan(draws)]
    if np.isnan(value) or 2 * len(known) < len(draws):
        return Interval(float(value), float("nan"), float("nan"))
    tail = 100 * (1 - COVERAGE) / 2
    low, high = np.percentile(known, [tail, 100 - tail])
    return Interval(float(value), float(low), float(high))


def intervals(
    counts: Mapping[str, Array], score: Callable[[dict[str, Array]], dict[str, Array]], seed: int
) -> dict[str, Interval]:
    """Every score of ``score`` on the pooled counts, with its interval; a single image has no intervals."""
    pooled, draws = resample(counts, seed)
    values, drawn = score(pooled), score(draws)
    if len(next(iter(counts.values()))) < 2:
        drawn = {name: np.full(np.shape(value), np.nan) for name, value in drawn.items()}
    return {name: interval(float(value), np.atleast_1d(drawn[name])) for name, value in values.items()}


def differences(
    counts: Mapping[str, Array],
    baseline: Mapping[str, Array],
    score: Callable[[dict[str, Array]], dict[str, Array]],
    seed: int,
) -> dict[str, Interval]:
    """Score minus the baseline's with the paired interval: both networks see the same draws of the same images.

    Args:
        counts: One entry per image.
        baseline: The same of the baseline, images in the same order.
        score: Scores from summed counts.
        seed: Of the draws.
    """
    both = [[score(sums) for sums in resample(c, seed)] for c in (counts, baseline)]
    single = len(next(iter(counts.values()))) < 2
    result = {}
    for name, value in both[0][0].items():
        drawn = both[0][1][name] - both[1][1][name]
        drawn = np.full(np.shape(drawn), np.nan) if single else drawn
        result[name] = interval(float(value - both[1][0][name]), np.atleast_1d(drawn))
    return result
