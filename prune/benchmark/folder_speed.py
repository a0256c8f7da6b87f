"""How close ``inference.py`` on a folder comes to the images per second of the network alone."""

import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from prune.api.predict import predict
from prune.benchmark.figures import Figure
from prune.data.images import read_image
from prune.data.labels import CRACK
from prune.data.preprocessing import Preprocessing
from prune.deployment.export import export
from prune.deployment.target import ExportTarget
from prune.inference.load import load_predictor
from prune.inference.metadata import thread_count
from prune.inference.predictor import Predictor
from prune.models import build_model
from prune.models.checkpoint import Network
from prune.progress import progress, shown_or_not
from prune.pruning.recalibrate import recalibrate_batch_norm
from prune.synthetic import draw_scene

NETWORK = "hrsegnet_b16"
SIZE = (480, 640)
"""Height and width of the photographs in px."""
SCENES, SCENE_SIDE = 4, 800
"""Drawings the photographs are cut from, and their side in px; drawing 200 of them would take minutes."""
CRACK_SHARE = 0.05
"""Of the pixels the untrained network is made to predict as crack, so that overlays have something to draw."""
JPEG_QUALITY = 85
"""About 1.6 bits per pixel, as the photographs of CrackForest have."""
WARM_IMAGES = 16
"""Photographs in memory that the network alone works on."""


@dataclass(frozen=True)
class Job:
    """One way to go through the folder, with the share of the network's own speed it should reach.

    Args:
        name: Of the figure.
        mode: Of ``inference.py``.
        format: Of the files.
        bound: Percent.
    """

    name: str
    mode: str
    format: str
    bound: float


JOBS = (Job("masks", "save_mask", "png", 85.0), Job("overlays as JPEG", "overlay", "jpg", 70.0))


def write_photographs(folder: Path, count: int) -> list[Path]:
    """Write ``count`` JPEG photographs of ``SIZE``: parts of a few drawings, half of them mirrored."""
    rng = np.random.default_rng(0)
    scenes = [draw_scene(SCENE_SIDE, rng).image for _ in range(SCENES)]
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for number in range(count):
        top, left = rng.integers(0, SCENE_SIDE - SIZE[0]), rng.integers(0, SCENE_SIDE - SIZE[1])
        part = scenes[number % SCENES][top : top + SIZE[0], left : left + SIZE[1]]
        files.append(folder / f"{number:04d}.jpg")
        Image.fromarray(part[:, :: 1 - 2 * (number % 2)]).save(files[-1], quality=JPEG_QUALITY)
    return files


def make_network(file: Path, images: Sequence[NDArray[np.uint8]]) -> Path:
    """Export an untrained network as ONNX INT8 that predicts crack on about ``CRACK_SHARE`` of these images' pixels.

    Without fitting batch-norm statistics an untrained network says the same of every pixel.
    """
    torch.manual_seed(0)
    model = build_model(NETWORK, len(CRACK), auxiliary=False).eval()
    batches = [Preprocessing().normalize(image) for image in images]
    together = torch.from_numpy(np.concatenate(batches))
    recalibrate_batch_norm(model, [together])
    with torch.inference_mode():
        logits = model(together)["out"]
    margin = torch.quantile((logits[:, 1] - logits[:, 0]).flatten()[::16], 1 - CRACK_SHARE)
    last = [parameter for name, parameter in model.named_parameters() if name.endswith("bias")][-1]
    with torch.no_grad():
        last[1] -= margin
    return export(Network(model, NETWORK, CRACK), ExportTarget("onnx", "int8", SIZE), file, batches=batches)


def alone(predictors: Sequence[Predictor], batches: Sequence[NDArray[np.float32]], count: int) -> float:
    """Images per second of networks that share ``count`` passes on normalized images float32 (1, 3, H, W) in memory."""

    def work(predictor: Predictor) -> None:
        for number in range(count // len(predictors)):
            predictor.run(batches[number % len(batches)])

    start = time.perf_counter()
    with ThreadPoolExecutor(len(predictors)) as pool:
        list(pool.map(work, predictors))
    return count // len(predictors) * len(predictors) / (time.perf_counter() - start)


def folder_rate(job: Job, network: Path, photos: Path, output: Path) -> float:
    """Photographs per second of ``inference.py`` on a folder, loading and choosing the networks not counted."""
    with shown_or_not(False):
        result = predict(network, photos, mode=job.mode, output=output, format=job.format)
    return result.images / result.seconds


def folder_speed(images: int = 200, rounds: int = 5) -> list[Figure]:
    """What ``inference.py`` reaches on a folder, in percent of the images per second of the network alone in the same run.

    Args:
        images: Photographs in the folder.
        rounds: Rounds, in each of which the network alone and every job take their turn; the median counts.
    """
    threads = thread_count(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photos = write_photographs(root / "photos", images)
        decoded = [read_image(photo) for photo in photos[:WARM_IMAGES]]
        network = make_network(root / "network.onnx", decoded[:4])
        batches = [Preprocessing().normalize(image) for image in decoded]
        crews = {"all threads": [load_predictor(network)]}
        if threads > 1:
            crews["one per core"] = [load_predictor(network, threads=1) for _ in range(threads)]
        rates: dict[str, list[float]] = {}
        for turn in progress(range(rounds + 1), "folder", "round"):
            found = {name: alone(crew, batches, images) for name, crew in crews.items()}
            found |= {job.name: folder_rate(job, network, root / "photos", root / job.mode) for job in JOBS}
            for key, rate in found.items():
                rates.setdefault(key, []).extend([rate] if turn else [])
    best = max(crews, key=lambda key: median(rates[key]))
    speed = {key: median(values) for key, values in rates.items()}
    detail = f"{images} JPEG of {SIZE[1]}x{SIZE[0]} px, {NETWORK} ONNX INT8: %.0f of the network's {speed[best]:.0f} images/s"
    return [
        Figure(
            f"folder of photographs: {job.name}",
            100 * speed[job.name] / speed[best],
            "%",
            ">=",
            job.bound,
            f"{detail % speed[job.name]} ({best})",
        )
        for job in JOBS
    ]
