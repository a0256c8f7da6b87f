"""The project's own speed and memory, as ratios against a named baseline in the same run."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F
from tqdm import tqdm

from prune.config import TrainConfig
from prune.data.dataset import Batch, SegmentationDataset, checked, training_loader
from prune.data.layout import find_split
from prune.data.synthetic import draw_scene
from prune.data.transforms import Augmentation, training_transform
from prune.engine.training import Stepper, make_optimizer
from prune.hardware import autocast_type
from prune.losses import make_loss
from prune.metrics.crack import CrackSettings, boundary_counts, count_crack
from prune.metrics.distance import within
from prune.metrics.thinning import thin
from prune.models import build_model

CRACK_SEEDS = 4
"""Synthetic photographs whose cracks are laid over each other, so that about 1 % of the pixels is crack."""


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


def _own_step(model: nn.Module, batch: Batch, compiled: bool = False) -> Callable[[], None]:
    """What ``train.py`` does with its defaults on this machine."""
    device = torch.device("cpu")
    config = TrainConfig(optimizer="adam", loss="ce")
    model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if compiled:
        model.compile()
    stepper = Stepper(model, make_loss("ce"), device, autocast_type("auto", device), config.channels_last)
    optimizer = make_optimizer(model, config)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        stepper(batch).backward()
        optimizer.step()

    return step


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


def training_speed(folder: Path, crop_size: int, batch_size: int, repeats: int, compiled: bool = False) -> list[Figure]:
    """What ``train.py`` does per second over what a naive loop does, and over what its data loading could feed.

    Args:
        folder: Data folder; only the loading is measured on it.
        crop_size: Side of the crops in px.
        batch_size: Crops per step.
        repeats: Timed steps of each loop, in turns: same network, crop, batch and optimizer, on the CPU.
        compiled: Time the own loop under ``torch.compile`` too; the first, untimed step compiles.
    """
    batch = _batch(batch_size, crop_size)
    loops = {}
    makers = {"naive": _naive_step, "own": _own_step}
    makers |= {"compiled": partial(_own_step, compiled=True)} if compiled else {}
    for name, make in makers.items():
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
    if compiled:
        detail += f"; own step compiled {median(seconds['compiled']) / batch_size:.2f} s"
    loaded = loading_speed(folder, crop_size, batch_size)
    fed = f"{loaded:.1f} crops/s by 2 workers from images on disk, the network takes {1 / own:.2f}"
    return [
        Figure("training throughput over a naive loop", naive / own, "x", ">=", 4.0, detail),
        Figure("data loading over the network's appetite", loaded * own, "x", ">=", 2.0, fed),
    ]


def run_measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a command in ``folder``; returns seconds and peak resident memory in GiB of the largest child so far."""
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def drawn_cracks(size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A prediction and a label (size, size) of S2DS ids with the cracks of synthetic photographs, about 1 % of the pixels.

    The prediction is the label moved by 2 px and widened, with a false crack: nothing is spared by being equal.
    """
    label = np.zeros((size, size), np.uint8)
    for seed in range(CRACK_SEEDS):
        label[draw_scene(size, np.random.default_rng(seed)).label == 6] = 6
    prediction = np.roll(label, (2, 1), (0, 1))
    prediction[within(prediction == 6, 1)] = 6
    prediction[size // 2, size // 4 : size // 2] = 6
    return prediction, label


def scoring_speed(size: int, repeats: int) -> list[Figure]:
    """Milliseconds on one core for all crack scores of one image, and the published thinning done both ways."""
    prediction, label = drawn_cracks(size)
    known = np.ones(label.shape, bool)
    masks = prediction == 6, label == 6

    def score() -> None:
        count_crack(*masks, known, known, CrackSettings())
        boundary_counts(*masks, known, CrackSettings().boundary_px)

    contenders: dict[str, Callable[[], object]] = {"scores": score, "thin": lambda: thin(masks[1])}
    with contextlib.suppress(ImportError):  # a development dependency
        from skimage.morphology import thin as published

        contenders["published"] = lambda: published(masks[1])
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for _ in tqdm(range(repeats), desc="scoring", unit="round", leave=False):
        for name, contender in contenders.items():
            start = time.perf_counter()
            contender()
            seconds[name].append(time.perf_counter() - start)
    found = {name: 1e3 * median(values) for name, values in seconds.items()}
    share = f"{size} px image, {100 * masks[1].mean():.1f} % labeled crack"
    detail = f"{share}, one core"
    if "published" in found:
        detail += f"; thinning it takes {found['thin']:.0f} ms, skimage's {found['published']:.0f} ms, same pixels"
    return [Figure("all crack scores of one image", found["scores"], "ms", "<=", 300.0, detail)]
