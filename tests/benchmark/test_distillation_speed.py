"""The figures of a distillation step, on small crops; no time is judged."""

import pytest
import torch

from prune.benchmark import distillation_speed as module
from prune.benchmark.distillation_speed import MOST, PLAIN, TAUGHT, TEACHING, distillation_speed, make_steps, step_mib
from prune.benchmark.training_speed import TrainingSpeed
from prune.number_format import NumberFormat

SMALL = TrainingSpeed(crop_size=32, batch_size=2, repeats=1)


@pytest.fixture
def float32_only(monkeypatch: pytest.MonkeyPatch) -> None:
    speeds = {module.REFERENCE: 1.0, (torch.float32, False): 0.5, module.HALF: 0.02}
    monkeypatch.setattr(module, "measured_speeds", lambda candidates: speeds)
    monkeypatch.setattr("prune.number_format.measured_speeds", lambda candidates: speeds)


def test_the_figures_are_ratios_with_bounds(float32_only: None, monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = {PLAIN: 2.0, TAUGHT: 3.3, MOST: 3.6}
    seconds |= {f"{TEACHING} float32 channels_last": 1.0, f"{TEACHING} float32 contiguous": 1.5}
    timed: list[list[str]] = []
    monkeypatch.setattr(module, "seconds_in_turns", lambda steps, rounds: timed.append(list(steps)) or seconds)
    monkeypatch.setattr(module, "step_mib", lambda name, *rest: {PLAIN: 100.0, TEACHING: 200.0, MOST: 280.0}[name])
    time, most, memory = distillation_speed(SMALL)
    assert timed == [list(seconds)]  # bfloat16 is emulated, and left out
    assert (time.value, time.bound, time.kept) == (pytest.approx(1.1), 1.1, True)
    assert (most.value, most.kept) == (pytest.approx(1.2), False)
    assert (memory.value, memory.bound, memory.kept) == (pytest.approx(1.4), 1.3, False)
    assert "plain step 2000" in time.detail and "teacher 200, step with every loss 280" in memory.detail


def test_the_steps_run() -> None:
    for make in make_steps(NumberFormat(), SMALL).values():
        make()()


@pytest.mark.slow  # 10 s: a process that imports PyTorch
def test_memory_is_that_of_a_process_of_its_own() -> None:
    assert 1 < step_mib(PLAIN, NumberFormat(), SMALL) < 1000
