"""Latency-aware allocation: the way down on tables made by hand, interpolation, the file of layer times, and the plan."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import prune
from prune.api.prune import measure_on
from prune.data.labels import S2DS
from prune.errors import UserError
from prune.models.checkpoint import Network
from prune.pruning.latency_allocation import Cut, Steps, Work, way_down
from prune.pruning.latency_plan import LatencyPlan, plan_latency
from prune.pruning.layer_times import LayerShape, LayerTimes, Probe, layer_shapes, measured_times
from prune.pruning.plan import plan
from prune.pruning.pruner import group_scores, prune_model
from prune.pruning.settings import PruneSettings
from prune.pruning.target_search import CostTarget, TargetSearchResult
from tests.conftest import refused
from tests.pruning.test_target_search import Toy, toy, weights_clock

ONE = (1, 1)
SHAPE = LayerShape("conv", ONE, ONE, (0, 0), ONE, False, (8, 8), 8, 8)


def settings(**changed: Any) -> PruneSettings:
    base = {"importance_type": "Magnitude", "p_value": 1, "latency_size": 64, "allocation": "latency"}
    return PruneSettings(**{**base, "target_latency_ms": 20.0, "round_to": 8, **changed})


def test_the_cut_that_saves_the_most_time_per_importance_comes_first() -> None:
    scores = {"a": torch.tensor([1.0, 1, 1, 1]), "b": torch.tensor([4.0, 1, 8, 2])}
    steps = {name: Steps(4, 1, 1) for name in scores}
    shape = LayerShape("conv", ONE, ONE, (0, 0), ONE, False, (8, 8), 3, 4)
    works = [Work(shape, {}, {"a": 1.0}), Work(shape, {}, {"b": 1.0})]
    # A channel of a costs 1 ms, one of b 3: 1 per unit of importance against 3, then 1.5, then 0.75.
    price = iter([1.0, 3.0])
    prices = {id(work): next(price) for work in works}
    times = {"a": prices[id(works[0])], "b": prices[id(works[1])]}
    first = LayerShape("conv", ONE, ONE, (0, 0), ONE, True, (8, 8), 3, 4)
    works[1] = Work(first, {}, {"b": 1.0})
    start, cuts = way_down(
        scores, steps, works, lambda layer, inputs, outputs: outputs * (times["b"] if layer is first else times["a"])
    )
    assert start == 16
    assert cuts == [
        *(Cut("b", 3, 13.0), Cut("b", 2, 10.0)),
        *(Cut("a", 3, 9.0), Cut("a", 2, 8.0), Cut("a", 1, 7.0)),
        Cut("b", 1, 4.0),
    ]


def test_a_layer_between_two_groups_is_worth_less_once_one_of_them_is_narrow() -> None:
    scores = {"a": torch.tensor([1.0, 1.0]), "b": torch.tensor([1.0, 1.5])}
    steps = {name: Steps(2, 1, 1) for name in scores}
    start, cuts = way_down(
        scores, steps, [Work(SHAPE, {"a": 4.0}, {"b": 4.0})], lambda layer, inputs, outputs: inputs * outputs
    )
    assert (start, cuts) == (64, [Cut("a", 1, 32.0), Cut("b", 1, 16.0)])


def test_the_way_ends_where_no_cut_saves_time() -> None:
    _, cuts = way_down({"a": torch.ones(4)}, {"a": Steps(4, 1, 1)}, [Work(SHAPE, {}, {"a": 1.0})], lambda *_: 5.0)
    assert cuts == []


def test_widths_of_a_group_are_multiples_down_to_the_least() -> None:
    step = Steps(20, 8, 3)
    assert [step.below(width) for width in (20, 16, 8)] == [16, 8, None]
    assert Steps(4, 8, 8).below(4) is None


def test_times_are_interpolated_between_measured_widths_and_never_fall() -> None:
    times = LayerTimes({SHAPE: [1.0, 2.0, 4.0, 2.0, 1.0, 8.0, 4.0, 8.0, 16.0]})  # widths 1, 4, 8 of both sides
    assert [times(SHAPE, 8, width) for width in (8, 6, 1)] == [16, 12, 4]
    assert times(SHAPE, 6, 8) == 12
    assert times(SHAPE, 4, 4) == 2  # measured as 1, less than with one channel
    assert times(SHAPE, 0.5, 0.5) == 1


def test_layers_are_measured_once_and_kept_by_machine_and_runtime(tmp_path: Path) -> None:
    file, asked = tmp_path / "times.json", []

    def measure(model: Any, size: tuple[int, int], runtime: str) -> float:
        asked.append((model.layer.in_channels, model.layer.out_channels, size, runtime))
        return float(model.layer.in_channels * model.layer.out_channels)

    first = measured_times([SHAPE], measure, "pytorch", "here", file)
    assert asked == [(i, o, (8, 8), "pytorch") for i in (1, 4, 8) for o in (1, 4, 8)]
    assert measured_times([SHAPE], measure, "pytorch", "here", file)(SHAPE, 8, 6) == first(SHAPE, 8, 6) == 48
    assert len(asked) == 9
    measured_times([SHAPE], measure, "pytorch", "there", file)
    assert len(asked) == 18 and list(json.loads(file.read_text())) == ["pytorch, here", "pytorch, there"]
    file.write_text("[1]")
    with refused("^--layer_times .*times.json: expected layer times that this program wrote, found something else$"):
        measured_times([SHAPE], measure, "pytorch", "here", file)


def test_a_stopped_measurement_goes_on_where_it_was(tmp_path: Path) -> None:
    file, asked = tmp_path / "times.json", []
    shapes = [SHAPE, LayerShape("conv", ONE, ONE, (0, 0), ONE, True, (8, 8), 8, 8)]

    def measure(model: Any, size: tuple[int, int], runtime: str) -> float:
        asked.append(model.layer.bias is not None)
        if len(asked) == 12:
            raise KeyboardInterrupt
        return 1.0

    with pytest.raises(KeyboardInterrupt):
        measured_times(shapes, measure, "pytorch", "here", file)
    measured_times(shapes, measure, "pytorch", "here", file)
    assert asked == [False] * 9 + [True] * 3 + [True] * 9


def test_layers_are_seen_at_the_size_of_their_input() -> None:
    shapes = layer_shapes(Toy(), (64, 48))
    assert list(shapes) == ["backbone.0", "backbone.2", "classifier"]
    second = shapes["backbone.2"][0]
    assert (second.size, second.inputs, second.outputs, second.kernel) == ((64, 48), 64, 160, (3, 3))


def test_the_target_is_met_and_the_chosen_widths_are_pruned_to() -> None:
    network, config = toy(), settings(round_to=2)
    found = plan(network.model, config, weights_clock(), lambda: group_scores(network.model, config))
    assert found.budget is not None and found.budget.hit and found.widths is not None
    assert {name: width % 2 for name, width in found.widths.items()} == dict.fromkeys(found.widths, 0)
    outcome = prune_model(network.model, found.config, widths=found.widths)
    assert found.disagreement(network.model) == []
    assert weights_clock()(network.model, (64, 64), "") == pytest.approx(20, rel=0.1)
    removed, whole = (sum(getattr(layer, side) for layer in outcome.layers[:2]) for side in ("out_after", "out_before"))
    assert found.settings()["pruning_ratio"] == pytest.approx(100 * (1 - removed / whole), abs=0.01)
    assert found.settings()["target_latency_ms"] == 20


def test_auto_takes_the_multiple_that_reaches_the_target_at_the_least_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    target = CostTarget("latency_ms", "--target_latency_ms", 20.0)
    plans = {8: (20.1, 3.0), 16: (19.9, 2.0), 32: (15.0, 1.0)}  # ms reached, importance lost

    def planned(model: nn.Module, config: PruneSettings, *others: Any) -> LatencyPlan:
        if config.divisor not in plans:
            raise UserError("nothing shrinks")
        reached, lost = plans[config.divisor]
        return LatencyPlan(TargetSearchResult(target, reached, 50.0, ""), {}, [], lost, config.divisor)

    monkeypatch.setattr("prune.pruning.latency_plan._planned", planned)

    def chosen(round_to: int | str = "auto") -> int:
        config = settings(round_to=round_to)
        return plan_latency(Toy(), config, target, weights_clock(), dict).round_to

    assert (chosen(), chosen(8)) == (16, 8)  # 32 loses less, but misses the target
    del plans[16]
    assert chosen() == 8
    plans.clear()
    with refused("nothing shrinks"):
        chosen()


def test_what_latency_allocation_needs_is_asked_for() -> None:
    with refused("^--allocation latency: expected --target_latency_ms beside it, found none$"):
        PruneSettings(allocation="latency")
    with refused("^--allocation latency: expected --target_latency_ms beside it, found --target_macs$"):
        PruneSettings(allocation="latency", target_macs="40%")
    with refused("^--target_macs: expected --allocation local, .* found isomorphic$"):
        PruneSettings(allocation="isomorphic", target_macs="40%")
    with pytest.raises(ValueError, match="expected the widths that"):
        prune_model(Toy(), settings())
    with refused("^--target_latency_ms .*expected at least .* the smallest that --max_layer_ratio 10 reaches"):
        config = settings(max_layer_ratio=10, target_latency_ms=1.0)
        plan(toy().model, config, weights_clock(), lambda: group_scores(toy().model, config))


@pytest.mark.parametrize("kind", ["conv", "depthwise", "transposed"])
def test_a_layer_alone_is_a_network_that_every_runtime_can_be_timed_on(kind: str) -> None:
    shape = LayerShape(kind, (3, 3), ONE, ONE, ONE, True, (8, 8), 8, 8)
    probe = Probe(shape, 8, 8).eval()
    assert probe(torch.zeros(2, 3, 8, 8)).shape == (2, 1, 1, 1)
    if kind == "conv":
        network = Network(Toy(), "toy", S2DS)  # of other classes than the layer has channels
        assert measure_on(network, settings())(probe, (8, 8), "onnx") > 0


@pytest.mark.slow
def test_a_real_clock_gives_a_smaller_network(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Network(prune.models.build_model("deeplabv3_tiny", 7).eval(), "deeplabv3_tiny")  # type: ignore[attr-defined]
    dense = measure_on(network, settings())(network.model, (128, 128), "pytorch")
    file = tmp_path / "times.json"
    result = prune.prune(
        network, importance="Magnitude", allocation="latency", target_latency_ms=0.6 * dense,
        latency_size=128, layer_times=str(file), checkpoint=tmp_path / "small.pth",
    )  # fmt: skip
    assert file.is_file() and result.report.after.macs < result.report.before.macs
    assert prune.load(tmp_path / "small.pth").network.pruned
