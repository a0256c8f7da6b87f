"""What a network costs: counts against an independent counter and published figures, latency without side effects."""

from typing import Any

import pytest
import torch
import torch_pruning
from torch import nn

from prune.models import build_model, without_auxiliary
from prune.models.cost import count
from prune.models.freezing import freeze
from prune.models.summary import describe, layer_rows
from prune.pruning.pruner import prune_model
from prune.pruning.settings import PruneSettings

CPU = torch.device("cpu")


def test_count_of_a_convolution_by_hand() -> None:
    model = nn.Sequential(nn.Conv2d(3, 5, 3, padding=1))
    assert count(model, (4, 6)) == (3 * 5 * 9 + 5, 3 * 5 * 9 * 4 * 6)


def test_count_agrees_with_torch_pruning() -> None:
    model: Any = build_model("deeplabv3_tiny", 7)
    parameters, macs = count(model, (64, 96))
    with without_auxiliary(model) as inference:
        other_macs, other = torch_pruning.utils.count_ops_and_params(inference.eval(), torch.zeros(1, 3, 64, 96))
    assert parameters == other
    assert macs == pytest.approx(other_macs, rel=0.01)


@pytest.mark.parametrize("name", ["deeplabv3_tiny", "hrsegnet_b16", "unet", "lraspp_mobilenet_v3_large"])
def test_the_layers_and_the_list_add_up_to_the_count(name: str) -> None:
    with torch.device("meta"):
        model = build_model(name, 2)
    for size in ((64, 64), (75, 90)):
        rows = layer_rows(model, size)
        assert (sum(row.parameters for row in rows), sum(row.macs for row in rows)) == count(model, size)
    described = describe(name, 2)
    assert (described["params"], described["macs"]) == count(model, (described["size"],) * 2)


def test_only_convolutions_and_linear_layers_count() -> None:
    layers = [nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.ConvTranspose2d(4, 2, 2, stride=2), nn.AvgPool2d(2)]
    assert count(nn.Sequential(*layers), (6, 8))[1] == 6 * 8 * (3 * 4 + 4 * 2 * 2 * 2)
    assert count(nn.Sequential(*layers, nn.Flatten(2), nn.Linear(48, 5)), (6, 8))[1] == 6 * 8 * (12 + 32) + 2 * 48 * 5


def test_count_of_the_full_network_is_the_published_one() -> None:
    with torch.device("meta"):
        model: Any = build_model("deeplabv3_resnet101", 7)
    parameters, macs = count(model, (512, 512))
    assert parameters / 1e6 == pytest.approx(58.63, abs=0.005)
    assert macs / 1e9 == pytest.approx(241.9, rel=0.01)


@pytest.mark.slow
def test_half_the_channels_are_a_quarter_of_the_full_network() -> None:
    torch.manual_seed(0)
    model: Any = build_model("deeplabv3_resnet101", 7)
    dense = count(model, (64, 64))
    prune_model(model, PruneSettings(importance_type="Magnitude", p_value=1))
    parameters, macs = (new / old for new, old in zip(count(model, (64, 64)), dense, strict=True))
    assert 0.24 < parameters < 0.27 and 0.24 < macs < 0.27


def test_count_leaves_the_network_alone() -> None:
    model: Any = build_model("deeplabv3_tiny", 7)
    freeze(model.backbone)
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count(model, (64, 64))
    assert list(state) == list(model.state_dict())
    assert all(torch.equal(state[name], tensor) for name, tensor in model.state_dict().items())
    assert model.classifier.training and not model.backbone.training
