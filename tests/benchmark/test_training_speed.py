"""The suite that holds a step of train.py against textbook loops, on a microscopic network; no time is judged."""

import copy
from pathlib import Path

import pytest
import torch

from prune.benchmark import training_speed as module
from prune.benchmark.training_speed import (
    OWN,
    OWN_LOSS,
    SAME,
    StepTimes,
    Subject,
    TrainingSpeed,
    own_step,
    step_times,
    textbook_step,
    training_speed,
)
from prune.cli.train import TrainOptions
from prune.models import build_model
from prune.number_format import NumberFormat

TINY = TrainingSpeed(crop_size=32, batch_size=2, repeats=1, compiled=False)
LOOPS = ["naive", "float32 channels_last", "bfloat16 channels_last", OWN, OWN_LOSS]


@pytest.fixture
def microscopic(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SUBJECTS", {"deeplabv3_tiny": Subject("Tiny")})


def measured(monkeypatch: pytest.MonkeyPatch, half: float) -> None:
    speeds = {module.REFERENCE: 1.0, (torch.float32, False): 0.5, (torch.bfloat16, True): half}
    monkeypatch.setattr(module, "measured_speeds", lambda candidates: speeds)
    monkeypatch.setattr("prune.number_format.measured_speeds", lambda candidates: speeds)


def test_the_ratio_is_over_the_fastest_loop_that_learns_the_same() -> None:
    times = StepTimes("Net", {"naive": 0.4, "float32 channels_last": 0.2, OWN: 0.21, OWN_LOSS: 0.1}, ("a note",))
    assert times.own_ratio == pytest.approx(1.05)
    assert str(times).startswith("seconds per crop: naive 0.4, float32 channels_last 0.2, train.py 0.21, ")
    assert str(times).endswith("; a note")


def test_the_loops_learn_the_same() -> None:
    torch.manual_seed(0)
    models = [build_model("deeplabv3_tiny", 2).train()]
    models.append(copy.deepcopy(models[0]))
    batch = torch.randn(2, 3, 32, 32), torch.randint(0, 2, (2, 32, 32))
    config = TrainOptions(**SAME, lr=1e-3, weight_decay=0, clip=0)  # type: ignore[arg-type]
    plain = NumberFormat(None, False)
    for dropout in [m for model in models for m in model.modules() if isinstance(m, torch.nn.Dropout)]:
        dropout.p = 0.0
    for step in (textbook_step(models[0], batch, plain), own_step(models[1], batch, plain, config)):
        step()
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.allclose(a, b, atol=1e-5)


def test_all_loops_are_timed(microscopic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, half=2.0)
    times = step_times("deeplabv3_tiny", TINY)
    assert list(times.seconds) == LOOPS and min(times.seconds.values()) > 0
    assert times.notes == ("train.py in bfloat16 channels_last, measured 2.0x float32",)


def test_an_emulated_format_is_left_out(microscopic: None, monkeypatch: pytest.MonkeyPatch) -> None:
    measured(monkeypatch, half=0.02)
    times = step_times("deeplabv3_tiny", TINY)
    assert list(times.seconds) == [name for name in LOOPS if name != "bfloat16 channels_last"]
    assert times.notes[0] == "bfloat16 left out: 0.02x as fast as float32 here"


@pytest.mark.parametrize("compiler", [False, True])
def test_what_cannot_be_compiled_is_left_out(
    microscopic: None, monkeypatch: pytest.MonkeyPatch, compiler: bool
) -> None:
    measured(monkeypatch, half=0.02)
    monkeypatch.setattr(module.shutil, "which", lambda name: "/usr/bin/c++" if compiler else None)
    monkeypatch.setattr(torch, "compile", _Compiled)
    times = step_times("deeplabv3_tiny", TrainingSpeed(32, 2, 1, compiled=True))
    assert "compiled" not in times.seconds
    assert times.notes[-1] == f"compiled left out: {'no such header' if compiler else 'no C++ compiler'}"


class _Compiled(torch.nn.Module):
    """Stands for a network that the compiler fails on when it is first called."""

    def __init__(self, model: torch.nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("no such header\nand more")


def test_the_suite_bounds_each_network_and_the_loading(
    microscopic: None, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    seconds = {"naive": 2.0, "float32 channels_last": 1.0, OWN: 1.02, OWN_LOSS: 1.1}
    monkeypatch.setattr(module, "step_times", lambda name, settings: StepTimes("Tiny", seconds))
    monkeypatch.setattr(module, "loading_speed", lambda folder, crop, batch: 10.0)
    step, loading = training_speed(data, TINY)
    assert (step.name, step.value, step.bound, step.kept) == (
        "Tiny, training step of train.py over the fastest loop",
        pytest.approx(1.02),
        1.05,
        True,
    )
    assert (loading.name, loading.value, loading.kept) == ("data-loading headroom", pytest.approx(10.2), True)
    assert loading.detail == "10.0 crops/s by 2 workers from images on disk, Tiny takes 0.98"


def test_loading_is_timed_on_a_split(data: Path) -> None:
    assert module.loading_speed(data, 32, 4) > 0
