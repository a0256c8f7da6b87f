"""What distillation takes: time and memory of its training step against the plain one and a forward pass of the teacher.

As a program, ``python -m prune.benchmark.distillation_speed STEP AUTOCAST CHANNELS_LAST CROP BATCH THREADS``, it takes one of
the steps in a process of its own and prints what memory that needed.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import torch

from prune.benchmark.figures import Figure
from prune.benchmark.memory import peak_mib
from prune.benchmark.training_speed import (
    CLASSES,
    CPU,
    SLOWEST,
    Step,
    TrainingSpeed,
    own_step,
    random_batch,
    seconds_in_turns,
)
from prune.hardware import set_threads
from prune.models import build_model
from prune.number_format import NAMES, REFERENCE, NumberFormat, measured_speeds, number_format
from prune.pruning.graph import cut_to_ratio
from prune.training.distillation import Distillation, SharedFeatures
from prune.training.settings import TrainSettings

TEACHER, RATIO = "hrsegnet_b32", 70
"""The dense network, and percent of its channels that the student lacks."""
TITLE = "HrSegNet-B32 without 70% of its channels"
PLAIN, TAUGHT, MOST, TEACHING = "plain step", "distillation step", "step with every loss", "teacher"
HALF = (torch.bfloat16, True)


def make_steps(numbers: NumberFormat, settings: TrainingSpeed) -> dict[str, Callable[[], Step]]:
    """What makes each of the steps, so that a process which takes one of them holds no other network.

    The distillation step is that of ``train.py --teacher`` by default; ``MOST`` takes all there is: both losses on the
    logits, and the features through a projection.
    """
    batch, config = random_batch(settings), TrainSettings()

    def network(name: str) -> torch.nn.Module:
        torch.manual_seed(0)
        model = build_model(TEACHER, CLASSES)
        if name == "student":
            cut_to_ratio(model, RATIO, 8)
        return model.train().to(memory_format=numbers.memory_format)  # type: ignore[call-overload]

    def taught() -> Step:
        lesson = Distillation(network("teacher"), kind=config.distill_loss)
        return own_step(network("student"), batch, numbers, config, lesson)

    def most() -> Step:
        student, teacher = network("student"), network("teacher")
        features = SharedFeatures(student, teacher, 1.0)
        return own_step(student, batch, numbers, config, Distillation(teacher, kind="kl+cwd", features=features))

    def teaching() -> Step:
        images, distillation = (
            batch[0].contiguous(memory_format=numbers.memory_format),
            Distillation(network("teacher")),
        )

        def step() -> None:
            with torch.autocast("cpu", numbers.autocast, enabled=numbers.autocast is not None):
                distillation.logits(images)

        return step

    return {
        PLAIN: lambda: own_step(network("student"), batch, numbers, config),
        TAUGHT: taught,
        MOST: most,
        TEACHING: teaching,
    }


def time_ratios(settings: TrainingSpeed) -> tuple[dict[str, float], str, NumberFormat]:
    """Each distillation step over the sum of a plain step and a pass of the teacher in its fastest number format.

    Returns:
        The ratios by step, what they were computed from, and the number format of ``train.py``.
    """
    speed = measured_speeds((REFERENCE, (torch.float32, False), HALF))[HALF]
    formats = [NumberFormat(), NumberFormat(None, False)] + ([NumberFormat(torch.bfloat16)] if speed >= SLOWEST else [])
    own = number_format(TrainSettings.amp, TrainSettings.channels_last, CPU)
    made = make_steps(own, settings)
    steps = {name: made[name]() for name in (PLAIN, TAUGHT, MOST)}
    for one in formats:
        layout = "channels_last" if one.channels_last else "contiguous"
        steps[f"{TEACHING} {one.name} {layout}"] = make_steps(one, settings)[TEACHING]()
    seconds = seconds_in_turns(steps, settings.repeats)
    teacher = min(value for name, value in seconds.items() if name.startswith(TEACHING))
    told = ", ".join(f"{name} {1e3 * value:.4g}" for name, value in seconds.items())
    ratios = {name: seconds[name] / (seconds[PLAIN] + teacher) for name in (TAUGHT, MOST)}
    return ratios, f"ms: {told}; train.py in {own}", own


def step_mib(name: str, numbers: NumberFormat, settings: TrainingSpeed) -> float:
    """Peak memory in MiB of a process that takes one step, beyond what the imports need."""
    words = [sys.executable, "-m", "prune.benchmark.distillation_speed", name, numbers.name, str(numbers.channels_last)]
    words += map(str, (settings.crop_size, settings.batch_size, torch.get_num_threads()))
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    done = subprocess.run(words, env=environment, check=True, capture_output=True, text=True)
    return float(json.loads(done.stdout)["mib"])


def memory_ratio(settings: TrainingSpeed, numbers: NumberFormat) -> tuple[float, str]:
    """Memory of a step with every loss over the larger of that of a plain step and of a pass of the teacher."""
    found = {name: step_mib(name, numbers, settings) for name in (PLAIN, TEACHING, MOST)}
    told = ", ".join(f"{name} {value:.0f}" for name, value in found.items())
    return found[MOST] / max(found[PLAIN], found[TEACHING]), f"MiB beyond the imports: {told}"


def distillation_speed(settings: TrainingSpeed) -> list[Figure]:
    """Time and memory of distillation steps, each as a ratio with the bound it should keep."""
    about = f"{TITLE}, teacher the dense one, {settings.crop_size} px crops, batch {settings.batch_size}"
    ratios, told, numbers = time_ratios(settings)
    mib, parts = memory_ratio(settings, numbers)
    losses = {TAUGHT: f"the default, {TrainSettings.distill_loss}", MOST: "kl+cwd, features"}
    times = [
        Figure(f"{name} over plain step and teacher, time", ratios[name], "x", "<=", 1.1, f"{about}; {loss}; {told}")
        for name, loss in losses.items()
    ]
    memory = f"{MOST} over the larger of plain step and teacher, memory"
    return [*times, Figure(memory, mib, "x", "<=", 1.3, f"{about}; {losses[MOST]}; {parts}")]


def main() -> None:
    """Take one step as the command line says and print its peak memory in MiB beyond the imports as JSON."""
    name, autocast, channels_last, crop, batch, threads = sys.argv[1:]
    set_threads(int(threads))
    before, dtype = peak_mib(), NAMES[autocast]
    numbers = NumberFormat(None if dtype == torch.float32 else dtype, channels_last == "True")
    make_steps(numbers, TrainingSpeed(int(crop), int(batch)))[name]()()
    print(json.dumps({"mib": peak_mib() - before}))


if __name__ == "__main__":
    main()
