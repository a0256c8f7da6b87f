"""How fast ``train.py`` trains: its step against textbook loops in the same run, and what its data loading could feed."""

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn import functional as F

from prune.benchmark.figures import Figure
from prune.data.dataset import Batch, SegmentationDataset, checked, training_loader
from prune.data.find_split import find_split
from prune.data.transforms import Augmentation, training_transform
from prune.errors import first_line
from prune.inference.latency import time_in_turns
from prune.models import all_logits, build_model
from prune.number_format import REFERENCE, NumberFormat, measured_speeds, number_format
from prune.training.distillation import Distillation
from prune.training.losses import make_loss
from prune.training.settings import TrainSettings
from prune.training.step import TrainingStep, make_optimizer, train_one_epoch

CLASSES = 2
CPU = torch.device("cpu")
SAME = {"optimizer": "adam", "loss": "ce"}
"""Settings of ``train.py`` with which it computes what the textbook loops do."""
SLOWEST = 0.2
"""Number formats that are not this fast relative to float32 get no loop: they are emulated."""
OWN, OWN_LOSS, COMPILED = "train.py", "train.py with its default loss and optimizer", "compiled"
Step = Callable[[], object]


@dataclass(frozen=True)
class Subject:
    """A network whose training is timed.

    Args:
        title: For the reader.
        share: Of the timed steps it gets; a step of a large one takes seconds.
    """

    title: str
    share: float = 1.0


SUBJECTS = {
    "deeplabv3_resnet101": Subject("DeepLabV3-ResNet101", 0.6),
    "unet_resnet34": Subject("U-Net-ResNet34"),
    "hrsegnet_b32": Subject("HrSegNet-B32"),
}
"""By their names in ``prune.models``."""


@dataclass(frozen=True)
class TrainingSpeed:
    """How training is timed.

    Args:
        crop_size: Side of the crops in px.
        batch_size: Crops per step.
        repeats: Timed steps of each loop, interleaved; large networks get a share of them.
        compiled: Whether to time the fastest loop under ``torch.compile`` too, which takes minutes to compile.
    """

    crop_size: int = 256
    batch_size: int = 4
    repeats: int = 5
    compiled: bool = True


@dataclass(frozen=True)
class StepTimes:
    """Seconds of a training step per crop, medians by loop; ``OWN`` is among them.

    Args:
        title: The network's.
        seconds: By the name of the loop.
        notes: Loops that were left out, and why.
    """

    title: str
    seconds: Mapping[str, float]
    notes: tuple[str, ...] = ()

    @property
    def own_ratio(self) -> float:
        """What ``train.py`` takes over what the fastest of the other loops takes, both learning the same."""
        return self.seconds[OWN] / min(s for name, s in self.seconds.items() if name not in (OWN, OWN_LOSS))

    def __str__(self) -> str:
        parts = [f"{name} {seconds:.3g}" for name, seconds in self.seconds.items()]
        return "; ".join([f"seconds per crop: {', '.join(parts)}", *self.notes])


def textbook_step(model: nn.Module, batch: Batch, numbers: NumberFormat) -> Step:
    """The loop of a tutorial in a number format: Adam, cross entropy on every head.

    Args:
        model: In training mode, in the memory format of ``numbers``.
        batch: Images float32 (N, 3, H, W) and labels int64 (N, H, W).
        numbers: Autocast type and memory format.
    """
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    images = batch[0].contiguous(memory_format=numbers.memory_format)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", numbers.autocast, enabled=numbers.autocast is not None):
            logits = all_logits(model, images)
        losses = [(1.0 if n == "out" else 0.4) * F.cross_entropy(y.float(), batch[1]) for n, y in logits.items()]
        sum(losses[1:], losses[0]).backward()
        optimizer.step()

    return step


def own_step(
    model: nn.Module,
    batch: Batch,
    numbers: NumberFormat,
    config: TrainSettings,
    distillation: Distillation | None = None,
) -> Step:
    """A step of ``train.py`` itself, with the settings of ``config`` (see ``textbook_step``) and perhaps a teacher."""
    step = TrainingStep(model, make_loss(config.loss), CPU, numbers, config.aux_weight, distillation)
    optimizer = make_optimizer(model, config, step.projection)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    return lambda: train_one_epoch(step, [batch], optimizer, scaler, config, lambda number, loss: None)


def seconds_in_turns(steps: Mapping[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step over ``rounds`` interleaved ones, after an untimed one."""
    timed = time_in_turns(steps, rounds, label="training steps")
    return {name: found.median / 1e3 for name, found in timed.items()}


def _loops(name: str, batch: Batch) -> tuple[dict[str, Step], nn.Module, tuple[str, ...]]:
    """The loops of a network, the model of those that are channels_last, and what was left out.

    These loops share a model, and so the memory: values do not change how long a step takes.
    """
    torch.manual_seed(0)
    contiguous = build_model(name, CLASSES).train()
    model = build_model(name, CLASSES).train().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    half, defaults = (torch.bfloat16, True), TrainSettings()
    own = number_format(defaults.amp, defaults.channels_last, CPU)
    kept = model if own.channels_last else contiguous
    speed = measured_speeds((REFERENCE, (torch.float32, False), half))[half]
    loops = {"naive": textbook_step(contiguous, batch, NumberFormat(None, False))}
    loops["float32 channels_last"] = textbook_step(model, batch, NumberFormat())
    if speed >= SLOWEST:
        loops["bfloat16 channels_last"] = textbook_step(model, batch, NumberFormat(torch.bfloat16))
    loops[OWN] = own_step(kept, batch, own, TrainSettings(**SAME))  # type: ignore[arg-type]
    loops[OWN_LOSS] = own_step(kept, batch, own, defaults)
    skipped = () if speed >= SLOWEST else (f"bfloat16 left out: {speed:.2g}x as fast as float32 here",)
    return loops, model, (*skipped, f"train.py in {own}")


def _with_compiled(loops: dict[str, Step], model: nn.Module, batch: Batch) -> tuple[dict[str, Step], str]:
    """The loops and the faster of the channels_last ones under ``torch.compile``, or why it is not available."""
    if not any(map(shutil.which, ("c++", "g++", "clang++", "cl"))):
        return loops, "compiled left out: no C++ compiler"
    formats = {"float32 channels_last": None, "bfloat16 channels_last": torch.bfloat16}
    first = seconds_in_turns({name: step for name, step in loops.items() if name in formats}, 1)
    fastest = min(first, key=lambda name: first[name])
    step = textbook_step(torch.compile(model), batch, NumberFormat(formats[fastest]))  # type: ignore[arg-type]
    start = time.perf_counter()
    try:
        step()
    except Exception as error:  # if compilation fails in any way, the other loops can still be timed
        return loops, f"compiled left out: {first_line(error)}"
    return {**loops, COMPILED: step}, f"compiled is {fastest}, compiling took {time.perf_counter() - start:.0f} s"


def random_batch(settings: TrainingSpeed) -> Batch:
    """Images and labels of noise; values do not change how long a step takes."""
    generator = torch.Generator().manual_seed(0)
    shape = settings.batch_size, settings.crop_size, settings.crop_size
    images = torch.randn(shape[0], 3, *shape[1:], generator=generator)
    return images, torch.randint(0, CLASSES, shape, generator=generator)


def step_times(name: str, settings: TrainingSpeed) -> StepTimes:
    """Time the training steps of a network with random weights on the CPU."""
    batch = random_batch(settings)
    loops, model, notes = _loops(name, batch)
    if settings.compiled:
        loops, note = _with_compiled(loops, model, batch)
        notes = (*notes, note)
    subject = SUBJECTS[name]
    found = seconds_in_turns(loops, max(1, round(subject.share * settings.repeats)))
    return StepTimes(subject.title, {name: s / settings.batch_size for name, s in found.items()}, notes)


def loading_speed(folder: Path, crop_size: int, batch_size: int) -> float:
    """Augmented training crops per second that two worker processes make of the images of a split, read from disk."""
    split = find_split(folder, None, role="train")
    dataset = SegmentationDataset(split, training_transform(Augmentation(crop_size)))
    loader = training_loader(dataset, batch_size, workers=2)
    for _ in loader:  # starts the workers and fills the file cache
        pass
    start = time.perf_counter()
    batches = sum(1 for _ in range(3) for _ in checked(loader))
    return batches * batch_size / (time.perf_counter() - start)


def training_speed(folder: Path, settings: TrainingSpeed) -> list[Figure]:
    """What a step of ``train.py`` takes over the fastest other loop, per network, and its data-loading headroom.

    Args:
        folder: Data folder; only the loading is measured on it.
        settings: How.
    """
    figures, own = [], {}
    for name in SUBJECTS:
        times = step_times(name, settings)
        own[name] = times.seconds[OWN]
        detail = f"{settings.crop_size} px crops, batch {settings.batch_size}; {times}"
        title = f"{times.title}, training step of train.py over the fastest loop"
        figures.append(Figure(title, times.own_ratio, "x", "<=", 1.05, detail))
    loaded = loading_speed(folder, settings.crop_size, settings.batch_size)
    name = next(iter(SUBJECTS))
    fed = f"{loaded:.1f} crops/s by 2 workers from images on disk, {SUBJECTS[name].title} takes {1 / own[name]:.2f}"
    return [*figures, Figure("data-loading headroom", loaded * own[name], "x", ">=", 2.0, fed)]
