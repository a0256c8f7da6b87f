import numpy as np
import pytest
import torch
from torchmetrics.classification import (
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassStatScores,
)

from prune.data.labels import IGNORE_INDEX, S2DS
from prune.metrics.confusion import Scores, confusion_matrix, pixel_scores

RNG = np.random.default_rng(0)
LABEL = RNG.choice([0, 1, 2, 3, 5, 6, IGNORE_INDEX], (40, 50))
PREDICTION = np.where(
    RNG.random((40, 50)) < 0.6, np.where(LABEL == IGNORE_INDEX, 0, LABEL), RNG.integers(0, 7, (40, 50))
)


def _stat_scores(counts: np.ndarray) -> dict[str, np.ndarray]:
    """Scores from torchmetrics' TP, FP, TN, FN per class, in double precision (its own scores are float32)."""
    hits, false, _, missed, _ = counts.T
    with np.errstate(invalid="ignore"):
        return {
            "iou": hits / (hits + false + missed),
            "precision": hits / (hits + false),
            "recall": hits / (hits + missed),
            "f1": 2 * hits / (2 * hits + false + missed),
        }


def test_scores_equal_torchmetrics() -> None:
    prediction, label = torch.from_numpy(PREDICTION), torch.from_numpy(LABEL)
    options = {"num_classes": 7, "ignore_index": IGNORE_INDEX}
    scores = Scores.of(confusion_matrix(PREDICTION, LABEL, 7))
    assert np.array_equal(scores.matrix, MulticlassConfusionMatrix(**options)(prediction, label).numpy())
    independent = _stat_scores(MulticlassStatScores(average=None, **options)(prediction, label).double().numpy())
    for name, expected in independent.items():
        assert np.allclose(getattr(scores, name), expected, rtol=0, atol=1e-12, equal_nan=True)
    iou = MulticlassJaccardIndex(average=None, **options)(prediction, label).numpy()
    f1 = MulticlassF1Score(average=None, **options)(prediction, label).numpy()
    assert np.allclose(scores.iou, iou, atol=1e-6) and np.allclose(scores.f1, f1, atol=1e-6)


def test_scores_equal_a_plain_loop() -> None:
    scores = Scores.of(confusion_matrix(PREDICTION, LABEL, 7))
    for class_id in range(7):
        hits = misses = false = 0
        for predicted, labeled in zip(PREDICTION.ravel(), LABEL.ravel(), strict=True):
            if labeled != IGNORE_INDEX:
                hits += predicted == class_id == labeled
                misses += labeled == class_id != predicted
                false += predicted == class_id != labeled
        assert scores.support[class_id] == hits + misses
        assert scores.precision[class_id] == pytest.approx(hits / (hits + false), abs=1e-12)
        assert scores.iou[class_id] == pytest.approx(hits / (hits + misses + false), abs=1e-12)
        if hits + misses:
            assert scores.recall[class_id] == pytest.approx(hits / (hits + misses), abs=1e-12)
        assert scores.f1[class_id] == pytest.approx(2 * hits / (2 * hits + misses + false), abs=1e-12)


def test_absent_classes_are_blank_and_out_of_the_means() -> None:
    scores = Scores.of(confusion_matrix(np.array([0, 0, 6, 6]), np.array([0, 0, 6, 0]), 7))
    rows = scores.per_class(S2DS.classes)
    assert rows[3] == {
        "class": "Efflorescence",
        "iou": None,
        "precision": None,
        "recall": None,
        "f1": None,
        "support": 0,
    }
    assert scores.miou == pytest.approx((2 / 3 + 1 / 2) / 2) and scores.miou_defects == pytest.approx(1 / 2)
    assert scores.row_normalized()[3] == [None] * 7


def test_a_class_predicted_but_not_labeled_scores_zero_and_leaves_the_mean_alone() -> None:
    scores = Scores.of(confusion_matrix(np.array([0, 4]), np.array([0, 0]), 7))
    assert scores.iou[4] == 0 and scores.miou == pytest.approx(0.5)


def test_a_network_that_never_finds_a_crack_has_no_flattering_headline() -> None:
    label = np.zeros(1000, dtype=int)
    label[:10] = 6
    scores = Scores.of(confusion_matrix(np.zeros(1000, dtype=int), label, 7))
    assert scores.pixel_accuracy == 0.99 and scores.miou == pytest.approx(0.495) and scores.miou_defects == 0


def test_many_matrices_are_scored_at_once_like_each_of_them() -> None:
    matrices = RNG.integers(0, 9, (5, 4, 4)) * RNG.integers(0, 2, (5, 4, 1))
    together = pixel_scores(matrices)
    for number, matrix in enumerate(matrices):
        alone = pixel_scores(matrix)
        assert all(np.array_equal(together[name][number], alone[name], equal_nan=True) for name in alone)


def test_matrices_of_halves_add_up() -> None:
    whole = confusion_matrix(PREDICTION, LABEL, 7)
    halves = confusion_matrix(PREDICTION[:20], LABEL[:20], 7) + confusion_matrix(PREDICTION[20:], LABEL[20:], 7)
    assert np.array_equal(whole, halves)


def test_nothing_labeled_gives_blanks() -> None:
    scores = Scores.of(confusion_matrix(np.zeros(4, int), np.full(4, IGNORE_INDEX), 7))
    assert np.isnan([scores.miou, scores.miou_defects, scores.pixel_accuracy]).all()
