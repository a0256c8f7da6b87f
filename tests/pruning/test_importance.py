"""Exact answers on hand-set weights, and Taylor's ranking against the truth."""

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn
from torch.nn import functional as F

from prune.pruning.allocation import global_widths, local_widths, rounded
from prune.pruning.criteria.criterion import Criterion
from prune.pruning.criteria.gradients import Taylor
from prune.pruning.criteria.make import make_criterion
from prune.pruning.criteria.weights import Magnitude, Random
from prune.pruning.graph import Graph
from prune.pruning.group import Group, Member
from prune.pruning.pruner import Hooks, prune_model
from prune.pruning.settings import PruneSettings
from tests.conftest import refused


def conv(weights: list[list[float]]) -> nn.Conv2d:
    """A 1x1 convolution with the given (out, in) weights."""
    layer = nn.Conv2d(len(weights[0]), len(weights), 1, bias=False)
    layer.weight.data = torch.tensor(weights)[:, :, None, None]
    return layer


def member(layer: nn.Conv2d, channels: int, offset: int = 0) -> Member:
    return Member(layer, torch.arange(channels) + offset, torch.arange(channels))


PRODUCER = conv([[3.0, -4.0], [1.0, 0.0], [-2.0, 2.0]])
CONSUMER = conv([[1.0, 2.0, -1.0], [0.5, -3.0, 2.0]])
GROUP = Group(3, (member(PRODUCER, 3),), (member(CONSUMER, 3),))


def test_l1_and_l2_are_the_filter_norms() -> None:
    assert Magnitude(1).score(GROUP).tolist() == [7, 1, 4]
    assert torch.allclose(Magnitude(2).score(GROUP), torch.tensor([5, 1, 8**0.5], dtype=torch.float64))


def test_coupled_producers_count_together() -> None:
    group = Group(3, (member(PRODUCER, 3), member(conv([[0.0, 0.0], [10.0, 0.0], [0.0, 1.0]]), 3)), ())
    assert Magnitude(1).score(group).tolist() == [7, 11, 5]


def test_magnitudes_are_relative_across_groups() -> None:
    assert torch.allclose(Magnitude(1).comparable(torch.tensor([7.0, 1, 4])).mean(), torch.tensor(1.0))
    assert Magnitude(1).comparable(torch.zeros(3)).tolist() == [0, 0, 0]


def fill(layer: nn.Conv2d, gradients: list[list[list[float]]]) -> Iterator[None]:
    for gradient in gradients:
        layer.weight.grad = torch.tensor(gradient)[:, :, None, None]
        yield


def test_taylor_is_the_mean_squared_first_order_change_per_batch() -> None:
    criterion = Taylor()
    batches = [[[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]], [[-1.0, 0.0, 1.0], [-2.0, 0.0, 1.0]]]
    criterion.collect(CONSUMER, fill(CONSUMER, batches))
    # Channel 0: 1*1 + 0.5*2 = 2 and −2; channel 1: 2 − 3 = −1 and 0; channel 2: −1 + 0 = −1 and −1 + 2 = 1.
    assert criterion.score(GROUP).tolist() == [4, 0.5, 1]


def test_taylor_adds_the_signed_effects_of_all_readers_before_squaring() -> None:
    second = conv([[1.0, 1.0, 1.0]])
    both = nn.ModuleList([CONSUMER, second])
    second_gradient, first_gradient = (
        fill(second, [[[-2.0, 1.0, 3.0]]]),
        fill(CONSUMER, [[[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]]]),
    )
    criterion = Taylor()
    criterion.collect(both, (None for _ in zip(first_gradient, second_gradient, strict=True)))
    group = Group(3, (member(PRODUCER, 3),), (member(CONSUMER, 3), member(second, 3)))
    assert criterion.score(group).tolist() == [0, 0, 4]


def test_taylor_maps_channels_of_a_concatenation() -> None:
    wide = conv([[9.0, 1.0, 2.0, 3.0]])
    criterion = Taylor()
    criterion.collect(wide, fill(wide, [[[5.0, 1.0, 1.0, 1.0]]]))
    assert criterion.score(Group(3, (), (member(wide, 3, offset=1),))).tolist() == [1, 4, 9]


def test_taylor_refuses_missing_and_broken_gradients() -> None:
    layer = conv([[1.0]])
    with refused("is not finite"):
        Taylor().collect(nn.Sequential(layer), fill(layer, [[[float("inf")]]]))
    layer.zero_grad()
    with refused("no gradient reached layer"):
        Taylor().collect(nn.Sequential(layer), iter([None]))
    with refused("is not finite"):
        Taylor().collect(nn.Sequential(layer), fill(layer, [[[float("nan")]]]))
    with refused("at least one labeled batch"):
        Taylor().collect(nn.Sequential(layer), iter([]))


def test_a_gradient_that_was_not_cleared_does_not_leak_into_the_next_batch() -> None:
    layer = conv([[1.0, 2.0]])

    def accumulating() -> Iterator[None]:
        for sign in (1, -1):
            (sign * layer(torch.ones(1, 2, 1, 1)).sum()).backward()
            yield

    criterion = Taylor()
    criterion.collect(layer, accumulating())
    assert criterion.score(Group(2, (), (member(layer, 2),))).tolist() == [1, 4]
    assert layer.weight.grad is None


def test_random_follows_its_seed() -> None:
    first, again, other = (Random(seed).score(GROUP) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_names_pick_criteria() -> None:
    assert isinstance(make_criterion(PruneSettings(importance_type="taylor")), Taylor)
    magnitude = make_criterion(PruneSettings(importance_type="MAGNITUDE", p_value=1))
    assert isinstance(magnitude, Magnitude) and magnitude.p == 1


def test_widths_are_rounded_and_never_vanish() -> None:
    assert [rounded(w, 8, 64) for w in (1, 11, 12.5, 32, 70)] == [8, 8, 16, 32, 64]
    assert rounded(2, 8, 4) == 4
    assert [rounded(w, 8, 99) for w in (12, 20, 28)] == [16, 24, 32]  # every tie goes up, not every second one
    assert [rounded(20 * (1 - r), 8, 20) for r in (0.4, 0.4 * 3 / 3)] == [16, 16]
    assert local_widths([64, 20, 4], 0.5, 8) == [32, 8, 4]


def test_global_ranking_takes_the_lowest_of_the_whole_network() -> None:
    scores = [torch.tensor([1.0, 2, 9, 9]), torch.tensor([3.0, 8, 8, 8]), torch.tensor([0.1, 0.2, 0.3, 0.4])]
    assert global_widths(scores, [4, 4, 4], 0.5, 1, 0.75) == [2, 3, 1]
    assert global_widths(scores, [4, 4, 4], 0.99, 1, 0.75) == [1, 1, 1]


class HandMade(nn.Module):
    """Two branches that are concatenated, a residual sum, and a linear head that reads flattened 2x2 maps."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone: Any = nn.ModuleDict(
            {
                "left": nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)),
                "right": nn.Conv2d(3, 6, 1),
                "join": nn.Conv2d(10, 4, 1),
                "inner": nn.Conv2d(4, 4, 1),
            }
        )
        self.classifier: Any = nn.Sequential(nn.Linear(16, 8), nn.ReLU(), nn.Conv2d(8, 3, 1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        layers = self.backbone
        joined = layers["join"](torch.cat([layers["left"](images), layers["right"](images)], 1).relu())
        joined = joined + layers["inner"](joined.relu())
        flat = F.adaptive_avg_pool2d(joined, 2).flatten(1)
        hidden = self.classifier[1](self.classifier[0](flat))
        return self.classifier[2](hidden[:, :, None, None])


def groups_of(model: nn.Module) -> dict[str, Group]:
    """The groups of a network by the name of their first layer, as the pruner sees them."""
    graph = Graph(model)
    return {graph.root_name(group): graph.coupling(group) for group in graph.groups()}


def names_of(model: nn.Module, members: tuple[Member, ...]) -> list[str]:
    names = {module: name for name, module in model.named_modules()}
    return sorted(names[member.layer] for member in members)


def test_members_are_mapped_through_concatenation_residual_sum_and_flattening() -> None:
    model = HandMade()
    by_producer = {n: g for g in groups_of(model).values() for n in names_of(model, g.producers)}
    left, right, residual = (by_producer[f"backbone.{n}"] for n in ("left.0", "right", "join"))
    assert left.consumers[0].indices.tolist() == [0, 1, 2, 3]
    assert right.consumers[0].indices.tolist() == [4, 5, 6, 7, 8, 9]
    assert right.consumers[0].roots.tolist() == [0, 1, 2, 3, 4, 5]
    assert names_of(model, residual.producers) == ["backbone.inner", "backbone.join"]
    assert names_of(model, residual.consumers) == ["backbone.inner", "classifier.0"]
    flat = next(m for m in residual.consumers if isinstance(m.layer, nn.Linear))
    assert sorted(zip(flat.roots.tolist(), flat.indices.tolist(), strict=True)) == [(i // 4, i) for i in range(16)]
    assert not any("classifier.2" in names_of(model, g.producers) for g in by_producer.values())


def test_taylor_sees_the_scale_of_batch_norm() -> None:
    torch.manual_seed(0)
    model = HandMade().eval()
    with torch.no_grad():
        model.backbone["left"][1].weight[2] = model.backbone["left"][1].bias[2] = 0
    criterion = Taylor()

    def gradients() -> Iterator[None]:
        model(torch.randn(2, 3, 8, 8)).square().sum().backward()
        yield

    criterion.collect(model, gradients())
    scores = criterion.score(groups_of(model)["backbone.left.0"])
    assert scores[2] == 0 and (scores[[0, 1, 3]] > 0).all()


def three_layers() -> Any:
    """1x1 convolutions 3 → 4 → 4 → 2 with set weights: filter norms 1, 4, 2, 3 and 70, 9, 10, 11."""
    model: Any = nn.Module()
    first, second, last = (nn.Conv2d(i, o, 1, bias=False) for i, o in ((3, 4), (4, 4), (4, 2)))
    first.weight.data = torch.tensor([1.0, 4, 2, 3])[:, None, None, None] * torch.tensor([1.0, 0, 0])[:, None, None]
    second.weight.data = torch.tensor([70.0, 9, 10, 11])[:, None, None, None] * torch.eye(4)[1:2, :, None, None]
    last.weight.data.fill_(1)
    model.backbone, model.classifier = nn.Sequential(first, second), nn.Sequential(last)
    model.forward = lambda images: model.classifier(model.backbone(images))
    return model


@pytest.mark.parametrize(
    ("flags", "first", "second"),
    [
        ({"p_value": 1}, [4, 3], [70, 11]),
        ({"p_value": 2}, [4, 3], [70, 11]),
        ({"p_value": 1, "pruning_ratio": 25}, [4, 2, 3], [70, 10, 11]),
        # Relative to their mean the norms are 0.4 1.6 0.8 1.2 and 2.8 0.36 0.4 0.44: one goes here, three there.
        ({"p_value": 1, "allocation": "global"}, [4, 2, 3], [70]),
    ],
)
def test_exactly_the_expected_filters_are_kept(flags: dict[str, Any], first: list[int], second: list[int]) -> None:
    model = three_layers()
    prune_model(model, PruneSettings(**{"importance_type": "Magnitude", "round_to": 1, **flags}))
    assert model.backbone[0].weight[:, 0, 0, 0].tolist() == first
    assert model.backbone[1].weight.flatten(1).sum(1).tolist() == second
    assert model.backbone[1].weight.shape == (len(second), len(first), 1, 1)
    assert model.classifier[0].weight.shape == (2, len(second), 1, 1)


@pytest.mark.parametrize(("allocation", "first", "second"), [("local", [1, 3], [0, 2]), ("global", [1], [0, 2, 3])])
def test_taylor_keeps_exactly_the_expected_channels(allocation: str, first: list[int], second: list[int]) -> None:
    model = three_layers()
    readers = (model.backbone[1], model.classifier[0])
    readers[0].weight.data = torch.ones(4, 4, 1, 1)
    # Effects of the input channels, Σ w·g: 4·(0.1, 0.9, 0.2, 0.3) for the first group and 2·(3, 0.1, 4, 2) for the second.
    effects = (torch.tensor([0.1, 0.9, 0.2, 0.3]), torch.tensor([3.0, 0.1, 4.0, 2.0]))

    def gradients() -> Iterator[None]:
        model.backbone[0].weight.grad = torch.zeros_like(model.backbone[0].weight)
        for layer, effect in zip(readers, effects, strict=True):
            layer.weight.grad = effect[None, :, None, None].expand_as(layer.weight).clone()
        yield

    config = PruneSettings(importance_type="Taylor", allocation=allocation, round_to=1)
    outcome = prune_model(model, config, Hooks(gradients))
    removed = [outcome.removed_outputs[name][0] for name in ("backbone.0", "backbone.1")]
    assert removed == [sorted({0, 1, 2, 3} - set(kept)) for kept in (first, second)]
    assert outcome.removed_inputs == {"backbone.1": [removed[0]], "classifier.0": [removed[1]]}


def small_network() -> Any:
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1, bias=False),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 24, 3, padding=1, bias=False),
        nn.BatchNorm2d(24),
        nn.ReLU(),
        nn.Conv2d(24, 3, 1),
    )


def striped_batch(generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Dark lines (2), bright squares (1) on noise (0): a task a few seconds of training solve."""
    image, label = torch.randn(4, 3, 24, 24, generator=generator) * 0.5, torch.zeros(4, 24, 24, dtype=torch.long)
    for n in range(4):
        row, column, line = torch.randint(0, 16, (3,), generator=generator).tolist()
        label[n, row : row + 7, column : column + 7] = 1
        label[n, :, line] = 2
    return image + torch.tensor([0.0, 1.2, -1.2])[label][:, None], label


def ablation_truth(model: Any, batches: list[tuple[torch.Tensor, torch.Tensor]], norm: int) -> np.ndarray:
    """True change |ΔL| of the mean loss when one channel after the other is silenced."""

    def losses(net: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return np.array([float(F.cross_entropy(net(x), y)) for x, y in batches])

    before, truth = losses(model), []
    for channel in range(model[norm].num_features):
        silenced = copy.deepcopy(model)
        silenced[norm].weight.data[channel] = silenced[norm].bias.data[channel] = 0
        truth.append(abs((losses(silenced) - before).mean()))
    return np.array(truth)


def trained_network(generator: torch.Generator) -> Any:
    model = small_network()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    for _ in range(200):
        images, labels = striped_batch(generator)
        optimizer.zero_grad()
        F.cross_entropy(model(images), labels).backward()
        optimizer.step()
    return model.eval()


def rank_correlations(seed: int) -> dict[str, list[float]]:
    """Spearman correlation of each criterion with the true |ΔL|, for both layers of one trained network."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = trained_network(generator)
    batches = [striped_batch(generator) for _ in range(8)]

    def gradients() -> Iterator[None]:
        for images, labels in batches:
            F.cross_entropy(model(images), labels).backward()
            yield

    criteria: dict[str, Criterion] = {"taylor": Taylor(), "random": Random(seed), "l1": Magnitude(1)}
    criteria["taylor"].collect(model, gradients())
    found: dict[str, list[float]] = {name: [] for name in criteria}
    for producer, norm, consumer in ((0, 1, 3), (3, 4, 6)):
        truth = ablation_truth(model, batches, norm)
        group = Group(len(truth), (member(model[producer], len(truth)),), (member(model[consumer], len(truth)),))
        for name, criterion in criteria.items():
            found[name].append(spearmanr(criterion.score(group), truth).statistic)
    return found


def test_taylor_ranks_channels_like_the_true_change_of_the_loss() -> None:
    found = [rank_correlations(seed) for seed in (0, 1, 2)]
    mean = {name: float(np.mean([f[name] for f in found])) for name in found[0]}
    # Measured over 12 seeds: Taylor 0.77 on average, single networks from 0.55 to 0.91.
    assert mean["taylor"] > 0.65, found
    assert mean["taylor"] > mean["random"] + 0.4, found
    assert mean["taylor"] > mean["l1"] + 0.4, found
