"""One pooled confusion matrix, and every pixel score computed from it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Scores1D = NDArray[np.float64]


def confusion_matrix(
    prediction: NDArray[np.integer], label: NDArray[np.integer], num_classes: int
) -> NDArray[np.int64]:
    """Count pixels by label (row) and prediction (column).

    Args:
        prediction: Class ids 0…C−1, any shape.
        label: Class ids of the same shape; ids of C and above (255 = ignored) are left out.
        num_classes: C.

    Returns:
        int64 (C, C); matrices of parts of a set add up to the matrix of the set.
    """
    valid = label < num_classes
    codes = label[valid].astype(np.int64) * num_classes + prediction[valid]
    return np.bincount(codes, minlength=num_classes**2).reshape(num_classes, num_classes)


def ratio(numerator: NDArray[Any], denominator: NDArray[Any]) -> Scores1D:
    """Quotient, element by element; NaN where the denominator is 0."""
    numerator, denominator = np.asarray(numerator, float), np.asarray(denominator, float)
    out = np.full(np.broadcast(numerator, denominator).shape, np.nan)
    return np.divide(numerator, denominator, out=out, where=denominator > 0)


def pixel_scores(matrix: NDArray[Any]) -> dict[str, Scores1D]:
    """The scores of ``Scores`` by name, for one confusion matrix (C, C) or for many (…, C, C) at once."""
    hits = matrix.diagonal(axis1=-2, axis2=-1)
    labeled, predicted = matrix.sum(axis=-1), matrix.sum(axis=-2)
    iou, present = ratio(hits, labeled + predicted - hits), labeled > 0
    known = np.where(present, np.nan_to_num(iou), 0.0)
    return {
        "iou": iou,
        "precision": ratio(hits, predicted),
        "recall": ratio(hits, labeled),
        "f1": ratio(2 * hits, labeled + predicted),
        "miou": ratio(known.sum(axis=-1), present.sum(axis=-1)),
        "miou_defects": ratio(known[..., 1:].sum(axis=-1), present[..., 1:].sum(axis=-1)),
        "pixel_accuracy": ratio(hits.sum(axis=-1), matrix.sum(axis=(-2, -1))),
    }


@dataclass(frozen=True)
class Scores:
    """Scores of one confusion matrix (rows = label, columns = prediction), each in 0…1.

    Per class, float64 (C,), from the pooled counts TP, FP, FN:
    ``iou`` TP/(TP+FP+FN), ``precision`` TP/(TP+FP), ``recall`` TP/(TP+FN), ``f1`` 2TP/(2TP+FP+FN); ``support`` is
    TP+FN in pixels. 0/0 is NaN: a class neither labeled nor predicted has no score. A class that is predicted but
    not labeled has IoU 0.

    Means run over the classes *present*, those with labeled pixels: ``miou`` over all of them, ``miou_defects`` over
    all but the background (id 0). ``pixel_accuracy`` is the share of labeled pixels that are right.
    """

    matrix: NDArray[np.int64]
    iou: Scores1D
    precision: Scores1D
    recall: Scores1D
    f1: Scores1D
    support: NDArray[np.int64]
    miou: float
    miou_defects: float
    pixel_accuracy: float

    @classmethod
    def of(cls, matrix: NDArray[np.int64]) -> "Scores":
        """Score a confusion matrix int64 (C, C)."""
        found = pixel_scores(matrix)
        means = {name: float(found[name]) for name in ("miou", "miou_defects", "pixel_accuracy")}
        return cls(matrix, found["iou"], found["precision"], found["recall"], found["f1"], matrix.sum(axis=1), **means)

    def per_class(self, names: tuple[str, ...]) -> list[dict[str, Any]]:
        """One row per class with the keys class, iou, precision, recall, f1, support; None where there is no score."""
        return [
            {
                "class": name,
                "iou": blank(self.iou[i]),
                "precision": blank(self.precision[i]),
                "recall": blank(self.recall[i]),
                "f1": blank(self.f1[i]),
                "support": int(self.support[i]),
            }
            for i, name in enumerate(names)
        ]

    def row_normalized(self) -> list[list[float | None]]:
        """The matrix with every row divided by its sum; rows of absent classes are None."""
        return [[blank(v) for v in ratio(row, row.sum())] for row in self.matrix]


def blank(value: float) -> float | None:
    """The value as a plain float, or None for NaN: what goes into JSON and spreadsheets."""
    return None if np.isnan(value) else float(value)
