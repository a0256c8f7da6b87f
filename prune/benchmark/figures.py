"""The project's own speed and memory, as ratios against a named baseline in the same run."""

import contextlib
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from prune.metrics.crack import CrackSettings, boundary_counts, count_crack
from prune.metrics.distance import within
from prune.metrics.thinning import thin
from prune.progress import progress
from prune.synthetic import draw_scene

CRACK_SEEDS = 4
"""Synthetic photographs whose cracks are laid over each other, so that about 1% of the pixels is crack."""


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


def run_measured(words: list[str], folder: Path) -> tuple[float, float]:
    """Run a command in ``folder``; returns seconds and peak resident memory in GiB of the largest child so far.

    A child starts with what this process takes, so nothing large may have been computed here before.
    """
    start = time.perf_counter()
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent.parent)}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL)
    unit = 2**30 if sys.platform == "darwin" else 2**20
    return time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def drawn_cracks(size: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """A prediction and a label (size, size) of S2DS ids with the cracks of synthetic photographs, about 1% of the pixels.

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

    tasks: dict[str, Callable[[], object]] = {"scores": score, "thin": lambda: thin(masks[1])}
    with contextlib.suppress(ImportError):  # a development dependency
        from skimage.morphology import thin as published

        tasks["published"] = lambda: published(masks[1])
    seconds: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in progress(range(repeats), "scoring", "round"):
        for name, task in tasks.items():
            start = time.perf_counter()
            task()
            seconds[name].append(time.perf_counter() - start)
    found = {name: 1e3 * median(values) for name, values in seconds.items()}
    share = f"{size} px image, {100 * masks[1].mean():.1f}% labeled crack"
    detail = f"{share}, one core"
    if "published" in found:
        detail += f"; thinning it takes {found['thin']:.0f} ms, skimage's {found['published']:.0f} ms, same pixels"
    return [Figure("all crack scores of one image", found["scores"], "ms", "<=", 300.0, detail)]
