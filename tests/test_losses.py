import numpy as np
import pytest
import torch

from prune.data.labels import IGNORE_INDEX, S2DS
from prune.errors import UserError
from prune.losses import class_weights, cross_entropy, dice, inverse_frequency, make_loss

torch.manual_seed(0)
LOGITS = torch.randn(2, 7, 6, 5)
LABEL = torch.randint(0, 7, (2, 6, 5))
LABEL[0, 0] = IGNORE_INDEX
PIXELS = np.array([880, 3, 27, 8, 15, 66, 1])


@pytest.mark.parametrize("weights", [None, torch.tensor([1.0, 1, 1, 1, 1, 1, 2])])
def test_cross_entropy_equals_torch(weights: torch.Tensor | None) -> None:
    expected = torch.nn.functional.cross_entropy(LOGITS, LABEL, weight=weights, ignore_index=IGNORE_INDEX)
    assert torch.allclose(cross_entropy(LOGITS, LABEL, weights), expected)


def test_losses_without_a_valid_pixel_are_zero_with_a_gradient() -> None:
    logits = LOGITS.clone().requires_grad_()
    for name in ("ce", "dice", "ce_dice"):
        loss = make_loss(name)(logits, torch.full_like(LABEL, IGNORE_INDEX))
        assert float(loss.detach()) == 0
        loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_dice_of_a_hand_worked_picture() -> None:
    # Two pixels, two classes, probabilities 0.8/0.2 and 0.4/0.6, labels 0 and 1.
    logits = torch.tensor([[0.8, 0.4], [0.2, 0.6]]).log().reshape(1, 2, 1, 2)
    first, second = 2 * 0.8 / (1.2 + 1), 2 * 0.6 / (0.8 + 1)
    assert float(dice(logits, torch.tensor([[[0, 1]]]))) == pytest.approx(1 - (first + second) / 2, abs=1e-6)


def test_dice_ignores_pixels_and_absent_classes() -> None:
    perfect = torch.full((1, 7, 1, 3), -50.0)
    perfect[0, 0, 0, 0] = perfect[0, 6, 0, 1] = perfect[0, 3, 0, 2] = 50.0
    assert float(dice(perfect, torch.tensor([[[0, 6, IGNORE_INDEX]]]))) == pytest.approx(0, abs=1e-6)


def test_the_sum_is_the_sum() -> None:
    total = make_loss("ce_dice")(LOGITS, LABEL)
    assert torch.allclose(total, cross_entropy(LOGITS, LABEL) + dice(LOGITS, LABEL))


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
    with pytest.raises(UserError, match="--class_weights"):
        class_weights(text, PIXELS, S2DS)


def test_unknown_loss_lists_the_known() -> None:
    with pytest.raises(UserError, match="expected one of ce, dice, ce_dice"):
        make_loss("hinge")
