"""The moving average of the weights: its values by hand, and what a training does with it."""

from pathlib import Path

import pytest
import torch
from torch import nn

import prune
from prune.models import build_model
from prune.models.checkpoint import load_checkpoint
from prune.models.torch_file import read_torch
from prune.training.averaging import AveragedWeights, decay_at
from tests.conftest import refused
from tests.training.test_loop import SMALL


def test_the_decay_rises_from_a_copy_to_what_was_asked_for() -> None:
    assert [decay_at(t, 0.99) for t in (0, 1, 3, 9, 891, 10_000)] == [0, 0.1, 0.25, 0.5, 0.99, 0.99]
    assert decay_at(5, 0.0) == 0


def test_the_average_by_hand() -> None:
    layer = nn.Linear(1, 1, bias=False)
    average = AveragedWeights(layer, 0.15)
    found = []
    for value in (8.0, 18.0, 2.0):
        nn.init.constant_(layer.weight, value)
        average.update()
        found.append(average.weights["weight"].item())
    # A copy; 0.1 · 8 + 0.9 · 18; then 2 / 11 is more than 0.15, so 0.15 · 17 + 0.85 · 2.
    assert found == pytest.approx([8, 17, 4.25], rel=1e-6)


def test_buffers_and_frozen_parameters_are_those_of_the_network() -> None:
    model = build_model("deeplabv3_tiny", 2)
    model.backbone.requires_grad_(False)
    average = AveragedWeights(model, 0.9)
    assert all(not name.startswith("backbone") for name in average.weights)
    average.update()
    nn.init.zeros_(model.classifier[4].weight)
    model.backbone.bn1.running_mean.fill_(7)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError), average.applied():
        assert model.classifier[4].weight.all() and (model.backbone.bn1.running_mean == 7).all()
        raise RuntimeError
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    with average.applied():  # nothing of the average was lost on the way
        assert model.classifier[4].weight.all()


def test_a_stored_average_goes_on_where_it_stopped() -> None:
    layers = [nn.Linear(3, 2), nn.Linear(3, 2)]
    first, second = (AveragedWeights(layer, 0.9) for layer in layers)
    for _ in range(3):
        nn.init.normal_(layers[0].weight)
        first.update()
    second.load_state_dict(first.state_dict())
    layers[1].load_state_dict(layers[0].state_dict())
    for average in (first, second):
        average.update()
    assert second.updates == 4 and all(torch.equal(first.weights[n], second.weights[n]) for n in first.weights)


@pytest.mark.slow
def test_the_averaged_weights_are_validated_and_kept(data: Path, here: Path) -> None:
    settings = {**SMALL, "epochs": 1, "lr": 5e-3, "warmup_epochs": 0}
    plain = prune.train(data, run="plain", **settings)
    averaged = prune.train(data, run="averaged", ema=0.9, **settings)
    last = [read_torch(Path(name) / "last.pth") for name in ("plain", "averaged")]
    kept = load_checkpoint(Path("averaged/best.pth")).model.state_dict()
    assert all(torch.equal(value, last[1]["model"][name]) for name, value in last[0]["model"].items())
    assert "average" not in last[0] and last[1]["average"]["updates"] == 2  # 8 images in batches of 4
    for name, value in kept.items():
        source = last[1]["average"]["weights"].get(name, last[1]["model"][name])
        torch.testing.assert_close(value, source, rtol=0, atol=1e-37)  # denormals are written as zero
    assert not torch.equal(kept["classifier.4.weight"], last[1]["model"]["classifier.4.weight"])
    assert averaged.history[0]["train_loss"] == plain.history[0]["train_loss"]
    assert averaged.history[0]["val_loss"] != plain.history[0]["val_loss"]


def test_a_decay_of_one_is_refused() -> None:
    with refused("--ema: expected less than 1, found 1"):
        prune.train("data", ema=1.0)
