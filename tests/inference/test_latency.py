"""The one way latency is measured: turns, warm-up passes, medians."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from prune.data.labels import S2DS
from prune.inference.latency import Timing, measure_latency, time_predictors
from prune.inference.predictor import Card, Predictor
from prune.models import all_logits, build_model

CPU = torch.device("cpu")


class Counting(Predictor):
    """Notes its name at every pass."""

    def __init__(self, name: str, log: list[tuple[str, tuple[int, ...]]], size: tuple[int, int] | None = None) -> None:
        self.card, self.log = Card(name, Path(name), S2DS, size=size), log

    def run(self, batch: np.ndarray) -> Any:
        self.log.append((self.card.name, batch.shape))
        return batch


def test_networks_take_turns_and_warm_up_passes_do_not_count() -> None:
    log: list[tuple[str, tuple[int, ...]]] = []
    predictors = {"a": Counting("a", log), "b": Counting("b", log, (8, 16))}
    timed = time_predictors(predictors, (32, 48), 5, batch=2, warmup=1)
    assert {name: len(t.milliseconds) for name, t in timed.items()} == {"a": 5, "b": 5}
    # One pass of each to warm up; then, as they are fast, an untimed one before each that is timed.
    assert len(log) == 2 + 5 * 4 and {log[0][0], log[1][0]} == {"a", "b"}
    rounds = [[name for name, _ in log[i : i + 4]] for i in range(2, 22, 4)]
    assert all(four in (["a", "a", "b", "b"], ["b", "b", "a", "a"]) for four in rounds)
    assert dict(log) == {"a": (2, 3, 32, 48), "b": (2, 3, 8, 16)}


def test_a_timing_is_its_median_with_an_interval() -> None:
    timing = Timing((10.0, 11.0, 12.0, 13.0, 100.0))
    assert timing.median == 12 and timing.p95 == pytest.approx(82.6)
    low, high = timing.interval()
    assert 10 <= low <= 12 <= high <= 100 and Timing((7.0,)).interval() == (7.0, 7.0)


def test_latency_is_taken_in_turns_without_auxiliary_head_in_evaluation_mode() -> None:
    turns: list[tuple[str, bool, bool]] = []
    models = {"small": build_model("deeplabv3_tiny", 7), "other": build_model("deeplabv3_tiny", 7)}
    for name, model in models.items():
        model.register_forward_pre_hook(
            lambda net, _, name=name: turns.append((name, net.training, net.aux_classifier is None))
        )
    measured = measure_latency(models, (64, 64), 2, CPU)
    assert {turn[1:] for turn in turns} == {(False, True)} and {turns[0][0], turns[1][0]} == {"small", "other"}
    assert len(turns) >= 6 and sum(name == "small" for name, *_ in turns) == len(turns) / 2
    assert all(model.training and model.aux_classifier is not None for model in models.values())
    latency = measured["small"]
    assert 0 < latency.median_ms <= latency.p95_ms
    assert latency.repeats == 2 and latency.device and latency.threads == torch.get_num_threads()


def test_a_measured_network_can_still_be_trained() -> None:
    model: Any = build_model("deeplabv3_tiny", 7)
    measure_latency({"network": model}, (64, 64), 1, CPU)
    assert model.training and model.aux_classifier is not None
    outputs = all_logits(model, torch.randn(2, 3, 64, 64)).values()
    torch.stack([output.mean() for output in outputs]).sum().backward()
    assert model.backbone.conv1.weight.grad is not None
