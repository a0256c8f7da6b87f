"""Means over seeds with intervals that respect both seeds and images.

With S seeds and N test images, s(k, I) is the score of the network of seed k pooled over the images I. The mean is
1/S Σ s(k, all images). A draw takes S seeds and N images with replacement and gives 1/S Σ s(k, drawn images) over the drawn
seeds; the 95% interval is that of the percentiles of the draws. All seeds see the same test images, so a draw takes the images
once for all of its seeds (the pigeonhole bootstrap, Owen 2007, Annals of Applied Statistics 1, 386): images drawn separately for
every seed would average away how hard the images are, and the intervals would be too narrow. Differences are paired: both
networks of a seed see the same images of a draw.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from prune.metrics.bootstrap import Interval, interval

Array = NDArray[np.float64]


def seed_weights(seeds: int, seed: int, draws: int) -> Array:
    """How often each of ``seeds`` repetitions is in each draw: float64 (draws, seeds); independent of the draws of images."""
    rng = np.random.default_rng([seed, 1])
    return rng.multinomial(seeds, np.full(seeds, 1 / seeds), draws).astype(float)


def over_seeds(values: Sequence[float], draws: Sequence[Array], seed: int) -> Interval:
    """The mean over seeds with its 95% interval.

    A seed without a score (NaN) is left out, also of the draws that took it.

    Args:
        values: The score of each seed, pooled over all images.
        draws: The score of each seed in every draw of images, (draws,) each; the same images for all seeds.
        seed: Of the draws of seeds.
    """
    pooled, drawn = np.array(values, float), np.array(draws, float)
    if np.isnan(pooled).all():
        return Interval(float("nan"), float("nan"), float("nan"))
    weights = seed_weights(len(pooled), seed, drawn.shape[1]).T * ~np.isnan(drawn)
    total = weights.sum(axis=0)
    sums = (weights * np.nan_to_num(drawn)).sum(axis=0)
    means = np.divide(sums, total, out=np.full(total.shape, np.nan), where=total > 0)
    return interval(float(np.nanmean(pooled)), means)


def paired(
    values: Sequence[float], draws: Sequence[Array], other: Sequence[float], others: Sequence[Array], seed: int
) -> Interval:
    """The mean difference to another network with its interval, paired by seed and image (see ``over_seeds``)."""
    pooled = [a - b for a, b in zip(values, other, strict=True)]
    return over_seeds(pooled, [a - b for a, b in zip(draws, others, strict=True)], seed)
