"""The project's own speed and memory, as ratios against a named baseline in the same run."""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from prune.config import TrainConfig
from prune.data.dataset import Batch
from prune.engine.training import Stepper, make_optimizer
from prune.hardware import autocast_type
from prune.losses import make_loss
from prune.models import build_model


@dataclass(frozen=True)
class Figure:
    """One measured figure with the bound it should keep: at least (``>=``) or at most (``<=``) ``bound``."""

    name: str
    value: float
    unit: str
    relation: str
    bound: float
    detail: str

    @property
    def kept(self) -> bool:
        """Whether the bound holds."""
        return self.value >= self.bound if self.relation == ">=" else self.value <= self.bound


def _batch(batch_size: int, crop_size: int) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(batch_size, 3, crop_size, crop_size, generator=generator)
    return images, torch.randint(0, 7, (batch_size, crop_size, crop_size), generator=generator)


def _naive_step(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """The textbook loop: float32, NCHW, Adam, cross entropy on both heads."""
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)

    def step() -> None:
        optimizer.zero_grad()
        output = model(batch[0])
        (F.cross_entropy(output["out"], batch[1]) + 0.4 * F.cross_entropy(output["aux"], batch[1])).backward()
        optimizer.step()

    return step


def _own_step(model: nn.Module, batch: Batch) -> Callable[[], None]:
    """What ``train.py`` does with its defaults on this machine."""
    device = torch.device("cpu")
    config = TrainConfig(optimizer="adam", loss="ce")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    stepper = Stepper(model, make_loss("ce"), device, autocast_type("auto", device), config.channels_last)
    optimizer = make_optimizer(model, config)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        stepper(batch).backward()
        optimizer.step()

    return step


def training_speed(crop_size: int, batch_size: int, repeats: int) -> Figure:
    """Steps per second of ``train.py`` over those of the naive loop: same network, crop, batch and optimizer, CPU."""
    batch = _batch(batch_size, crop_size)
    loops = {}
    for name, make in (("naive", _naive_step), ("own", _own_step)):
        torch.manual_seed(0)
        loops[name] = make(build_model("deeplabv3_resnet101", 7).train(), batch)
    seconds: dict[str, list[float]] = {name: [] for name in loops}
    for turn in tqdm(range(repeats + 1), desc="training steps", unit="round", leave=False):
        for name, step in loops.items():
            start = time.perf_counter()
            step()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    naive, own = median(seconds["naive"]) / batch_size, median(seconds["own"]) / batch_size
    number = autocast_type("auto", torch.device("cpu"))
    detail = (
        f"naive {naive:.2f} s, own {own:.2f} s per {crop_size} px crop, batch {batch_size}, "
        f"autocast {'off: no bf16 hardware' if number is None else str(number).removeprefix('torch.')}"
    )
    return Figure("training throughput over a naive loop", naive / own, "x", ">=", 4.0, detail)


def run_measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a command in ``folder``; returns seconds and peak resident memory in GiB of the largest child so far."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit
