"""Whether a photograph is like those a network was tested on: a few statistics of its light, texture and probabilities.

A network answers with confidence where it has never seen the like. Each photograph becomes eight numbers; the distance of
Mahalanobis (1936) from the photographs of the test, divided by the distance that all but ``REGULAR`` of them keep, is 1 at
the edge of what is known. It is a coarse check: it notices another surface, light or focus, not a single strange object.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
FEATURES = ("brightness", "contrast", "red", "blue", "texture_1px", "texture_4px", "found", "unsure")
"""Names of the statistics, for the file they are stored in."""
ROWS = 96
"""Rows of a photograph that are looked at, evenly spread."""
SHRINKAGE = 0.1
"""Share of the diagonal in the covariance, so that few photographs give a usable one."""
REGULAR = 0.02
"""Share of the photographs of the test itself that counts as unlike them."""
FEWEST = 20
"""Photographs, below which nothing is said."""


def features(image: NDArray[np.uint8], probability: NDArray[np.floating]) -> Floats:
    """The statistics of a photograph, float64 (8,).

    Args:
        image: uint8 (H, W, 3), RGB.
        probability: Of a crack, (H, W), 0…1.
    """
    step = max(1, len(image) // ROWS)
    rows = image[step // 2 :: step]
    planes = [rows[..., channel].astype(np.float32) / 255 for channel in range(3)]
    gray = (planes[0] + planes[1] + planes[2]) / 3  # a mean over an axis of three takes ten times as long
    red, blue = (float((planes[channel] - planes[1]).mean()) for channel in (0, 2))
    likely = probability[step // 2 :: step].astype(np.float32)
    near, far = (float(np.abs(gray[:, gap:] - gray[:, :-gap]).mean()) for gap in (1, min(4, gray.shape[1] - 1)))
    found, unsure = float((likely > 0.5).mean()), float((likely * (1 - likely)).mean())
    logs = [math.log(value + tiny) for value, tiny in ((near, 1e-3), (far, 1e-3), (found, 1e-3), (unsure, 1e-4))]
    return np.array([float(gray.mean()), math.log(float(gray.std()) + 1e-2), red, blue, *logs])


@dataclass(frozen=True)
class Likeness:
    """What the photographs of a test look like.

    Args:
        mean: Of the statistics.
        covariance: Of the statistics, rows.
        limit: Distance from the mean beyond which a photograph counts as unlike them.
    """

    mean: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    limit: float

    @classmethod
    def of(cls, rows: Sequence[Floats]) -> "Likeness | None":
        """What the statistics of many photographs, float64 (8,) each, say; None for fewer than ``FEWEST``."""
        if len(rows) < FEWEST:
            return None
        every = np.stack(rows)
        left_out = [_distances(every[part], *_fit(np.delete(every, part, axis=0))) for part in _parts(len(every))]
        limit = float(np.quantile(np.concatenate(left_out), 1 - REGULAR))
        mean, covariance = _fit(every)
        return cls(tuple(mean.tolist()), tuple(map(tuple, covariance.tolist())), limit)

    def unlike(self, row: Floats) -> float:
        """How unlike a photograph with these statistics is: 1 at the limit."""
        mean, covariance = np.array(self.mean), np.array(self.covariance)
        return float(_distances(row[None], mean, covariance)[0] / self.limit)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Likeness":
        """What ``dataclasses.asdict`` and JSON made plain values of.

        Raises:
            ValueError: for values that are no statistics.
        """
        mean, rows = tuple(map(float, content["mean"])), tuple(tuple(map(float, r)) for r in content["covariance"])
        if len(mean) != len(FEATURES) or [len(row) for row in rows] != [len(FEATURES)] * len(FEATURES):
            raise ValueError(f"expected {len(FEATURES)} statistics, found {len(mean)}")
        if not content["limit"] > 0 or not (np.linalg.eigvalsh(np.array(rows)) > 0).all():
            raise ValueError("expected a limit above 0 and a covariance that can be inverted")
        return cls(mean, rows, float(content["limit"]))


def _fit(rows: Floats) -> tuple[Floats, Floats]:
    """Mean float64 (F,) and covariance float64 (F, F) of rows float64 (N, F), shrunk to its diagonal."""
    covariance = np.cov(rows.T)
    diagonal = np.diag(np.diag(covariance) + 1e-9)
    return rows.mean(axis=0), (1 - SHRINKAGE) * covariance + SHRINKAGE * diagonal


def _distances(rows: Floats, mean: Floats, covariance: Floats) -> Floats:
    away = rows - mean
    return np.sqrt(np.maximum(0.0, (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)))


def _parts(count: int) -> list[NDArray[np.int64]]:
    """Five parts of 0…count-1, each to be left out once."""
    return [np.arange(start, count, 5) for start in range(5)]
