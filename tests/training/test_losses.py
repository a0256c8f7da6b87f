import numpy as np
import pytest
import torch

from prune.data.labels import IGNORE_INDEX, S2DS
from prune.options import LOSSES
from prune.training.losses import (
    binary_cross_entropy,
    class_weights,
    cross_entropy,
    dice,
    focal,
    inverse_frequency,
    make_loss,
)
from tests.conftest import refused

torch.manual_seed(0)
LOGITS = torch.randn(2, 7, 6, 5)
LABEL = torch.randint(0, 7, (2, 6, 5))
LABEL[0, 0] = IGNORE_INDEX
TWO, BINARY = LOGITS[:, :2], LABEL.where(LABEL == IGNORE_INDEX, LABEL % 2)
PIXELS = np.array([880, 3, 27, 8, 15, 66, 1])


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 1, 1, 1, 1, 1, 2])])
def test_cross_entropy_equals_torch(weights: torch.Tensor | None) -> None:
    expected = torch.nn.functional.cross_entropy(LOGITS, LABEL, weight=weights, ignore_index=IGNORE_INDEX)
    assert torch.allclose(cross_entropy(LOGITS, LABEL, weights), expected)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 7])
def test_losses_without_a_valid_pixel_are_zero_with_a_gradient(name: str, classes: int) -> None:
    for weights in (None, torch.arange(1.0, classes + 1)):
        logits = LOGITS[:, :classes].clone().requires_grad_()
        loss = make_loss(name, weights)(logits, torch.full_like(LABEL, IGNORE_INDEX))
        assert loss.shape == () and float(loss.detach()) == 0
        loss.backward()
        assert logits.grad is not None and not logits.grad.any()


@pytest.mark.parametrize("name", LOSSES)
def test_what_the_network_says_about_ignored_pixels_does_not_matter(name: str) -> None:
    changed = LOGITS.clone()
    changed[0, :, 0] += 100 * torch.randn(7, 5)
    for weights in (None, torch.tensor([1.0, 1, 1, 1, 1, 1, 2])):
        loss = make_loss(name, weights)
        assert torch.allclose(loss(LOGITS, LABEL), loss(changed, LABEL))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("classes", [2, 7])
def test_sure_answers_right_or_wrong_have_finite_gradients(name: str, classes: int) -> None:
    for sign in (1, -1):
        logits = torch.zeros(1, classes, 2, 2)
        logits[:, 1] = sign * 300.0
        logits.requires_grad_()
        loss = make_loss(name, gamma=0.5)(logits, torch.tensor([[[0, 1], [1, IGNORE_INDEX]]]))
        loss.backward()
        assert torch.isfinite(loss) and logits.grad is not None and torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("weights", [None, torch.tensor([0.5, 3.0])])
def test_binary_cross_entropy_of_two_classes_is_the_cross_entropy(weights: torch.Tensor | None) -> None:
    expected = cross_entropy(TWO, BINARY, weights)
    assert torch.allclose(binary_cross_entropy(TWO, BINARY, weights), expected, rtol=1e-6)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 1, 1, 0, 1, 1, 2])])
def test_binary_cross_entropy_equals_a_loop(weights: torch.Tensor | None) -> None:
    probabilities = np.exp(LOGITS.double().numpy())
    probabilities /= probabilities.sum(1, keepdims=True)
    total = norm = 0.0
    for n, y, x in zip(*np.nonzero(LABEL.numpy() != IGNORE_INDEX), strict=True):
        label = int(LABEL[n, y, x])
        weight = 1.0 if weights is None else float(weights[label])
        for c in range(1, 7):
            p = probabilities[n, c, y, x]
            total -= weight * np.log(p if label == c else 1 - p) / 6
        norm += weight
    assert float(binary_cross_entropy(LOGITS, LABEL, weights)) == pytest.approx(total / norm, rel=1e-5)


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 1, 1, 0, 1, 1, 2])])
def test_focal_without_gamma_is_the_cross_entropy(weights: torch.Tensor | None) -> None:
    assert torch.allclose(focal(LOGITS, LABEL, weights, 0.0), cross_entropy(LOGITS, LABEL, weights))


@pytest.mark.parametrize("gamma", [0.5, 2.0, 5.0])
def test_focal_equals_torchvision_and_a_loop(gamma: float) -> None:
    from torchvision.ops import sigmoid_focal_loss

    valid = BINARY != IGNORE_INDEX
    margin = (TWO[:, 1] - TWO[:, 0])[valid]
    expected = sigmoid_focal_loss(margin, BINARY[valid].float(), alpha=-1, gamma=gamma, reduction="mean")
    assert torch.allclose(focal(TWO, BINARY, gamma=gamma), expected)
    chosen = [LOGITS.softmax(1)[n, LABEL[n, y, x], y, x] for n, y, x in (LABEL != IGNORE_INDEX).nonzero().tolist()]
    loop = [-((1 - float(p)) ** gamma) * np.log(float(p)) for p in chosen]
    assert float(make_loss("focal", gamma=gamma)(LOGITS, LABEL)) == pytest.approx(np.mean(loop), rel=1e-5)


def test_dice_of_a_hand_worked_picture() -> None:
    # Two pixels, two classes, probabilities 0.8/0.2 and 0.4/0.6, labels 0 and 1.
    logits = torch.tensor([[0.8, 0.4], [0.2, 0.6]]).log().reshape(1, 2, 1, 2)
    first, second = 2 * 0.8 / (1.2 + 1), 2 * 0.6 / (0.8 + 1)
    assert float(dice(logits, torch.tensor([[[0, 1]]]))) == pytest.approx(1 - (first + second) / 2, abs=1e-6)


def test_dice_ignores_pixels_and_absent_classes() -> None:
    perfect = torch.full((1, 7, 1, 3), -50.0)
    perfect[0, 0, 0, 0] = perfect[0, 6, 0, 1] = perfect[0, 3, 0, 2] = 50.0
    assert float(dice(perfect, torch.tensor([[[0, 6, IGNORE_INDEX]]]))) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("name", ["ce", "bce", "focal"])
def test_the_sum_is_the_sum(name: str) -> None:
    weights = torch.tensor([1.0, 1, 1, 1, 1, 1, 2])
    total = make_loss(f"{name}_dice", weights, 1.5)(LOGITS, LABEL)
    assert torch.allclose(total, make_loss(name, weights, 1.5)(LOGITS, LABEL) + dice(LOGITS, LABEL))


def test_weights_from_data_and_text() -> None:
    inverse = inverse_frequency(PIXELS)
    assert inverse[6] / inverse[0] == pytest.approx(880, rel=1e-4) and inverse.mean() == pytest.approx(1)
    tempered = class_weights("sqrt_inverse", PIXELS, S2DS)
    assert tempered is not None and tempered[6] / tempered[0] == pytest.approx(880**0.5, rel=1e-4)
    crack = class_weights("crack=2", PIXELS, S2DS)
    assert crack is not None and crack.tolist() == [1, 1, 1, 1, 1, 1, 2]
    assert class_weights("none", PIXELS, S2DS) is None
    assert inverse_frequency(np.array([10, 0]))[1] == 0


@pytest.mark.parametrize("text", ["1,2", "heavy", "moss=2", "1,1,1,1,1,1,-1", "crack=x"])
def test_bad_weights_are_refused(text: str) -> None:
    with refused("--class_weights"):
        class_weights(text, PIXELS, S2DS)


def test_unknown_loss_lists_the_known() -> None:
    with refused("expected one of ce, bce, focal, dice, ce_dice, bce_dice, focal_dice"):
        make_loss("hinge")
