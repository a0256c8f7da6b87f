"""Is a network that reports 80% right 80% of the time: counts per bin of confidence, and the error from them."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from prune.metrics.confusion import ratio

BINS = 15
"""Equal bins over 0…1, as in Guo et al. 2017."""
KINDS = {"crack": "probability of crack", "top": "confidence in the predicted class"}


def calibration_counts(kind: str, confidence: NDArray[np.floating], hit: NDArray[np.bool_]) -> dict[str, NDArray]:
    """Pixels, summed confidence and hits per bin: additive over images.

    Args:
        kind: One of ``KINDS``; begins the names of the counts.
        confidence: In 0…1, any shape.
        hit: Whether the pixel is a crack (``crack``) or its class was predicted right (``top``), same shape.
    """
    flat = confidence.ravel()
    bins = np.minimum((flat * BINS).astype(np.int64), BINS - 1)
    return {
        f"calibration_{kind}_pixels": np.bincount(bins, minlength=BINS).astype(float),
        f"calibration_{kind}_confidence": np.bincount(bins, flat, minlength=BINS),
        f"calibration_{kind}_hits": np.bincount(bins, hit.ravel(), minlength=BINS),
    }


def calibration_scores(counts: Mapping[str, NDArray]) -> dict[str, NDArray]:
    """Expected calibration error, |confidence − frequency| averaged over pixels: ``ece`` of cracks, ``ece_top`` of all.

    ``ece`` is the class-wise error (Nixon et al. 2019) of the crack class, ``ece_top`` that of the predicted class (Guo
    et al. 2017). Kinds that were not counted have no score; without any pixel it is NaN.
    """
    scores = {}
    for kind, name in (("crack", "ece"), ("top", "ece_top")):
        if f"calibration_{kind}_pixels" in counts:
            pixels, confidence, hits = (counts[f"calibration_{kind}_{n}"] for n in ("pixels", "confidence", "hits"))
            scores[name] = ratio(np.abs(confidence - hits).sum(axis=-1), pixels.sum(axis=-1))
    return scores


def reliability(counts: Mapping[str, NDArray], kind: str) -> list[dict[str, float | None]]:
    """The reliability diagram from pooled counts: one row per bin with its mean confidence and its frequency.

    Returns:
        Rows with ``low``, ``high`` (edges), ``pixels``, ``confidence`` and ``frequency`` (None in an empty bin).
    """
    pixels, confidence, hits = (counts[f"calibration_{kind}_{n}"] for n in ("pixels", "confidence", "hits"))
    return [
        {
            "low": i / BINS,
            "high": (i + 1) / BINS,
            "pixels": int(pixels[i]),
            "confidence": float(confidence[i] / pixels[i]) if pixels[i] else None,
            "frequency": float(hits[i] / pixels[i]) if pixels[i] else None,
        }
        for i in range(BINS)
    ]
