import copy
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from prune.cli.inference import InferenceOptions
from prune.cli.prune import PruneOptions
from prune.cli.train import TrainOptions
from prune.cli.verbs import parse
from prune.data.dataset import Sample
from prune.data.labels import IGNORE_INDEX
from prune.errors import UserError
from prune.evaluation.evaluate import evaluate
from prune.inference.replicas import Replicas
from prune.inference.torch import TorchPredictor
from prune.metrics.confusion import Scores, confusion_matrix
from prune.metrics.crack import CrackSettings
from prune.metrics.image import ImageScorer
from prune.models import build_model
from prune.models.checkpoint import Network
from tests.conftest import refused

GENERATOR = torch.Generator().manual_seed(0)


def sample(height: int, width: int, stem: str) -> Sample:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=GENERATOR)
    label = torch.randint(0, 7, (height, width), generator=GENERATOR)
    label[:3] = IGNORE_INDEX
    return Sample(stem, image, label)


SAMPLES = [sample(40, 56, "a"), sample(64, 33, "b")]


def forward(predictor: TorchPredictor, sample: Sample) -> torch.Tensor:
    return predictor.forward(sample.image.permute(1, 2, 0).numpy())


@pytest.fixture(scope="module")
def predictor() -> TorchPredictor:
    torch.manual_seed(0)
    return TorchPredictor(Network(build_model("deeplabv3_tiny", 7), "deeplabv3_tiny"), torch.device("cpu"))


def test_scores_and_loss_are_pooled_over_every_pixel_of_every_image(predictor: TorchPredictor) -> None:
    result = evaluate(predictor, SAMPLES, 2)
    logits = [forward(predictor, s) for s in SAMPLES]
    flat = torch.cat([x.flatten(1).T for x in logits])
    labels = torch.cat([s.label.flatten() for s in SAMPLES])
    assert result.loss == pytest.approx(float(F.cross_entropy(flat, labels, ignore_index=IGNORE_INDEX)), rel=1e-5)
    pooled = Scores.of(confusion_matrix(flat.argmax(1).numpy(), labels.numpy(), 7))
    assert np.array_equal(result.scores.matrix, pooled.matrix)
    assert result.scores.matrix.sum() == 37 * 56 + 61 * 33
    assert [(i.stem, i.height, i.width) for i in result.images] == [("a", 40, 56), ("b", 64, 33)]


def test_nothing_is_left_over_from_an_earlier_evaluation_or_its_order(predictor: TorchPredictor) -> None:
    first, again, reverse = (evaluate(predictor, s, 2) for s in (SAMPLES, SAMPLES, SAMPLES[::-1]))
    assert np.array_equal(first.scores.matrix, again.scores.matrix) and first.loss == again.loss
    assert np.array_equal(first.scores.matrix, reverse.scores.matrix)


SETTINGS = CrackSettings()


def cracked(predictor: TorchPredictor) -> list[Sample]:
    """Samples whose labels are the prediction moved by a pixel, so that every count has something to count."""
    samples = []
    for sample_ in SAMPLES:
        predicted = forward(predictor, sample_).argmax(0)
        samples.append(Sample(sample_.stem, sample_.image, torch.roll(predicted, 1, 0)))
    return samples


def test_the_number_of_workers_and_the_order_change_no_count(predictor: TorchPredictor) -> None:
    crack = int(forward(predictor, SAMPLES[0]).argmax(0).mode().values.mode().values)
    scorer = ImageScorer(7, crack, SETTINGS)
    samples = cracked(predictor)
    alone, parallel, reverse = (
        evaluate(predictor, s, 2, scorer=scorer, workers=workers)
        for s, workers in ((samples, 0), (samples, 2), (samples[::-1], 1))
    )
    assert alone.images[0].counts.crack["line_label"] > 0
    for other in (parallel.images, reverse.images[::-1]):
        for a, b in zip(alone.images, other, strict=True):
            assert a.stem == b.stem and a.counts.crack == b.counts.crack and a.loss_sum == b.loss_sum
            assert np.array_equal(a.matrix, b.matrix)
            assert all(np.array_equal(a.counts.boundary[n], b.counts.boundary[n]) for n in a.counts.boundary)


def test_several_networks_change_neither_order_nor_counts(predictor: TorchPredictor) -> None:
    model = copy.deepcopy(predictor.network.model)
    twin = TorchPredictor(replace(predictor.network, model=model), torch.device("cpu"))
    scorer, samples = ImageScorer(7, 6, SETTINGS), 5 * cracked(predictor)
    alone = evaluate(predictor, samples, 10, scorer=scorer, calibrate=True)
    both = evaluate(Replicas((predictor, twin), 1), samples, 10, scorer=scorer, workers=1, calibrate=True)
    for a, b in zip(alone.images, both.images, strict=True):
        assert a.stem == b.stem and a.loss_sum == b.loss_sum and a.counts.crack == b.counts.crack
        assert np.array_equal(a.matrix, b.matrix)
        assert all(np.array_equal(a.calibration[name], b.calibration[name]) for name in a.calibration)
    assert set(both.seconds) == {"network", "scoring", "reading"} and both.seconds["network"] > 0


def test_a_mistake_in_a_scoring_process_is_raised_here(predictor: TorchPredictor) -> None:
    def broken() -> Iterator[Sample]:
        yield SAMPLES[0]
        raise UserError("second file is damaged")

    with refused("second file is damaged"):
        evaluate(predictor, broken(), 2, scorer=ImageScorer(7, 6, SETTINGS), workers=1)
    with refused("second file is damaged"):
        evaluate(Replicas((predictor, predictor), 1), broken(), 2)


def test_the_s2ds_protocol_takes_the_band_out_of_the_matrix_but_not_out_of_the_lines(predictor: TorchPredictor) -> None:
    label = torch.zeros(40, 40, dtype=torch.long)
    label[:, 20:] = 5
    label[10, 2:14] = 6
    prediction = label.clone()
    prediction[:, 19] = 6
    arrays = prediction.numpy().astype(np.uint8), label.numpy().astype(np.uint8)
    plain, s2ds = (ImageScorer(7, 6, CrackSettings(protocol=p))(*arrays) for p in ("plain", "s2ds"))
    band = 6 * 40  # three pixels on both sides of the border
    assert plain.matrix.sum() == 1600 and s2ds.matrix.sum() == 1600 - band
    assert s2ds.matrix[6, 6] == plain.matrix[6, 6] == 12 and s2ds.matrix[0, 6] == 0 < plain.matrix[0, 6]
    assert s2ds.crack["line_false_2"] == plain.crack["line_false_2"] > 0


def test_confidences_are_counted_for_every_labeled_pixel(predictor: TorchPredictor) -> None:
    result = evaluate(predictor, SAMPLES, 2, calibrate=True)
    pixels = sum(image.calibration["calibration_crack_pixels"].sum() for image in result.images)
    assert pixels == result.scores.matrix.sum()
    hits = sum(image.calibration["calibration_top_hits"].sum() for image in result.images)
    assert hits == result.scores.matrix.diagonal().sum()
    probability = torch.cat([forward(predictor, s).softmax(0)[6][s.label != IGNORE_INDEX] for s in SAMPLES])
    summed = sum(image.calibration["calibration_crack_confidence"].sum() for image in result.images)
    assert summed == pytest.approx(float(probability.double().sum()), rel=1e-6)
    assert not evaluate(predictor, SAMPLES, 2).images[0].calibration


def test_validation_counts_lines_at_four_pixels_only(predictor: TorchPredictor) -> None:
    result = evaluate(predictor, SAMPLES, 2)
    counts = result.images[0].counts
    assert set(counts.crack) >= {"line_hit_4", "line_false_4"} and "line_hit_2" not in counts.crack
    full = evaluate(predictor, SAMPLES, 2, scorer=ImageScorer(7, 6, SETTINGS))
    assert result.lt_iou(4) == pytest.approx(full.lt_iou(4), nan_ok=True)


def test_evaluating_leaves_the_network_in_training_mode_and_with_its_auxiliary_head(predictor: TorchPredictor) -> None:
    model = predictor.network.model.train()
    evaluate(predictor, SAMPLES[:1], 1)
    assert model.training and model.backbone.bn1.training and model.aux_classifier is not None


@pytest.mark.parametrize("word", ["False", "false", "no", "0"])
def test_false_is_false(word: str) -> None:
    assert parse(TrainOptions, "", ["--cache", word]).cache is False
    assert parse(TrainOptions, "", ["--train_pruned_fully", word]).train_pruned_fully is False
    assert parse(PruneOptions, "", ["--recalibrate", word]).recalibrate is False


def test_a_bare_flag_and_true_are_true() -> None:
    assert parse(InferenceOptions, "", ["--save_figure"]).save_figure is True
    assert parse(InferenceOptions, "", ["--save_figure", "True", "--mode", "overlay"]).save_figure is True
