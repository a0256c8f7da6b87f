"""Score many: every crack score from counts, for one image, a whole set or a thousand bootstrap draws alike.

A count is an array of any shape, one entry per image or per draw; a score has the same shape. Scores are named
``name``, ``name@tolerance`` or ``name.part``. 0/0 is NaN: there is nothing to score.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.metrics.confusion import ratio
from prune.metrics.crack import CrackSettings
from prune.metrics.measurement import axis_degrees

Array = NDArray[np.float64]
Named = Mapping[str, Array]
CENTER_LINE_TOLERANCE = 4
"""Tolerance in px of clIoU as OmniCrack30k reports it."""
PER_IMAGE = ("iou", "lt_iou", "line_f1", "f1_tolerant", "boundary_f1", "cl_dice")
"""Scores whose mean over images is given too, under ``<name>_per_image``."""


def harmonic(precision: Array, recall: Array) -> Array:
    """2PR / (P + R); 0 when just one of the two is NaN or both are 0, NaN when both are NaN."""
    p, r = np.nan_to_num(precision), np.nan_to_num(recall)
    mean = np.nan_to_num(ratio(2 * p * r, p + r))
    return np.where(np.isnan(precision) & np.isnan(recall), np.nan, mean)


def _pixel_scores(c: Named) -> dict[str, Array]:
    hits, false = c["pixels_predicted"] - c["false_px"], c["false_px"]
    label = c["pixels_label"]
    return {
        "iou": ratio(hits, label + false),
        "precision": ratio(hits, hits + false),
        "recall": ratio(hits, label),
        "f1": ratio(2 * hits, label + hits + false),
    }


def line_scores(c: Named, tolerance: int) -> dict[str, Array]:
    """Benz & Rodehorst 2022: TP and FN are pixels of the label's line, FP pixels of the prediction's."""
    hits, false = c[f"line_hit_{tolerance}"], c[f"line_false_{tolerance}"]
    return {
        f"lt_iou@{tolerance}": ratio(hits, c["line_label"] + false),
        f"line_precision@{tolerance}": ratio(hits, hits + false),
        f"line_recall@{tolerance}": ratio(hits, c["line_label"]),
        f"line_f1@{tolerance}": ratio(2 * hits, c["line_label"] + hits + false),
    }


def _tolerant_scores(c: Named, tolerance: int) -> dict[str, Array]:
    """Precision counts predicted pixels near the label, recall labeled pixels near the prediction."""
    precision = ratio(c[f"near_predicted_{tolerance}"], c["pixels_predicted"])
    recall = ratio(c[f"near_label_{tolerance}"], c["pixels_label"])
    return {
        f"f1_tolerant@{tolerance}": harmonic(precision, recall),
        f"precision_tolerant@{tolerance}": precision,
        f"recall_tolerant@{tolerance}": recall,
    }


def boundary_scores(c: Named) -> dict[str, Array]:
    """Boundary F1 (Csurka et al. 2013, with a fixed tolerance) and boundary IoU (Cheng et al. 2021, with a fixed band)."""
    precision = ratio(c["boundary_predicted_near"], c["boundary_predicted"])
    recall = ratio(c["boundary_label_near"], c["boundary_label"])
    return {"boundary_f1": harmonic(precision, recall), "boundary_iou": ratio(c["band_both"], c["band_either"])}


def _centerline_scores(c: Named) -> dict[str, Array]:
    """Scores of center lines: clDice (Shit et al. 2021), and clIoU (Benz & Rodehorst 2024), which on masks is ltIoU by definition."""
    covered = [ratio(c[f"line_{side}_covered"], c[f"line_{side}"]) for side in ("predicted", "label")]
    scores = {"cl_dice": harmonic(*covered)}
    if f"line_hit_{CENTER_LINE_TOLERANCE}" in c:
        scores["cl_iou_4"] = line_scores(c, CENTER_LINE_TOLERANCE)[f"lt_iou@{CENTER_LINE_TOLERANCE}"]
    return scores


def _total_scores(c: Named, quantity: str, key: str, unit: str = "") -> dict[str, Array]:
    """Totals over images, and the mean error per image, where too much here does not make up for too little there."""
    predicted, labeled = c[f"{quantity}_predicted{unit}"], c[f"{quantity}_label{unit}"]
    error = c[f"{quantity}_error{unit}"]
    return {
        key: np.asarray(predicted, float),
        f"{key}.label": np.asarray(labeled, float),
        f"{key}.absolute_error": ratio(error, c["images"]),
        f"{key}.relative_error": ratio(error, labeled),
        f"{key}.bias": ratio(predicted - labeled, labeled),
    }


def _width_scores(c: Named, suffix: str, unit: str = "") -> dict[str, Array]:
    """Mean width over all center-line pixels; errors are means over the images with a crack in both masks."""
    label = c[f"width_both_label{unit}"]
    scores = {
        f"width_{suffix}": ratio(c[f"width_sum_predicted{unit}"], c["width_pixels_predicted"]),
        f"width_{suffix}.label": ratio(c[f"width_sum_label{unit}"], c["width_pixels_label"]),
        f"width_{suffix}.absolute_error": ratio(c[f"width_error{unit}"], c["width_both"]),
        f"width_{suffix}.relative_error": ratio(c[f"width_error{unit}"], label),
        f"width_{suffix}.bias": ratio(c[f"width_both_predicted{unit}"] - label, label),
    }
    for kind in ("p95", "max"):
        for key, side in (("", "predicted"), (".label", "label")):
            scores[f"width_{kind}_{suffix}{key}"] = ratio(c[f"width_{kind}_{side}{unit}"], c[f"width_known_{side}"])
    return scores


def _alarm_scores(c: Named) -> dict[str, Array]:
    return {
        "false_alarm": ratio(c["alarms"], c["crack_free"]),
        "false_alarm.px_per_megapixel": ratio(1e6 * c["false_px"], c["scored_px"]),
        "false_alarm.px_per_megapixel_crack_free": ratio(1e6 * c["crack_free_false_px"], c["crack_free_px"]),
    }


def crack_scores(counts: Named, settings: CrackSettings) -> dict[str, Array]:
    """Every crack score from the counts of ``prune.metrics.crack`` (and, if counted, calibration bins).

    All scores are in 0…1 but lengths, widths (px, mm), areas (px, mm²), component numbers, degrees, and false pixels per
    megapixel. Errors that are relative are shares of the label's.
    """
    scores = _pixel_scores(counts)
    for tolerance in settings.tolerances:
        scores |= line_scores(counts, tolerance)
    for tolerance in settings.f1_tolerances:
        scores |= _tolerant_scores(counts, tolerance)
    scores |= boundary_scores(counts) | _centerline_scores(counts)
    scores |= _total_scores(counts, "length", "length_px") | _width_scores(counts, "px")
    scores |= _total_scores(counts, "area", "area_px") | _total_scores(counts, "components", "components")
    if "length_label_mm" in counts:
        scores |= _total_scores(counts, "length", "length_mm", "_mm") | _width_scores(counts, "mm", "_mm")
        scores |= _total_scores(counts, "area", "area_mm2", "_mm")
    scores["orientation_error_deg"] = ratio(counts["orientation_error"], counts["orientation_both"])
    means = {n.removeprefix("sum of "): value for n, value in counts.items() if n.startswith("sum of ")}
    for name, total in means.items():
        head, *rest = name.split("@")
        scores["@".join([f"{head}_per_image", *rest])] = ratio(total, counts[f"known {name}"])
    return scores | _alarm_scores(counts)


def with_image_means(counts: Named, settings: CrackSettings) -> dict[str, Array]:
    """Counts (one entry per image) with those that make means over images: an image without a score is left out of its mean."""
    extended = dict(counts)
    for name, values in crack_scores(counts, settings).items():
        if name.split("@")[0] in PER_IMAGE:
            extended[f"sum of {name}"] = np.nan_to_num(values)
            extended[f"known {name}"] = (~np.isnan(values)).astype(float)
    return extended


def orientations(counts: Named) -> dict[str, Array]:
    """Mean direction of the cracks of each image in degrees (see ``axis_degrees``), predicted and labeled."""
    keys = {"orientation_deg": "predicted", "orientation_deg.label": "label"}
    return {key: axis_degrees(counts[f"cosines_{side}"], counts[f"sines_{side}"]) for key, side in keys.items()}


def nested(scores: Mapping[str, Any]) -> dict[str, Any]:
    """Scores by name as they stand in a file: ``a@4`` becomes a["4"]; ``a.b`` becomes a["b"] beside ``a``'s own.

    A score that has parts is a mapping with its own value under ``value`` (or its own mapping merged in).
    """
    result: dict[str, Any] = {}
    for name, value in scores.items():
        head, _, part = name.replace("@", ".").partition(".")
        if part:
            own = result.setdefault(head, {})
            if not isinstance(own, dict):
                own = result[head] = {"value": own}
            own[part] = value
        else:
            result[head] = value
    return result
