"""Sparse training: norms and gradients by hand, against what pruning removes, and what a training does with it."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

import prune
from prune.models import build_model
from prune.models.unet import UNet
from prune.pruning.graph import Graph
from prune.training.group_lasso import GroupLasso
from prune.training.losses import make_loss
from prune.training.settings import TrainSettings
from prune.training.step import TrainingStep, make_optimizer, train_one_epoch
from tests.conftest import refused
from tests.training.test_loop import SMALL

CPU = torch.device("cpu")


def by_hand() -> nn.Sequential:
    """One group of two channels: a convolution with bias, its batch norm, and the classifier that reads them."""
    model = nn.Sequential(nn.Conv2d(3, 2, 1), nn.BatchNorm2d(2), nn.ReLU(), nn.Conv2d(2, 2, 1, bias=False))
    filters = [[1.0, 2.0, 0.0], [0.0, 0.0, 0.0]]
    model[0].weight.data, model[0].bias.data = torch.tensor(filters)[:, :, None, None], torch.tensor([2.0, 0.0])
    model[1].weight.data, model[1].bias.data = torch.tensor([4.0, 0.0]), torch.tensor([-4.0, 0.0])
    model[3].weight.data = torch.tensor([[2.0, 0.0], [2.0, 0.0]])[:, :, None, None]
    return model


def test_norm_and_gradient_by_hand() -> None:
    model = by_hand()
    lasso = GroupLasso(model, weight=0.7 / 8**0.5)
    # 8 weights a channel: 1 + 4 + 2² + 4² + 4² + 2² + 2² = 49; the second channel is zero.
    assert lasso.names == ["0"] and [norm.tolist() for norm in lasso.norms()] == [[7.0, 0.0]]
    assert lasso.root_sizes[0].tolist() == pytest.approx([8**0.5, 8**0.5])
    for parameter in model.parameters():
        parameter.grad = torch.ones_like(parameter)
    lasso.add_gradients()  # 0.7 / √8 · √8 · w / 7 = w / 10
    found = [p.grad.flatten().tolist() for p in model.parameters() if p.grad is not None]
    expected = [[1.1, 1.2, 1, 1, 1, 1], [1.2, 1], [1.4, 1], [0.6, 1], [1.2, 1, 1.2, 1]]
    assert [pytest.approx(values) for values in expected] == found


def test_what_has_no_gradient_is_left_as_it_is() -> None:
    model = by_hand()
    lasso = GroupLasso(model, 1.0)
    model[3].weight.grad = torch.zeros_like(model[3].weight)
    lasso.add_gradients()
    assert model[0].weight.grad is None and model[3].weight.grad[0, 0].item() == pytest.approx(8**0.5 * 2 / 7)


def test_a_norm_is_that_of_the_weights_that_pruning_removes() -> None:
    """A concatenation and a transposed convolution, whose channels lie elsewhere than in the layer that makes them."""
    torch.manual_seed(0)
    model = UNet(2, widths=(4, 6))
    lasso = GroupLasso(model, 1.0)

    def energy(one: nn.Module) -> tuple[float, int]:
        values = torch.cat([p.detach().double().flatten() for p in one.parameters()])
        return float(values.square().sum()), len(values)

    for number, norms in enumerate(lasso.norms()):
        pruned = copy.deepcopy(model)
        graph = Graph(pruned)
        graph.cut(graph.groups()[number], [1])
        (before, all_weights), (after, left) = energy(model), energy(pruned)
        assert norms[1].item() == pytest.approx((before - after) ** 0.5, rel=1e-5)
        assert lasso.root_sizes[number][1].item() == pytest.approx((all_weights - left) ** 0.5)


def test_steps_make_the_norms_small_and_the_loss_is_that_of_the_labels() -> None:
    torch.manual_seed(0)
    start = build_model("hrsegnet_b16", 2)
    batch = torch.rand(2, 3, 32, 32), torch.randint(0, 2, (2, 32, 32))
    config = TrainSettings(optimizer="sgd", lr=0.02, momentum=0.0, weight_decay=0.0, clip=0.0)
    norms, losses = {}, {}
    for weight in (0.0, 0.1):
        step = TrainingStep(copy.deepcopy(start), make_loss("ce"), CPU)
        lasso = GroupLasso(step.model, weight)
        step.sparsity = lasso if weight else None
        scaler, optimizer = torch.amp.GradScaler("cpu", enabled=False), make_optimizer(step.model, config)
        losses[weight] = [
            train_one_epoch(step, [batch], optimizer, scaler, config, lambda number, loss: None) for _ in range(5)
        ]
        norms[weight] = lasso.norms()
    assert losses[0.0][0] == losses[0.1][0]
    assert all((sparse < plain).all() for sparse, plain in zip(norms[0.1], norms[0.0], strict=True))
    before = GroupLasso(start, 1.0).norms()
    assert all((after < first).all() for after, first in zip(norms[0.1], before, strict=True))


def test_a_training_with_the_penalty_says_so_and_differs(
    data: Path, here: Path, shown: None, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {**SMALL, "epochs": 1, "lr": 5e-3, "warmup_epochs": 0}
    plain = prune.train(data, **settings)
    sparse = prune.train(data, sparsity=0.01, **settings)
    assert "group lasso on " in capsys.readouterr().out
    energies = [
        sum(float(norm.square().sum()) for norm in GroupLasso(one.model.module, 1.0).norms()) for one in (plain, sparse)
    ]
    assert energies[1] < energies[0]


def test_a_network_without_prunable_layers_is_refused() -> None:
    with refused("--sparsity: expected layers that can be pruned, found none in Sequential"):
        GroupLasso(nn.Sequential(nn.Conv2d(3, 2, 1)), 1.0)
    with refused("--sparsity: expected at least 0, found -1"):
        prune.train("data", sparsity=-1.0)
