import numpy as np
import pytest
import torch
from torch.nn import functional as F

from prune.checkpoint import Network
from prune.config import InferenceConfig, PruneConfig, TrainConfig, parse
from prune.data.dataset import Sample
from prune.data.labels import IGNORE_INDEX
from prune.engine.evaluation import evaluate
from prune.metrics.confusion import Scores, confusion_matrix
from prune.models import build_model
from prune.predict import Predictor

GENERATOR = torch.Generator().manual_seed(0)


def sample(height: int, width: int, stem: str) -> Sample:
    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8, generator=GENERATOR)
    label = torch.randint(0, 7, (height, width), generator=GENERATOR)
    label[:3] = IGNORE_INDEX
    return Sample(stem, image, label)


SAMPLES = [sample(40, 56, "a"), sample(64, 33, "b")]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    torch.manual_seed(0)
    return Predictor(Network(build_model("deeplabv3_tiny", 7), "deeplabv3_tiny"), torch.device("cpu"))


def test_scores_and_loss_are_pooled_over_every_pixel_of_every_image(predictor: Predictor) -> None:
    result = evaluate(predictor, SAMPLES, 2)
    logits = [predictor.forward(s.image) for s in SAMPLES]
    flat = torch.cat([x.flatten(1).T for x in logits])
    labels = torch.cat([s.label.flatten() for s in SAMPLES])
    assert result.loss == pytest.approx(float(F.cross_entropy(flat, labels, ignore_index=IGNORE_INDEX)), rel=1e-5)
    pooled = Scores.of(confusion_matrix(flat.argmax(1).numpy(), labels.numpy(), 7))
    assert np.array_equal(result.scores.matrix, pooled.matrix)
    assert result.scores.matrix.sum() == 37 * 56 + 61 * 33
    assert [(i.stem, i.height, i.width) for i in result.images] == [("a", 40, 56), ("b", 64, 33)]


def test_nothing_is_left_over_from_an_earlier_evaluation_or_its_order(predictor: Predictor) -> None:
    first, again, reverse = (evaluate(predictor, s, 2) for s in (SAMPLES, SAMPLES, SAMPLES[::-1]))
    assert np.array_equal(first.scores.matrix, again.scores.matrix) and first.loss == again.loss
    assert np.array_equal(first.scores.matrix, reverse.scores.matrix)


def test_evaluating_leaves_the_network_in_training_mode_and_with_its_auxiliary_head(predictor: Predictor) -> None:
    model = predictor.network.model.train()
    evaluate(predictor, SAMPLES[:1], 1)
    assert model.training and model.backbone.bn1.training and model.aux_classifier is not None


@pytest.mark.parametrize("word", ["False", "false", "no", "0"])
def test_false_is_false(word: str) -> None:
    assert parse(TrainConfig, "", ["--cache", word]).cache is False
    assert parse(TrainConfig, "", ["--train_pruned_fully", word]).train_pruned_fully is False
    assert parse(PruneConfig, "", ["--recalibrate", word]).recalibrate is False


def test_a_bare_flag_and_true_are_true() -> None:
    assert parse(InferenceConfig, "", ["--save_figure"]).save_figure is True
    assert parse(InferenceConfig, "", ["--save_figure", "True", "--mode", "overlay"]).save_figure is True
