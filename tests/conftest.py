import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

if (
    "PYTEST_XDIST_WORKER" in os.environ
):  # read by torch on import: as many threads as cores in every worker are too many
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch
from PIL import Image

from prune.data.labels import S2DS, ClassSet
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.errors import UserError
from prune.models.checkpoint import Network, save_checkpoint
from prune.models.unet import UNet

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # a script's background job: commands under test would ignore it too
    signal.signal(signal.SIGINT, signal.default_int_handler)
ROOT = Path(__file__).parent.parent
torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
PINNED = ["--amp", "off", "--channels_last", "True"]
"""Flags with which trainings that are compared compute the same: auto is measured in each process."""
TINY = ["--model", "deeplabv3_tiny", "--crop_size", "64", "--workers", "0", "--batch_size", "4", *PINNED]
"""Flags that make a command train the microscopic network."""
TENSORRT = {
    *("Add", "ArgMax", "AveragePool", "BatchNormalization", "Cast", "Concat", "Constant", "Conv", "ConvTranspose"),
    *("DepthToSpace", "DequantizeLinear", "Div", "Gather", "GlobalAveragePool", "HardSigmoid", "HardSwish", "Identity"),
    *("MaxPool", "Mul", "Pad", "QuantizeLinear", "ReduceMean", "Relu", "Reshape", "Resize", "Shape", "Sigmoid"),
    *("Clip", "Slice", "Squeeze", "Sub", "Unsqueeze"),
}
"""Operators of our graphs that TensorRT's ONNX parser documents (a part of its list)."""


SLOW_RUNTIMES = [pytest.param(name, marks=pytest.mark.slow) for name in ("openvino", "ncnn", "pt2")]
"""Runtimes whose converters take their time."""


class Exports(dict[str, Path]):
    """The files of a microscopic network by runtime, each written when it is first asked for; ids gives class ids."""

    def __init__(self, folder: Path, classes: ClassSet) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.folder = folder
        self.network = Network(UNet(len(classes), widths=(4, 4, 8, 8, 8)).eval(), "unet", classes)

    def __missing__(self, kind: str) -> Path:
        if kind == "pytorch":
            self[kind] = save_checkpoint(self.network, self.folder / "a.pth")
        else:
            runtime = "onnx" if kind == "ids" else kind
            target = ExportTarget(runtime, size=(64, 96) if kind in ("ids", "ncnn") else None, argmax=kind == "ids")
            name = "ids" if kind == "ids" else "a"
            self[kind] = export(self.network, target, self.folder / f"{name}{target.suffix}")
        return self[kind]


def draw_label(size: int, rng: np.random.Generator) -> np.ndarray:
    """Rectangles of every class and a crack: not pretty, but each class has one fixed color to learn."""
    label = np.zeros((size, size), dtype=np.uint8)
    for class_id in range(1, 6):
        top, left = rng.integers(0, size - size // 4, 2)
        label[top : top + size // 5, left : left + size // 5] = class_id
    column = int(rng.integers(2, size - 2))
    label[:, column : column + 2] = 6
    return label


def write_pair(split: Path, stem: str, label: np.ndarray, rng: np.random.Generator, kind: str = "ids") -> None:
    """One image whose colors follow its label, in the documented layout (``kind`` ids or colors)."""
    tint = np.array(
        [[120, 120, 120], [30, 30, 200], [30, 180, 30], [200, 240, 240], [190, 110, 30], [150, 60, 60], [20, 20, 20]]
    )
    noise = rng.integers(-12, 13, (*label.shape, 3))
    photo = np.clip(tint[np.where(label > 6, 0, label)] + noise, 0, 255).astype(np.uint8)
    (split / "Images").mkdir(parents=True, exist_ok=True)
    Image.fromarray(photo).save(split / "Images" / f"{stem}.png")
    folder, picture = ("Labels_grayscale", label) if kind == "ids" else ("Labels_RGB", S2DS.colorize(label))
    (split / folder).mkdir(exist_ok=True)
    Image.fromarray(picture).save(split / folder / f"{stem}.png")


def make_data(root: Path, counts: tuple[int, int, int] = (8, 3, 3), size: int = 64) -> Path:
    rng = np.random.default_rng(0)
    for name, count in zip(("train", "val", "test"), counts, strict=True):
        for number in range(count):
            write_pair(root / name, f"{number:03d}", draw_label(size, rng), rng)
    return root


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small data folder in the documented layout; do not write into it."""
    return make_data(tmp_path_factory.mktemp("data") / "S2DS")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A fresh working directory: results/ of a test land here."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def command(script: str, *arguments: object, cwd: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a script of the repository (or ``-m prune``) as a user does."""
    target = script.split() if script.startswith("-m") else [str(ROOT / script)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1")}
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        environment.pop(name, None)
    words = [sys.executable, *target, *map(str, arguments)]
    return subprocess.run(words, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout)


@contextmanager
def refused(pattern: str) -> Iterator["pytest.ExceptionInfo[UserError]"]:
    """Expect a ``UserError`` whose message, as the command line prints it, ``pattern`` is found in."""
    with pytest.raises(UserError) as caught:
        yield caught
    assert re.search(pattern, caught.value.message), caught.value.message
