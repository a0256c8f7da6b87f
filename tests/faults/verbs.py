"""The commands that are disturbed: every verb that writes, on microscopic networks and drawn photographs."""

import importlib.util
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from prune.files import write_text
from tests.conftest import PINNED, ROOT, TINY
from tests.faults.process import Command

SMALL = ("--latency_repeats", "0", "--crop_size", "64", "--batch_size", "4", *PINNED)
QUICKLY = ("--latency_repeats", "0", "--workers", "0")
PLAN = """
name = "new"
data = "data"
networks = ["deeplabv3_tiny"]
criteria = ["L2"]
ratios = [50]
controls = false
latency_size = 64
latency_repeats = 1
latency_threads = 1
[train]
epochs = 1
weights = "none"
crop_size = 64
batch_size = 4
workers = 0
amp = "off"
channels_last = true
[prune]
crop_size = 64
[test]
workers = 0
"""


@dataclass(frozen=True)
class Verb:
    """A command and what it writes, by paths in the folder it runs in.

    Args:
        name: In the table.
        words: Behind ``python``.
        results: What it writes: files and folders.
        again: Flags of the call that goes on after an interruption.
        over: Flags of the call that replaces a finished result.
        loose: Patterns of results that say when and how fast, below ``results``; of them only completeness counts.
        replaces: Whether results that are there stay complete until new ones take their place.
        fresh: Whether it is always started in a new interpreter: it imports little.
        slow: Whether it takes so long that it gets a quarter of the cases.
    """

    name: str
    words: tuple[str, ...]
    results: tuple[str, ...]
    again: tuple[str, ...] = ()
    over: tuple[str, ...] = ()
    loose: tuple[str, ...] = ()
    replaces: bool = True
    fresh: bool = False
    slow: bool = False

    def command(self, folder: Path, *flags: str, told: Mapping[str, str] | None = None, fresh: bool = False) -> Command:
        """Start it in a folder, with further flags."""
        words = list(self.words)
        first = [] if words[0] == "-m" else [str(ROOT / words.pop(0))]
        return Command([sys.executable, *first, *words, *flags], folder, told or {}, fresh or self.fresh)


SURVEY = ("-m", "prune", "survey")
VERBS = {
    verb.name: verb
    for verb in (
        Verb("survey", (*SURVEY, "photos", "--model", "crack", "--name", "new"), ("results/surveys/new",)),
        Verb(
            "train",
            ("train.py", "data/train", "data/val", "new", *TINY, "--epochs", "3", "--weights", "none", "--cache"),
            ("results/models/new.pth", "results/runs/new"),
            again=("--resume",),
            over=("--force",),
            loose=("results/runs/new/config.json", "results/runs/new/curves.png"),
            replaces=False,
        ),
        Verb(
            "prune",
            (
                *("torchvision_pruning.py", "--state_dict", "dense", "--model_name", "new", "--data_dir", "data"),
                *("--importance_type", "Taylor", *SMALL),
            ),
            ("results/models/new.pth", "results/pruning/new.json", "results/pruning/new.csv"),
        ),
        Verb(
            "test",
            ("test.py", "data/test", "--weights", "dense", "--output", "results/metrics/new.xlsx", *QUICKLY),
            ("results/metrics/new.xlsx", "results/metrics/new.json"),
        ),
        Verb(
            "synthesize",
            ("-m", "prune", "synthesize", "drawn", "--images", "8", "--size", "64"),
            ("drawn",),
            over=("--force",),
            fresh=True,
        ),
        Verb(
            "export",
            ("-m", "prune", "export", "dense", "--data", "data", "--output", "results/exports/new.onnx"),
            ("results/exports/new.onnx", "results/exports/new.onnx.json"),
            slow=True,
        ),
        Verb(
            "survey of a map",
            (*SURVEY, "map.tif", "--model", "crack", "--name", "new"),
            ("results/surveys/new",),
            loose=("*.gpkg",),
        ),
        Verb("survey of a video", (*SURVEY, "clip.mp4", "--model", "crack", "--name", "new"), ("results/surveys/new",)),
        Verb(
            "compare",
            ("-m", "prune", "compare", "a.json", "b.json", "--output", "results/metrics/new.xlsx"),
            ("results/metrics/new.xlsx", "results/metrics/new.json"),
        ),
        Verb(
            "score",
            ("-m", "prune", "score", "masks", "data/test/Labels_grayscale", "--output", "results/metrics/new.xlsx"),
            ("results/metrics/new.xlsx", "results/metrics/new.json"),
        ),
        Verb(
            "dataset",
            ("-m", "prune", "dataset", "data", "--output", "results/datasets/new"),
            ("results/datasets/new",),
        ),
        Verb(
            "inference",
            (
                *("inference.py", "--image", "photos", "--state_dict", "dense", "--mode", "overlay", "--save_figure"),
                *("--output_dir", "results/figures/new"),
            ),
            ("results/figures/new",),
        ),
        Verb(
            "export to OpenVINO",
            (
                "-m",
                "prune",
                "export",
                "dense",
                "--to",
                "openvino",
                "--data",
                "data",
                "--output",
                "results/exports/new.xml",
            ),
            ("results/exports/new.xml", "results/exports/new.bin", "results/exports/new.xml.json"),
            loose=("results/exports/new.xml",),
            slow=True,
        ),
        Verb(
            "prepare",
            ("-m", "prune", "prepare", "data", "prepared"),
            ("prepared",),
            again=("--force",),
            over=("--force",),
        ),
        Verb(
            "study",
            ("-m", "prune", "study", "plan.toml", "--jobs", "1", "--output", "results/studies/new"),
            ("results/studies/new",),
            loose=(
                "*/trials/*",
                "*.html",
                "*.md",
                "*.tex",
                "*.csv",
                "*.png",
                "*.xlsx",
                "*/fingerprints.json",
                "*/study.json",
            ),
            slow=True,
        ),
    )
}


def make_material(folder: Path) -> Path:
    """What the commands work on, made once: data, a trained network, evaluations, photographs, a video, a map, a plan."""
    if (folder / "plan.toml").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)

    def do(*words: str) -> None:
        done = Verb("", words, ()).command(folder).ended()
        if done.code != 0:
            raise RuntimeError(f"{words}: {done.errors}")

    do("-m", "prune", "synthesize", "data", "--images", "12", "--size", "64")
    for written, weights, epochs in (("a.xlsx", "dense", "2"), ("b.xlsx", "other", "1")):
        do("train.py", "data/train", "data/val", weights, *TINY, "--epochs", epochs, "--weights", "none")
        do("test.py", "data/test", "--weights", weights, "--output", written, *QUICKLY)
    shutil.rmtree(folder / "results/runs")  # large, and copied for every case
    shutil.copytree(folder / "data/test/Labels_grayscale", folder / "masks")
    photographs(folder / "photos", 8)
    if _has("av"):
        clip(folder / "clip.mp4")
    if _has("rasterio"):
        orthophoto(folder / "map.tif")
    write_text(folder / "plan.toml", PLAN)
    return folder


def _has(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def drawn(number: int, size: int = 128) -> np.ndarray:
    """A gray picture uint8 (size, size, 3) with a dark crack that differs from number to number."""
    rng = np.random.default_rng(number)
    pixels = np.clip(rng.normal(170, 8, (size, size, 3)), 0, 255).astype(np.uint8)
    rows = np.arange(size)
    middle = size // 4 + (rows * (1 + number % 3)) // 4 + rng.integers(0, 3, size)
    for offset in range(3):
        pixels[rows, np.minimum(middle + offset, size - 1)] = 40
    return pixels


def photographs(folder: Path, count: int, size: int = 128) -> Path:
    """A folder of drawn photographs."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        Image.fromarray(drawn(number, size)).save(folder / f"{number:05d}.png", compress_level=1)
    return folder


def clip(file: Path) -> Path:
    """A video of a few frames."""
    from prune.inspection.video import video_writer

    with video_writer(file, 10, (128, 128)) as add:
        for number in range(6):
            add(drawn(number))
    return file


def orthophoto(file: Path, side: int = 700) -> Path:
    """A GeoTIFF that lies on a map, of several blocks."""
    import rasterio
    from rasterio.transform import from_origin

    picture = np.tile(drawn(1, 128), (-(-side // 128), -(-side // 128), 1))[:side, :side]
    place = {"crs": "EPSG:32633", "transform": from_origin(400000, 5650000, 0.001, 0.001)}
    with rasterio.open(file, "w", driver="GTiff", height=side, width=side, count=3, dtype="uint8", **place) as data:
        data.write(np.moveaxis(picture, 2, 0))
    return file
