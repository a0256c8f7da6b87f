import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from prune.config import PruneConfig
from prune.errors import UserError
from prune.models import all_logits, build_model, output_layers
from prune.models.freezing import freeze
from prune.models.rebuild import rebuild
from prune.pruning.pruner import Hooks, flush_denormals, prune_model
from prune.pruning.recalibrate import recalibrate_batch_norm

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(auxiliary: bool = True) -> nn.Module:
    """The microscopic DeepLabV3 with batch-norm statistics that are not all 0 and 1."""
    torch.manual_seed(0)
    model = build_model("deeplabv3_tiny", 7, auxiliary)
    with torch.no_grad():
        model.train()
        model(IMAGES)
    return model.eval()


def settings(**changed: Any) -> PruneConfig:
    return PruneConfig(**{"importance_type": "Magnitude", "p_value": 1, **changed})


def gradients_of(model: nn.Module, calls: list[int] | None = None) -> Any:
    def gradients() -> Iterator[None]:
        if calls is not None:
            calls.append(sum(p.numel() for p in model.parameters()))
        for image in IMAGES:
            model.zero_grad()
            sum(o.square().mean() for o in all_logits(model, image[None]).values()).backward()
            yield

    return gradients


def logits(model: nn.Module) -> dict[str, torch.Tensor]:
    with torch.no_grad():
        return dict(all_logits(model, IMAGES))


def convolutions(model: nn.Module) -> dict[str, nn.Conv2d]:
    return {n: m for n, m in model.named_modules() if isinstance(m, nn.Conv2d)}


@pytest.mark.parametrize("criterion", ["Magnitude", "Taylor", "Random"])
def test_every_convolution_shrinks_and_class_outputs_stay(criterion: str) -> None:
    model = network()
    dense = {n: (m.in_channels, m.out_channels) for n, m in convolutions(model).items()}
    prune_model(model, settings(importance_type=criterion, round_to=1), Hooks(gradients_of(model)))
    outputs = output_layers(model)
    for name, layer in convolutions(model).items():
        assert layer.out_channels == dense[name][1] * (1 if layer in outputs else 0.5), name
        assert layer.in_channels == dense[name][0] * (1 if name == "backbone.conv1" else 0.5), name
    assert [layer.out_channels for layer in outputs] == [7, 7]
    assert {n: o.shape for n, o in logits(model).items()} == {"out": (2, 7, 64, 64), "aux": (2, 7, 64, 64)}


@pytest.mark.parametrize("allocation", ["local", "global"])
def test_pruned_equals_dense_with_the_removed_channels_silenced(allocation: str) -> None:
    model = network()
    silenced = copy.deepcopy(model)
    outcome = prune_model(model, settings(allocation=allocation))
    layers = dict(silenced.named_modules())
    for name, steps in outcome.removed_inputs.items():
        layers[name].weight.data[:, steps[0]] = 0
    for name, output in logits(model).items():
        assert torch.allclose(output, logits(silenced)[name], atol=1e-4, rtol=1e-4), name


def test_ratio_zero_is_the_identity() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    outcome = prune_model(model, settings(pruning_ratio=0))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert not any(layer.shrank for layer in outcome.layers)


def test_the_kept_filters_are_those_of_the_largest_norm() -> None:
    model = network()
    first = model.backbone.conv1.weight.detach().clone()
    prune_model(model, settings())
    norms = first.abs().sum((1, 2, 3))
    expected = norms.argsort(stable=True)[32:].sort().values
    assert torch.equal(model.backbone.conv1.weight, first[expected])


def test_iterative_widths_equal_one_shot_and_gradients_are_taken_anew() -> None:
    one, many = network(), network()
    prune_model(one, settings(importance_type="Taylor"), Hooks(gradients_of(one)))
    sizes: list[int] = []
    tuned: list[int] = []
    prune_model(
        many, settings(importance_type="Taylor", iterative_steps=3), Hooks(gradients_of(many, sizes), tuned.append)
    )
    assert len(sizes) == 3 and sizes[0] > sizes[1] > sizes[2]
    assert tuned == [1, 2]
    widths = [[m.out_channels for m in convolutions(n).values()] for n in (one, many)]
    assert widths[0] == widths[1]


def test_round_to_makes_multiples() -> None:
    model = network()
    prune_model(model, settings(pruning_ratio=30, round_to=8))
    outputs = output_layers(model)
    assert all(m.out_channels % 8 == 0 for m in convolutions(model).values() if m not in outputs)


def test_global_allocation_keeps_every_layer_alive_and_hits_the_share() -> None:
    model = network()
    outcome = prune_model(model, settings(allocation="global", pruning_ratio=70, round_to=1))
    assert all(layer.out_after >= max(1, round(layer.out_before * 0.1)) for layer in outcome.layers)
    shares = {layer.out_after / layer.out_before for layer in outcome.layers if layer.out_before > 7}
    assert len(shares) > 3


def test_a_frozen_backbone_is_pruned_and_stays_frozen() -> None:
    model = network()
    freeze(model.backbone)
    before = sum(p.numel() for p in model.backbone.parameters())
    prune_model(model, settings())
    assert sum(p.numel() for p in model.backbone.parameters()) < before / 3
    assert not any(p.requires_grad for p in model.backbone.parameters())
    assert all(p.requires_grad for p in model.classifier.parameters())
    model.train()
    assert not model.backbone.bn1.training and model.classifier.training


def test_one_pruning_does_not_influence_the_next() -> None:
    first, second = network(), network()
    prune_model(first, settings())
    prune_model(network(auxiliary=False), settings(pruning_ratio=25))
    prune_model(second, settings())
    assert all(
        torch.equal(a, b) for a, b in zip(first.state_dict().values(), second.state_dict().values(), strict=True)
    )


def test_a_pruned_network_is_rebuilt_bit_equal_from_its_state() -> None:
    model = network()
    prune_model(model, settings(allocation="global", pruning_ratio=60))
    again = rebuild("deeplabv3_tiny", 7, True, model.state_dict())
    assert all(torch.equal(logits(model)[name], output) for name, output in logits(again).items())


def test_failures_are_loud() -> None:
    with pytest.raises(UserError, match=r"nothing shrank at --pruning_ratio 1: with --round_to 64"):
        prune_model(network(), settings(pruning_ratio=1, round_to=64))
    with pytest.raises(UserError, match="Taylor needs labeled batches"):
        prune_model(network(), settings(importance_type="Taylor"))

    def only_main_head() -> Iterator[None]:
        all_logits(model, IMAGES)["out"].mean().backward()
        yield

    model = network()
    with pytest.raises(UserError, match="no gradient reached layer aux_classifier"):
        prune_model(model, settings(importance_type="Taylor"), Hooks(only_main_head))
    broken = network()
    broken.backbone.conv1.weight.data[:] = float("nan")
    with pytest.raises(UserError, match="scores of backbone.conv1 are not finite"):
        prune_model(broken, settings())


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pruning_ratio": 100}, "--pruning_ratio: expected at most 99, found 100"),
        ({"pruning_ratio": -1}, "--pruning_ratio: expected at least 0, found -1"),
        ({"importance_type": "Magic"}, "--importance_type: expected one of Taylor, Magnitude, Random, found 'Magic'"),
        ({"p_value": 3}, "--p_value: expected at most 2"),
        ({"iterative_steps": 0}, "--iterative_steps: expected at least 1"),
    ],
)
def test_settings_are_checked(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        PruneConfig(**flags)


def test_recalibration_equals_the_plain_mean_and_variance() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    batches = [torch.randn(3, 3, 8, 8) for _ in range(4)]
    model.train()
    recalibrate_batch_norm(model, batches)
    features = [model[0](b).detach() for b in batches]
    means = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    variances = torch.stack([f.var((0, 2, 3)) for f in features]).mean(0)
    assert torch.allclose(model[1].running_mean, means, atol=1e-6)
    assert torch.allclose(model[1].running_var, variances, atol=1e-6)
    assert model[1].momentum == 0.1 and model.training and model[2].training
    with pytest.raises(UserError, match="at least 2 images"):
        recalibrate_batch_norm(model, [torch.randn(1, 3, 8, 8)])
    with pytest.raises(UserError, match="at least one batch"):
        recalibrate_batch_norm(model, [])


def test_recalibration_runs_after_the_last_step_only() -> None:
    model, calls = network(), []

    def recalibrate() -> None:
        calls.append(convolutions(model)["backbone.conv1"].out_channels)

    prune_model(model, settings(iterative_steps=2), Hooks(recalibrate=recalibrate))
    assert calls == [32]


def test_denormals_become_zero() -> None:
    layer = nn.Conv2d(1, 1, 1)
    layer.weight.data[:] = 1e-40
    layer.bias.data[:] = 1e-30
    flush_denormals(layer)
    assert layer.weight.item() == 0 and layer.bias.item() > 0
