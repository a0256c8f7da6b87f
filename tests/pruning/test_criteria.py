"""Exact answers of every criterion on weights and gradients set by hand, within a group and across groups."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import nn

from prune.pruning.criteria import IMPORTANCE_TYPES
from prune.pruning.criteria.gradients import ClassBalancedTaylor, Hessian, Jacobian, Taylor
from prune.pruning.criteria.make import make_criterion
from prune.pruning.criteria.weights import FPGM, LAMP, BNScale, Magnitude
from prune.pruning.graph import Graph
from prune.pruning.group import Group, Member
from prune.pruning.pruner import Hooks, prune_model
from prune.pruning.settings import PruneSettings
from tests.conftest import refused
from tests.pruning.test_importance import CONSUMER, GROUP, HandMade, conv, fill, groups_of, member, small_network


def norm(scales: list[float], shifts: list[float] | None = None) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(len(scales))
    layer.weight.data, layer.bias.data = torch.tensor(scales), torch.tensor(shifts or [0.0] * len(scales))
    return layer


def scored(norms: tuple[Member, ...]) -> list[float]:
    return BNScale().score(Group(3, (), (), norms)).tolist()


def near(scores: torch.Tensor, expected: list[float]) -> None:
    assert torch.allclose(scores, torch.tensor(expected, dtype=torch.float64), atol=1e-9), scores.tolist()


def test_fpgm_is_the_mean_distance_from_the_other_filters() -> None:
    # (0, 0), (3, 4), (6, 8) on a line: the one in the middle is the geometric median, and the smallest is not.
    layer = conv([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    near(FPGM().score(Group(3, (member(layer, 3),), ())), [7.5, 5, 7.5])
    near(FPGM().comparable(torch.tensor([7.5, 5, 7.5], dtype=torch.float64)), [1.125, 0.75, 1.125])
    assert FPGM().score(Group(1, (member(conv([[2.0]]), 1),), ())).tolist() == [0]


def test_fpgm_joins_the_filters_of_coupled_layers_and_knows_equal_ones() -> None:
    first, second = conv([[0.0], [3.0], [0.0]]), conv([[0.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
    group = Group(3, (member(first, 3), member(second, 3)), ())
    near(FPGM().score(group), [2.5, 5, 2.5])  # 3 and 4 make 5; channels 0 and 2 are the same


def test_fpgm_compares_within_each_layer_of_a_concatenation() -> None:
    left = Member(conv([[0.0], [4.0]]), torch.tensor([0, 1]), torch.tensor([0, 1]))
    right = Member(conv([[0.0], [1.0], [3.0]]), torch.tensor([0, 1, 2]), torch.tensor([2, 3, 4]))
    near(FPGM().score(Group(5, (left, right), ())), [4, 4, 2, 1.5, 2.5])


def test_fpgm_of_a_transposed_convolution_and_of_repeated_channels() -> None:
    layer = nn.ConvTranspose2d(2, 3, 1, bias=False)
    layer.weight.data = torch.tensor([[0.0, 3.0, 6.0], [0.0, 4.0, 8.0]])[:, :, None, None]
    near(FPGM().score(Group(3, (member(layer, 3),), ())), [7.5, 5, 7.5])  # type: ignore[arg-type]
    linear = nn.Linear(1, 4, bias=False)
    linear.weight.data = torch.tensor([[0.0], [0.0], [3.0], [4.0]])  # channel 0 twice, channel 1 twice
    repeated = Member(linear, torch.arange(4), torch.tensor([0, 0, 1, 1]))
    near(FPGM().score(Group(2, (repeated,), ())), [5, 5])


def test_lamp_is_the_share_of_what_is_at_least_as_large() -> None:
    layer = conv([[2.0], [1.0], [3.0]])  # squares 4, 1, 9
    near(LAMP().score(Group(3, (member(layer, 3),), ())), [4 / 13, 1 / 14, 1])
    near(LAMP().score(Group(3, (member(conv([[1.0], [1.0], [2.0]]), 3),), ())), [1 / 6, 1 / 6, 2 / 3 * 1.5])


def test_lamp_adds_the_squares_of_coupled_layers() -> None:
    group = Group(2, (member(conv([[1.0], [1.0]]), 2), member(conv([[2.0], [0.0]]), 2)), ())
    near(LAMP().score(group), [1, 1 / 6])


def test_lamp_refuses_filters_that_are_all_zero() -> None:
    with refused("^LAMP: expected weights that are not all zero, found none in the filters of backbone.left"):
        LAMP().score(Group(2, (member(conv([[0.0], [0.0]]), 2),), (), (), "backbone.left"))


def test_bn_scale_is_the_mean_absolute_gamma() -> None:
    assert scored((Member(norm([-2.0, 0.5, 1.0]), torch.arange(3), torch.arange(3)),)) == [2, 0.5, 1]
    both = [Member(norm(scales), torch.arange(3), torch.arange(3)) for scales in ([1.0, 2.0, 3.0], [3.0, 0.0, -1.0])]
    assert scored(tuple(both)) == [2, 1, 2]
    wide = Member(norm([9.0, 1.0, 2.0, 3.0]), torch.tensor([1, 2, 3]), torch.arange(3))
    assert scored((wide,)) == [1, 2, 3]


def test_bn_scale_refuses_a_layer_without_batch_norm() -> None:
    with refused("^--importance_type BNScale: expected batch norm behind every layer, found none behind classifier.0"):
        prune_model(HandMade(), PruneSettings(importance_type="BNScale", round_to=1))
    with refused("found none behind backbone.right; choose another criterion$"):
        BNScale().score(Group(2, (), (), (), "backbone.right"))


def test_hessian_is_half_the_squared_weight_times_the_mean_squared_gradient() -> None:
    criterion = Hessian()
    samples = [[[1.0, 1.0, 1.0], [2.0, 1.0, 0.0]], [[-1.0, 0.0, 1.0], [-2.0, 0.0, 1.0]]]
    criterion.collect(CONSUMER, fill(CONSUMER, samples))
    # Channel 0: ½(1²·1 + 0.5²·4) = 1; channel 1: ½(2²·½ + 3²·½) = 3.25; channel 2: ½(1·1 + 2²·½) = 1.5.
    near(criterion.score(GROUP), [1, 3.25, 1.5])


def test_hessian_adds_all_readers_and_signs_do_not_cancel() -> None:
    layer = conv([[1.0], [1.0]])
    criterion = Hessian()
    criterion.collect(layer, fill(layer, [[[2.0], [-2.0]]]))
    near(criterion.score(Group(1, (), (member(layer, 1),))), [4])
    taylor = Taylor()
    taylor.collect(layer, fill(layer, [[[2.0], [-2.0]]]))
    near(taylor.score(Group(1, (), (member(layer, 1),))), [0])


def coupled() -> tuple[nn.ModuleList, Group]:
    """Two channels made by a convolution with bias, scaled by a batch norm, and read by another convolution."""
    producer = nn.Conv2d(1, 2, 1)
    producer.weight.data, producer.bias.data = torch.tensor([1.0, 2.0])[:, None, None, None], torch.tensor([3.0, 0.0])
    scale, reader = norm([1.0, 2.0], [1.0, -1.0]), conv([[1.0, 2.0], [3.0, 4.0]])
    parts = (producer, scale, reader)
    members = [Member(part, torch.arange(2), torch.arange(2)) for part in parts]
    return nn.ModuleList(parts), Group(2, (members[0],), (members[2],), (members[1],))


def test_jacobian_squares_the_effect_of_every_member_and_adds_them() -> None:
    model, group = coupled()
    producer, scale, reader = model

    def gradients() -> Iterator[None]:
        for sign in (1.0, 3.0):
            producer.weight.grad = sign * torch.tensor([1.0, 1.0])[:, None, None, None]
            producer.bias.grad = sign * torch.tensor([-1.0, 5.0])
            scale.weight.grad, scale.bias.grad = sign * torch.tensor([2.0, 1.0]), sign * torch.tensor([1.0, 2.0])
            reader.weight.grad = sign * torch.tensor([[1.0, 1.0], [0.0, -1.0]])[:, :, None, None]
            yield

    criterion = Jacobian()
    criterion.collect(model, gradients())
    # Channel 0: producer 1 − 3 = −2, norm 2 + 1 = 3, reader 1: 4 + 9 + 1 = 14; channel 1: 2, 2 − 2 = 0, 2 − 4 = −2: 8.
    # Times the mean of 1² and 3².
    near(criterion.score(group), [14 * 5, 8 * 5])


def test_jacobian_refuses_what_it_has_no_gradients_of() -> None:
    model, group = coupled()
    model[0].weight.grad = torch.ones_like(model[0].weight)
    with refused("^Jacobian: no gradient reached layer 0; the loss must use every head"):
        Jacobian().collect(model, iter([None]))
    model[0].bias.grad = torch.full((2,), float("nan"))
    model[0].weight.grad = torch.ones_like(model[0].weight)
    with refused("^Jacobian: the gradient of layer 0 is not finite"):
        Jacobian().collect(model, iter([None]))
    with refused("^Jacobian: expected gradients of every layer in the group of a group, found none of one"):
        Jacobian().score(group)


def test_class_balance_weighs_a_rare_class_like_the_background() -> None:
    layer = conv([[1.0, 1.0, 1.0]])

    def per_class() -> Iterator[int]:
        for index, gradient in (
            (0, [100.0, 0.0, 0.0]),
            (1, [0.0, 0.0, 0.01]),
            (0, [300.0, 0.0, 0.0]),
            (1, [0.0, 0.03, 0.01]),
        ):
            layer.weight.grad = torch.tensor([gradient])[:, :, None, None]
            yield index

    criterion = ClassBalancedTaylor()
    criterion.collect(layer, per_class())
    group = Group(3, (), (member(layer, 3),))
    # Class 0: all of it in channel 0. Class 1: mean squares 0, 4.5e-4, 1e-4. The mean of both shares.
    near(criterion.score(group), [0.5, 4.5 / 5.5 / 2, 1 / 5.5 / 2])
    plain = Taylor()
    plain.collect(layer, fill(layer, [[[100.0, 0.03, 0.01]]]))
    assert plain.score(group)[1] / plain.score(group)[0] < 1e-6


def test_class_balance_counts_a_class_that_nothing_changes_as_zero() -> None:
    layer = conv([[1.0, 1.0]])

    def per_class() -> Iterator[int]:
        for index, gradient in ((0, [1.0, 0.0]), (1, [0.0, 0.0])):
            layer.weight.grad = torch.tensor([gradient])[:, :, None, None]
            yield index

    criterion = ClassBalancedTaylor()
    criterion.collect(layer, per_class())
    near(criterion.score(Group(2, (), (member(layer, 2),))), [0.5, 0])


@pytest.mark.parametrize("name", ["Hessian", "Jacobian", "Taylor"])
def test_criteria_of_gradients_refuse_to_score_without_a_batch(name: str) -> None:
    with refused(f"^{name}: needs at least one labeled batch, found none"):
        make_criterion(PruneSettings(importance_type=name)).collect(conv([[1.0]]), iter([]))


def test_class_balance_belongs_to_taylor() -> None:
    with refused("^--class_balance: expected --importance_type Taylor, which can be taken per class, found LAMP$"):
        PruneSettings(importance_type="LAMP", class_balance=True)
    balanced = PruneSettings(class_balance=True)
    assert (balanced.criterion, balanced.gradients) == ("Taylor-balanced", "class")
    assert isinstance(make_criterion(balanced), ClassBalancedTaylor)


def two_layers() -> Any:
    """1x1 convolutions 3 → 3 → 3 → 2 with batch norms: filters of 1, 2, 3, at right angles, and 10, 20, 80 on a line."""
    model: Any = nn.Module()
    first, second = conv([[1.0, 0, 0], [0, 2.0, 0], [0, 0, 3.0]]), conv([[10.0, 0, 0], [20.0, 0, 0], [80.0, 0, 0]])
    last = conv([[1.0] * 3] * 2)
    model.backbone = nn.Sequential(first, norm([3.0, 1, 2]), second, norm([9.0, 8, 7]))
    model.classifier = nn.Sequential(last)
    model.forward = lambda images: model.classifier(model.backbone(images))
    return model.eval()


@pytest.mark.parametrize(
    ("criterion", "allocation", "kept"),
    [
        # Mean distances (√5 + √10)/2, (√5 + √13)/2, (√10 + √13)/2 and 40, 35, 65.
        ("FPGM", "local", ([1, 2], [0, 2])),
        # Over their means: 0.90, 0.97, 1.13 and 0.86, 0.75, 1.39.
        ("FPGM", "global", ([0, 1, 2], [2])),
        ("LAMP", "local", ([1, 2], [1, 2])),
        # 1/14, 4/13, 1 and 100/6900, 400/6800, 1: two of the second layer go, where L2 takes one of each.
        ("LAMP", "global", ([0, 1, 2], [2])),
        ("Magnitude", "global", ([1, 2], [1, 2])),
        ("BNScale", "local", ([0, 2], [0, 1])),
        ("BNScale", "global", ([0], [0, 1, 2])),
    ],
)
def test_exactly_the_expected_channels_are_kept(criterion: str, allocation: str, kept: tuple[list[int], ...]) -> None:
    model = two_layers()
    outcome = prune_model(
        model, PruneSettings(importance_type=criterion, allocation=allocation, pruning_ratio=100 / 3, round_to=1)
    )
    removed = [outcome.removed_outputs.get(name, [[]])[0] for name in ("backbone.0", "backbone.2")]
    assert removed == [sorted({0, 1, 2} - set(own)) for own in kept]


@pytest.mark.parametrize(
    ("criterion", "allocation", "removed"),
    [("Hessian", "local", ([0], [2])), ("Hessian", "global", ([], [1, 2])), ("Jacobian", "local", ([0], [2]))],
)
def test_gradients_set_by_hand_choose_the_channels(
    criterion: str, allocation: str, removed: tuple[list[int], ...]
) -> None:
    model = two_layers()
    readers = {"backbone.2": torch.tensor([1.0, 0, 0]), "classifier.0": torch.tensor([3.0, 2.0, 1.0]) * 0.01}
    effects = torch.tensor([1.0, 1.1, 1.2])  # of the scales of the first norm, for Jacobian's second and third channel

    def gradients() -> Iterator[None]:
        for parameter in model.parameters():
            parameter.grad = torch.zeros_like(parameter)
        model.backbone[2].weight.data[:] = 1
        for name, effect in readers.items():
            layer = dict(model.named_modules())[name]
            layer.weight.grad = (
                (effect + (name == "backbone.2") * effects)[None, :, None, None].expand_as(layer.weight).clone()
            )
        model.backbone[2].weight.grad[:, 0] = 0.5
        yield

    config = PruneSettings(importance_type=criterion, allocation=allocation, pruning_ratio=100 / 3, round_to=1)
    outcome = prune_model(model, config, Hooks(gradients))
    assert [outcome.removed_outputs.get(name, [[]])[0] for name in ("backbone.0", "backbone.2")] == list(removed)


def test_isomorphic_allocation_ranks_groups_of_the_same_couplings_together() -> None:
    model = IsomorphicBlocks()
    graph = Graph(model)
    kinds = {name: graph.topologies[name] for name in graph.initial}
    (sum_of_blocks,) = set(kinds) - {"backbone.a.inner", "backbone.b.inner"}
    assert kinds["backbone.a.inner"] == kinds["backbone.b.inner"] != kinds[sum_of_blocks]
    config = PruneSettings(
        importance_type="Magnitude", p_value=1, allocation="isomorphic", round_to=1, pruning_ratio=50
    )
    outcome = prune_model(model, config)
    # Inner norms 1 2 3 14 and 7 8 9 10, relative to their means .2 .4 .6 2.8 and .8 .94 1.06 1.18: half of the eight go.
    # The stem and what the blocks add to it lose half of their own, whatever their scores are against the others'.
    widths = {name: dict(model.named_modules())[name].out_channels for name in kinds}
    assert widths == {sum_of_blocks: 2, "backbone.a.inner": 1, "backbone.b.inner": 3}
    assert outcome.removed_outputs["backbone.a.inner"] == [[0, 1, 2]]
    assert outcome.removed_outputs["backbone.b.inner"] == [[0]]


class IsomorphicBlocks(nn.Module):
    """A stem and two residual blocks of the same kind, with inner widths of 4."""

    def __init__(self) -> None:
        super().__init__()
        inner, outer = ([nn.Conv2d(4, 4, size, padding=size // 2, bias=False) for _ in "ab"] for size in (3, 1))
        blocks = {n: nn.ModuleDict({"inner": i, "outer": o}) for n, i, o in zip("ab", inner, outer, strict=True)}
        self.backbone = nn.ModuleDict({"stem": nn.Conv2d(3, 4, 1, bias=False), **blocks})
        self.classifier = nn.Conv2d(4, 2, 1)
        for name, norms in (("a", [1.0, 2, 3, 14]), ("b", [7.0, 8, 9, 10])):
            weight = self.backbone[name]["inner"].weight.data  # type: ignore[index]
            weight[:] = torch.tensor(norms)[:, None, None, None] / 36

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.backbone["stem"](images)
        for name in ("a", "b"):
            block: Any = self.backbone[name]
            features = features + block["outer"](block["inner"](features).relu())
        return self.classifier(features)


def test_isomorphic_allocation_of_one_kind_is_global_allocation() -> None:
    flags = {"importance_type": "Magnitude", "round_to": 1}
    shapes = []
    for allocation in ("global", "isomorphic"):
        torch.manual_seed(0)
        chain: Any = nn.Module()
        chain.backbone = nn.Sequential(*(nn.Conv2d(3 if n == 0 else 8, 8, 1) for n in range(4)))
        chain.classifier = nn.Conv2d(8, 2, 1)
        chain.forward = lambda images, net=chain: net.classifier(net.backbone(images))
        prune_model(chain, PruneSettings(**flags, allocation=allocation))
        shapes.append([layer.out_channels for layer in chain.backbone])
    assert shapes[0] == shapes[1] and len(set(shapes[0])) > 1


@pytest.mark.parametrize("criterion", [*list(IMPORTANCE_TYPES)[3:], "balanced"])
def test_every_criterion_prunes_a_whole_network(criterion: str) -> None:
    torch.manual_seed(0)
    model = small_network()

    def gradients() -> Iterator[int | None]:
        for seed in range(2):
            image = torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
            model.eval()(image).square().mean().backward()
            yield seed if criterion == "balanced" else None

    chosen = {"class_balance": True} if criterion == "balanced" else {"importance_type": criterion}
    prune_model(model, PruneSettings(**chosen, round_to=1), Hooks(gradients))
    assert [model[layer].out_channels for layer in (0, 3, 6)] == [8, 12, 3]


def test_magnitude_and_lamp_rank_alike_within_a_group() -> None:
    torch.manual_seed(0)
    group = groups_of(HandMade())["backbone.join"]
    assert torch.equal(Magnitude(2).score(group).argsort(), LAMP().score(group).argsort())
