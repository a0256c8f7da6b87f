"""The bootstrap over seeds and images on hand-set numbers, against a plain loop."""

import math

import numpy as np
import pytest

from prune.metrics.bootstrap import DRAWS, draw_weights
from prune.studies.intervals import over_seeds, paired, seed_weights
from prune.studies.table import front

HITS = np.array([[3.0, 5.0, 8.0], [2.0, 6.0, 9.0]])
"""Hits of two seeds on three images; a score is hits / labeled."""
LABELED = np.array([10.0, 10.0, 20.0])


def draws_of(hits: np.ndarray) -> np.ndarray:
    weights = draw_weights(3, 7)
    return (weights @ hits) / (weights @ LABELED)


def by_hand(hits: np.ndarray) -> tuple[float, float, float]:
    """Every draw written out: its seeds, its images once for all of its seeds, its mean."""
    seeds, images = seed_weights(2, 7, DRAWS), draw_weights(3, 7)
    means = []
    for of_seeds, of_images in zip(seeds, images, strict=True):
        drawn_seeds = [s for s in range(2) for _ in range(int(of_seeds[s]))]
        drawn_images = [i for i in range(3) for _ in range(int(of_images[i]))]
        scores = [sum(hits[s, i] for i in drawn_images) / sum(LABELED[i] for i in drawn_images) for s in drawn_seeds]
        means.append(sum(scores) / len(scores))
    low, high = np.percentile(means, [2.5, 97.5])
    return float(np.mean([h.sum() / 40 for h in hits])), float(low), float(high)


def test_mean_and_interval_are_those_of_the_written_out_draws() -> None:
    found = over_seeds([16 / 40, 17 / 40], [draws_of(h) for h in HITS], 7)
    assert (found.value, found.low, found.high) == pytest.approx(by_hand(HITS))


def test_differences_are_paired_by_seed_and_image() -> None:
    better = HITS + 1
    draws = [draws_of(h) for h in better]
    found = paired([19 / 40, 20 / 40], draws, [16 / 40, 17 / 40], [draws_of(h) for h in HITS], 7)
    weights = draw_weights(3, 7)
    gain = 3 / (weights @ LABELED)  # the seeds cancel: both gain one hit per image
    low, high = np.percentile(gain, [2.5, 97.5])
    assert (found.value, found.low, found.high) == pytest.approx((3 / 40, low, high))


def test_one_seed_gives_the_interval_over_images_and_equal_images_that_over_seeds() -> None:
    draws = draws_of(HITS[0])
    found = over_seeds([0.4], [draws], 7)
    assert (found.low, found.high) == pytest.approx(tuple(np.percentile(draws, [2.5, 97.5])))
    constant = [np.full(DRAWS, value) for value in (0.2, 0.4, 0.9)]
    found = over_seeds([0.2, 0.4, 0.9], constant, 7)
    means = seed_weights(3, 7, DRAWS) @ [0.2, 0.4, 0.9] / 3
    assert (found.value, found.low, found.high) == pytest.approx((0.5, *np.percentile(means, [2.5, 97.5])))


def test_a_seed_without_a_score_is_left_out() -> None:
    nothing = np.full(DRAWS, np.nan)
    found = over_seeds([0.4, math.nan], [draws_of(HITS[0]), nothing], 7)
    assert found.value == 0.4 and found.low < 0.4 < found.high
    assert math.isnan(over_seeds([math.nan], [nothing], 7).value)


def test_the_front_has_what_nothing_beats() -> None:
    points = [(3.0, 0.9), (1.0, 0.5), (2.0, 0.5), (2.0, 0.8), (4.0, 0.9), (1.0, 0.4)]
    assert front(points) == [1, 3, 0]
    assert front([(1.0, 0.5), (1.0, 0.5)]) == [0, 1] and front([]) == []
