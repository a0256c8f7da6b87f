"""Count once: everything a crack score, a false alarm or a measurement needs to know about one image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.metrics.box import bounding_box
from prune.metrics.distance import squared_distance, within
from prune.metrics.measurement import Measurement, measure
from prune.metrics.thinning import thin

Mask = NDArray[np.bool_]
Counts = dict[str, float]
"""Counts of one image by name. All are additive: those of a set are the sums over its images."""


@dataclass(frozen=True)
class CrackSettings:
    """What is counted. Results with different settings are not comparable.

    Args:
        tolerances: Tolerances of the line scores in px.
        f1_tolerances: Tolerances of the pixel F1 in px.
        boundary_px: Tolerance of boundary F1 and width of the band of boundary IoU, in px.
        protocol: ``plain``, or ``s2ds`` (see ``prune.metrics.protocol``).
    """

    tolerances: tuple[int, ...] = (0, 2, 4, 8)
    f1_tolerances: tuple[int, ...] = (2, 5)
    boundary_px: int = 2
    protocol: str = "plain"


def _count(mask: Mask) -> int:
    return int(np.count_nonzero(mask))


Pair = tuple[Mask, Mask]
"""A mask of the prediction and the same of the label."""


def line_counts(masks: Pair, lines: Pair, scored: Mask, tolerances: Sequence[int]) -> Counts:
    """Counts behind ltIoU, clDice and clIoU.

    For every tolerance t, ``line_hit_t`` are the label's line pixels at most t px from the prediction's line,
    ``line_false_t`` the prediction's line pixels farther than t px from the label's.

    Args:
        masks: Crack pixels of prediction and label, bool (H, W).
        lines: The same, thinned.
        scored: Pixels that count.
        tolerances: In px.
    """
    (prediction, label), (predicted, labeled) = masks, lines
    counts: Counts = {
        "line_label": _count(labeled & scored),
        "line_predicted": _count(predicted & scored),
        "line_label_covered": _count(labeled & scored & prediction),
        "line_predicted_covered": _count(predicted & scored & label),
    }
    radius = max(tolerances, default=0)
    to_prediction, to_label = (
        squared_distance(line, radius)[other & scored] for line, other in ((predicted, labeled), (labeled, predicted))
    )
    for t in tolerances:
        counts[f"line_hit_{t}"] = _count(to_prediction <= t * t)
        counts[f"line_false_{t}"] = _count(to_label > t * t)
    return counts


def _tolerant_counts(prediction: Mask, label: Mask, scored: Mask, tolerances: Sequence[int]) -> Counts:
    """Pixels of either mask, and those at most t px from the other mask."""
    predicted, labeled = prediction & scored, label & scored
    counts: Counts = {"pixels_label": _count(labeled), "pixels_predicted": _count(predicted)}
    radius = max(tolerances, default=0)
    to_prediction, to_label = squared_distance(prediction, radius)[labeled], squared_distance(label, radius)[predicted]
    for t in tolerances:
        counts[f"near_label_{t}"] = _count(to_prediction <= t * t)
        counts[f"near_predicted_{t}"] = _count(to_label <= t * t)
    return counts


def _outside(mask: Mask, known: Mask) -> Mask:
    """Pixels of ``known`` outside the mask that touch it (4 neighbors): where its boundary is seen."""
    return within(mask, 1) & ~mask & known


def boundary_counts(prediction: Mask, label: Mask, known: Mask, radius: int) -> Counts:
    """Counts behind boundary F1 and boundary IoU of one class.

    The boundary of a mask are its pixels next to a known pixel of another class: neither the image's border nor unlabeled
    pixels make a boundary. Its band are its pixels at most ``radius`` px from a known pixel of another class.

    Args:
        prediction: Pixels of the class, bool (H, W).
        label: The same of the label.
        known: Labeled pixels.
        radius: Tolerance and band width in px.
    """
    shape = [(mask & known, _outside(mask & known, known)) for mask in (prediction, label)]
    (predicted, predicted_edge), (labeled, labeled_edge) = (
        (m & within(out, 1), m & within(out, radius)) for m, out in shape
    )
    return {
        "boundary_label": _count(labeled),
        "boundary_predicted": _count(predicted),
        "boundary_label_near": _count(labeled & within(predicted, radius)),
        "boundary_predicted_near": _count(predicted & within(labeled, radius)),
        "band_both": _count(predicted_edge & labeled_edge),
        "band_either": _count(predicted_edge | labeled_edge),
    }


def _alarm_counts(prediction: Mask, label: Mask, scored: Mask) -> Counts:
    """Whether a crack-free image raised an alarm, and false crack pixels."""
    free = not (label & scored).any()
    pixels, false = _count(scored), _count(prediction & ~label & scored)
    return {
        "images": 1,
        "crack_free": int(free),
        "alarms": int(free and false > 0),
        "scored_px": pixels,
        "false_px": false,
        "crack_free_px": pixels if free else 0,
        "crack_free_false_px": false if free else 0,
    }


def _width_counts(name: str, found: Measurement) -> Counts:
    """Widths are unknown (left out, not 0) for an empty mask and for one without any background."""
    known = bool(found.pixels) and not math.isnan(found.width_sum)
    return {
        f"width_sum_{name}": found.width_sum if known else 0.0,
        f"width_pixels_{name}": found.pixels if known else 0,
        f"width_p95_{name}": found.width_p95 if known else 0.0,
        f"width_max_{name}": found.width_max if known else 0.0,
        f"width_known_{name}": int(known),
    }


def _pair_counts(predicted: Measurement, labeled: Measurement) -> Counts:
    """Errors that only make sense where both masks have the quantity."""
    width = [m.width_mean for m in (predicted, labeled)]
    both = not any(map(math.isnan, width))
    turned = abs(predicted.orientation - labeled.orientation)
    return {
        "width_both": int(both),
        "width_error": abs(width[0] - width[1]) if both else 0.0,
        "width_both_predicted": width[0] if both else 0.0,
        "width_both_label": width[1] if both else 0.0,
        "orientation_both": int(not math.isnan(turned)),
        "orientation_error": 0.0 if math.isnan(turned) else min(turned, 180 - turned),
    }


def measurement_counts(masks: Pair, lines: Pair) -> Counts:
    """Length, width, area, number and direction of the cracks of both masks, and the image's errors; all in px.

    Args:
        masks: Crack pixels of prediction and label, bool (H, W).
        lines: The same, thinned.
    """
    predicted, labeled = (measure(mask, line) for mask, line in zip(masks, lines, strict=True))
    counts = _pair_counts(predicted, labeled)
    for name, found in (("predicted", predicted), ("label", labeled)):
        counts |= _width_counts(name, found) | {
            f"length_{name}": found.length,
            f"area_{name}": found.area,
            f"components_{name}": found.components,
            f"cosines_{name}": found.direction[0],
            f"sines_{name}": found.direction[1],
        }
    for quantity in ("length", "area", "components"):
        counts[f"{quantity}_error"] = abs(counts[f"{quantity}_predicted"] - counts[f"{quantity}_label"])
    return counts


def count_crack(prediction: Mask, label: Mask, known: Mask, scored: Mask, settings: CrackSettings) -> Counts:
    """Every count of one image.

    Args:
        prediction: Pixels predicted as crack, bool (H, W).
        label: Pixels labeled as crack.
        known: Pixels that carry a label.
        scored: Known pixels that the protocol scores; lines and measurements are not cut by a protocol's band.
        settings: Tolerances and protocol. Under ``s2ds`` lines are scored everywhere, as the published tool does.
    """
    margin = max((*settings.tolerances, *settings.f1_tolerances, settings.boundary_px), default=0) + 1
    alarms = _alarm_counts(prediction, label, scored)
    box = bounding_box(prediction | label, margin)
    prediction, label, known, scored = prediction[box], label[box], known[box], scored[box]
    on_line = np.ones_like(known) if settings.protocol == "s2ds" else known
    masks, lines = (prediction, label), (thin(prediction), thin(label))
    counts = alarms | line_counts(masks, lines, on_line, settings.tolerances)
    counts |= _tolerant_counts(prediction, label, scored, settings.f1_tolerances)
    if (prediction & ~on_line).any():  # where nothing is labeled nothing can be compared
        masks = (prediction & on_line, label)
        lines = (thin(masks[0]), lines[1])
    return counts | measurement_counts(masks, lines)


MILLIMETERS = {
    "length_": 1,
    "width_sum_": 1,
    "width_p95_": 1,
    "width_max_": 1,
    "width_error": 1,
    "width_both_": 1,
    "area_": 2,
}
"""Counts with a unit of length, by the beginning of their names, and the power of the scale they grow with."""


def in_millimeters(counts: Counts, mm_per_pixel: float) -> Counts:
    """The counts with lengths, widths and areas repeated in mm and mm² under names that end in ``_mm``."""
    scaled = {
        f"{name}_mm": value * mm_per_pixel**power
        for name, value in counts.items()
        for start, power in MILLIMETERS.items()
        if name.startswith(start)
    }
    return counts | scaled
