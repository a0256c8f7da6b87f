import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from prune.errors import UserError
from prune.models import all_logits, build_model, mode, output_layers
from prune.models.freezing import freeze
from prune.models.rebuild import rebuild
from prune.pruning.graph import Graph
from prune.pruning.pruner import Hooks, flush_denormals, prune_model
from prune.pruning.recalibrate import recalibrate_batch_norm
from prune.pruning.report import LayerWidth, NetworkCost, PruningReport
from prune.pruning.settings import PruneSettings
from tests.conftest import refused

IMAGES = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def network(auxiliary: bool = True) -> Any:
    """The microscopic DeepLabV3 with batch-norm statistics that are not all 0 and 1."""
    torch.manual_seed(0)
    model: Any = build_model("deeplabv3_tiny", 7, auxiliary)
    with torch.no_grad():
        model.train()
        model(IMAGES)
    return model.eval()


def settings(**changed: Any) -> PruneSettings:
    return PruneSettings(**{"importance_type": "Magnitude", "p_value": 1, **changed})


def gradients_of(model: nn.Module, calls: list[int] | None = None) -> Any:
    def gradients() -> Iterator[None]:
        if calls is not None:
            calls.append(sum(p.numel() for p in model.parameters()))
        for image in IMAGES:
            with mode(model, training=False):
                torch.stack([o.square().mean() for o in all_logits(model, image[None]).values()]).sum().backward()
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


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize(("allocation", "criterion"), [("local", "Magnitude"), ("global", "Random")])
def test_pruned_equals_dense_with_the_removed_channels_silenced(
    allocation: str, criterion: str, backwards: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if backwards:  # The order in which groups are cut must not matter, concatenations included.
        forwards = Graph.groups
        monkeypatch.setattr(Graph, "groups", lambda graph: forwards(graph)[::-1])
    model = network()
    silenced = copy.deepcopy(model)
    outcome = prune_model(model, settings(allocation=allocation, importance_type=criterion))
    layers = dict(silenced.named_modules())
    for name, steps in outcome.removed_inputs.items():
        layers[name].weight.data[:, steps[0]] = 0
    for name, output in logits(model).items():
        assert torch.allclose(output, logits(silenced)[name], atol=1e-5, rtol=1e-5), name


def test_ratio_zero_is_the_identity() -> None:
    model = network()
    before = copy.deepcopy(model.state_dict())
    outcome = prune_model(model, settings(pruning_ratio=0))
    assert all(torch.equal(before[k], v) for k, v in model.state_dict().items())
    assert outcome.removed_inputs == outcome.removed_outputs == {}
    assert not any(layer.shrank for layer in outcome.layers)


def test_the_kept_filters_are_those_of_the_largest_norm() -> None:
    model = network()
    first = model.backbone.conv1.weight.detach().clone()
    prune_model(model, settings())
    norms = first.abs().sum((1, 2, 3))
    expected = norms.argsort(stable=True)[32:].sort().values
    assert torch.equal(model.backbone.conv1.weight, first[expected])


def test_the_report_of_removed_channels_names_what_is_gone_from_every_layer() -> None:
    model = network()
    dense = {name: layer.weight.detach().clone() for name, layer in convolutions(model).items()}
    outcome = prune_model(model, settings())
    for name, layer in convolutions(model).items():
        kept = []
        for axis, record in enumerate((outcome.removed_outputs, outcome.removed_inputs)):
            gone = set(record.get(name, [[]])[0])
            kept.append([i for i in range(dense[name].shape[axis]) if i not in gone])
        assert torch.equal(layer.weight, dense[name][kept[0]][:, kept[1]]), name


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


@pytest.mark.parametrize(("ratio", "steps"), [(40, 3), (40, 6), (90, 9), (37, 7)])
def test_many_steps_end_where_one_step_does_to_the_channel(ratio: int, steps: int) -> None:
    """Ties of rounding included: 20 channels at 40 % are 12, the middle between 8 and 16."""

    def widths(number: int) -> list[int]:
        net: Any = nn.Module()
        net.backbone, net.classifier = nn.Sequential(nn.Conv2d(3, 20, 1), nn.Conv2d(20, 120, 1)), nn.Conv2d(120, 2, 1)
        net.forward = lambda images: net.classifier(net.backbone(images))
        prune_model(net, settings(pruning_ratio=ratio, iterative_steps=number))
        return [layer.out_channels for layer in convolutions(net).values()]

    assert widths(steps) == widths(1)


def test_removed_channels_are_told_step_by_step() -> None:
    outcome = prune_model(network(), settings(iterative_steps=2))
    assert [len(step) for step in outcome.removed_outputs["backbone.conv1"]] == [16, 16]
    assert all(len(steps) == 2 for steps in [*outcome.removed_inputs.values(), *outcome.removed_outputs.values()])


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


def test_frozen_parts_are_frozen_while_fine_tuning_between_steps() -> None:
    model = network()
    freeze(model.backbone)
    seen: list[tuple[bool, bool]] = []

    def finetune(step: int) -> None:
        seen.append(
            (
                any(p.requires_grad for p in model.backbone.parameters()),
                all(p.requires_grad for p in model.classifier.parameters()),
            )
        )

    prune_model(model, settings(iterative_steps=3), Hooks(finetune=finetune))
    assert seen == [(False, True)] * 2
    assert not any(p.requires_grad for p in model.backbone.parameters())


@pytest.mark.parametrize("criterion", ["Magnitude", "Taylor"])
def test_modes_and_frozen_parts_come_back_after_success_and_failure(criterion: str) -> None:
    model = network()
    model.train()
    model.backbone.layer1.eval()
    model.classifier.requires_grad_(False)
    before = {name: m.training for name, m in model.named_modules()}
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}

    def broken() -> Iterator[None]:
        yield from gradients_of(model)()
        raise UserError("no more images")

    if criterion == "Taylor":
        with refused("no more images"):
            prune_model(model, settings(importance_type="Taylor"), Hooks(broken))
    else:
        prune_model(model, settings())
    assert {name: m.training for name, m in model.named_modules()} == before
    assert {name for name, p in model.named_parameters() if not p.requires_grad} == frozen


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
    with refused(r"nothing shrank at --pruning_ratio 1: with --round_to 64"):
        prune_model(network(), settings(pruning_ratio=1, round_to=64))
    with refused("--data: expected labeled images, which Taylor takes gradients on, found none"):
        prune_model(network(), settings(importance_type="Taylor"))

    def only_main_head() -> Iterator[None]:
        all_logits(model, IMAGES)["out"].mean().backward()
        yield

    model = network()
    with refused("no gradient reached layer aux_classifier"):
        prune_model(model, settings(importance_type="Taylor"), Hooks(only_main_head))

    def not_a_number() -> Iterator[None]:
        for _ in gradients_of(model)():
            model.backbone.layer2[0].conv2.weight.grad[0] = float("nan")
            yield

    with refused(r"gradient of layer backbone\.layer2\.0\.conv2 is not finite"):
        prune_model(model, settings(importance_type="Taylor"), Hooks(not_a_number))
    broken = network()
    broken.backbone.conv1.weight.data[:] = float("nan")
    with refused("scores of backbone.conv1 are not finite"):
        prune_model(broken, settings())


class ReshapesToSixteen(nn.Module):
    """A network that cannot be pruned: its forward pass insists on a width."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone, self.classifier = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 2, 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.backbone(images).reshape(len(images), 16, *images.shape[2:]))


def test_a_network_that_no_longer_runs_is_a_readable_error_before_recalibration() -> None:
    calls: list[int] = []
    with refused("the pruned network does not run: shape"):
        prune_model(ReshapesToSixteen(), settings(), Hooks(recalibrate=lambda: calls.append(1)))
    assert not calls


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"pruning_ratio": 100}, "--pruning_ratio: expected at most 99, found 100"),
        ({"pruning_ratio": -1}, "--pruning_ratio: expected at least 0, found -1"),
        (
            {"importance_type": "Magic"},
            "--importance_type: expected one of Taylor, Magnitude, Random, FPGM, .*, found 'Magic'",
        ),
        ({"p_value": 3}, "--p_value: expected at most 2"),
        ({"iterative_steps": 0}, "--iterative_steps: expected at least 1"),
    ],
)
def test_settings_are_checked(flags: dict[str, Any], message: str) -> None:
    with refused(message):
        PruneSettings(**flags)


def test_recalibration_equals_the_plain_mean_and_variance() -> None:
    model: Any = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout(0.5))
    batches = [torch.randn(3, 3, 8, 8) for _ in range(4)]
    model.train()
    recalibrate_batch_norm(model, batches)
    features = [model[0](b).detach() for b in batches]
    means = torch.stack([f.mean((0, 2, 3)) for f in features]).mean(0)
    variances = torch.stack([f.var((0, 2, 3)) for f in features]).mean(0)
    assert torch.allclose(model[1].running_mean, means, atol=1e-6)
    assert torch.allclose(model[1].running_var, variances, atol=1e-6)
    assert model[1].momentum == 0.1 and model.training and model[2].training
    with refused("at least 2 images"):
        recalibrate_batch_norm(model, [torch.randn(1, 3, 8, 8)])
    with refused("at least one batch"):
        recalibrate_batch_norm(model, [])


def test_a_failed_recalibration_keeps_the_old_statistics() -> None:
    norm = nn.BatchNorm2d(2)
    recalibrate_batch_norm(norm, [torch.randn(4, 2, 3, 3)])
    before = {name: buffer.clone() for name, buffer in norm.named_buffers()}
    with refused("at least 2 images"):
        recalibrate_batch_norm(norm, [torch.randn(4, 2, 3, 3), torch.randn(1, 2, 3, 3)])
    assert all(torch.equal(before[name], buffer) for name, buffer in norm.named_buffers())
    assert norm.momentum == 0.1


def test_recalibration_reaches_frozen_batch_norms_and_leaves_them_frozen() -> None:
    model = network()
    freeze(model.backbone)
    mean = model.backbone.bn1.running_mean.clone()
    recalibrate_batch_norm(model, [IMAGES + 1])
    assert not torch.equal(mean, model.backbone.bn1.running_mean)
    model.train()
    assert not model.backbone.bn1.training


def test_the_report_tells_what_was_removed(tmp_path: Path) -> None:
    layers = [LayerWidth("a", "conv 3x3", 3, 3, 64, 32), LayerWidth("b", "conv 1x1", 64, 32, 7, 7)]
    before, after = (
        NetworkCost(71, 4_000_000, 8_000_000_000, 16.0, 20.0),
        NetworkCost(39, 1_008_000, 1_992_000_000, 4.0, 10.0),
    )
    chosen = {"criterion": "L1", "pruning_ratio": 50.0, "allocation": "local", "iterative_steps": 1, "round_to": 8}
    report = PruningReport(chosen, before, after, layers, (512, 512))
    assert [(row[0], row[3]) for row in report.rows()] == [
        ("channels", "-45.1%"),
        ("parameters M", "-74.8%"),
        ("MACs G at 512x512", "-75.1%"),
        ("file MiB", "-75.0%"),
        ("latency ms", "-50.0%"),
    ]
    assert "pruning ratio 50% of channels" in str(report) and "2 of 2 layers shrank" in str(report)
    assert json.loads(json.dumps(report.to_json()))["layers"][0]["out_after"] == 32
    lines = report.write_csv(tmp_path / "layers.csv").read_text().splitlines()
    assert lines == [
        "name,kind,in_before,in_after,out_before,out_after",
        "a,conv 3x3,3,3,64,32",
        "b,conv 1x1,64,32,7,7",
    ]


def test_what_was_not_measured_is_left_out_of_the_report() -> None:
    cost = NetworkCost(71, 4_000_000, 8_000_000_000, 16.0, None)
    assert "latency ms" not in [row[0] for row in PruningReport({}, cost, cost, [], (64, 64)).rows()]


def test_recalibration_runs_after_the_last_step_only() -> None:
    model, calls = network(), []

    def recalibrate() -> None:
        calls.append(convolutions(model)["backbone.conv1"].out_channels)

    prune_model(model, settings(iterative_steps=2), Hooks(recalibrate=recalibrate))
    assert calls == [32]


def test_denormals_become_zero() -> None:
    layer: Any = nn.Conv2d(1, 1, 1)
    layer.weight.data[:] = 1e-40
    layer.bias.data[:] = 1e-30
    flush_denormals(layer)
    assert layer.weight.item() == 0 and layer.bias.item() > 0
