"""How close a survey comes to the images per second of the network alone, and what it takes for one large photograph."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image

from prune.api.model import Model
from prune.api.survey import survey
from prune.benchmark.figures import Figure
from prune.benchmark.folder_speed import SIZE, WARM_IMAGES, alone, write_photographs
from prune.data.images import read_image
from prune.data.preprocessing import Preprocessing
from prune.errors import UserError
from prune.files import shipped_model
from prune.inference.load import load_predictor
from prune.inference.metadata import thread_count
from prune.inference.predictor import Predictor
from prune.progress import progress, shown_or_not
from prune.synthetic import draw_scene

NETWORK = "crack"
SPEED_BOUND, MEMORY_BOUND = 80.0, 1.0
"""Percent of the network's own speed, and GiB above the network."""
LARGE = (5464, 7320)
"""Height and width in px of a photograph of 40 megapixels."""
MAP_WIDTH, MAP_HEIGHTS, MAP_BOUND = 4096, (4096, 16384), 0.1
"""Width and heights in px of orthophotos, and how much more memory the higher one may take, in GiB."""
WALL = 1024
"""px: side of the drawing that the large photograph repeats."""
PEAK = """
from prune.benchmark.memory import peak_mib
{work}
print(peak_mib() / 1024)
"""
ALONE = """
from pathlib import Path
from prune.data.images import read_image
from prune.inference.load import load_predictor
load_predictor(Path({network!r})).class_map(read_image(Path({photo!r})))
"""
SURVEY = """
import prune
prune.survey({photo!r}, {network!r}, output={output!r})
"""


def network_file() -> Path:
    """The network that ships.

    Raises:
        UserError: when it does not.
    """
    file = shipped_model(NETWORK)
    if file is None:
        raise UserError(f"--suite survey: expected the network {NETWORK} in the package, found none")
    return file


def _survey_rate(file: Path, photos: Path, output: Path) -> tuple[float, float]:
    """Photographs per second while they are measured, and seconds for report, tables and polygons."""
    start = time.perf_counter()
    with shown_or_not(False):
        result = survey(photos, Model(load_predictor(file)), output=output)
    return result.measured / result.seconds, time.perf_counter() - start - result.seconds


def speed(images: int, rounds: int) -> Figure:
    """Percent of the network's own images per second that a survey reaches, measuring and drawing included.

    Args:
        images: Photographs.
        rounds: Rounds, in each of which the network alone and the survey follow each other; the median counts.
    """
    file, threads = network_file(), thread_count(0)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        photos = write_photographs(root / "photos", images)
        batches = [Preprocessing().normalize(read_image(photo)) for photo in photos[:WARM_IMAGES]]
        crews: dict[str, Sequence[Predictor]] = {"all threads": [load_predictor(file)]}
        if threads > 1:
            crews["one per core"] = [load_predictor(file, threads=1) for _ in range(threads)]
        rates: dict[str, list[float]] = {}
        for turn in progress(range(rounds + 1), "survey", "round"):
            found = {crew: alone(predictors, batches, images) for crew, predictors in crews.items()}
            found["survey"], found["documents"] = _survey_rate(file, root / "photos", root / f"survey{turn}")
            for key, value in found.items():
                rates.setdefault(key, []).extend([value] if turn else [])
    best = max(crews, key=lambda key: median(rates[key]))
    found = {key: median(values) for key, values in rates.items()}
    detail = (
        f"{images} JPEG of {SIZE[1]}x{SIZE[0]} px, the network that ships: {found['survey']:.0f} of its "
        f"{found[best]:.0f} photographs/s ({best}); report, tables and polygons take {found['documents']:.1f} s more"
    )
    return Figure("survey of photographs", 100 * found["survey"] / found[best], "%", ">=", SPEED_BOUND, detail)


def _peak(work: str) -> float:
    """Peak resident memory in GiB of a Python program of its own."""
    words = [sys.executable, "-c", PEAK.format(work=work)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])


def memory() -> Figure:
    """GiB that a survey of one photograph of 40 megapixels takes above the network with its photograph."""
    with tempfile.TemporaryDirectory() as name:
        photo = Path(name) / "wall.jpg"
        wall = draw_scene(WALL, np.random.default_rng(0)).image
        tiled = np.tile(wall, (-(-LARGE[0] // WALL), -(-LARGE[1] // WALL), 1))[: LARGE[0], : LARGE[1]]
        Image.fromarray(tiled).save(photo, quality=90)
        about = {"photo": str(photo), "network": str(network_file()), "output": str(Path(name) / "survey")}
        network, whole = _peak(ALONE.format(**about)), _peak(SURVEY.format(**about))
    detail = f"JPEG of {LARGE[1]}x{LARGE[0]} px: {whole:.2f} GiB, network and photograph alone {network:.2f} GiB"
    return Figure(
        "survey of 40 megapixels, memory above the network", whole - network, "GiB", "<=", MEMORY_BOUND, detail
    )


def write_orthophoto(file: Path, height: int) -> None:
    """Write a GeoTIFF of ``MAP_WIDTH`` times ``height`` px that repeats one drawing, a strip at a time."""
    from rasterio import Affine
    from rasterio import open as open_raster
    from rasterio.windows import Window

    wall = draw_scene(WALL, np.random.default_rng(0)).image
    strip = np.moveaxis(np.tile(wall, (1, MAP_WIDTH // WALL, 1)), 2, 0)
    place = {"crs": "EPSG:32633", "transform": Affine(0.001, 0, 400000, 0, -0.001, 5600000)}
    shape = {"count": 3, "width": MAP_WIDTH, "height": height, "dtype": "uint8"}
    with open_raster(file, "w", driver="GTiff", tiled=True, compress="deflate", **shape, **place) as map_file:
        for top in range(0, height, WALL):
            map_file.write(strip, window=Window(0, top, MAP_WIDTH, WALL))


def map_memory(heights: tuple[int, int] = MAP_HEIGHTS) -> Figure:
    """GiB that the survey of a higher orthophoto takes more than that of a low one of the same width."""
    peaks = []
    with tempfile.TemporaryDirectory() as name:
        for height in heights:
            photo = Path(name) / f"map{height}.tif"
            write_orthophoto(photo, height)
            about = {"photo": str(photo), "network": str(network_file()), "output": f"{name}/survey{height}"}
            peaks.append(_peak(SURVEY.format(**about)))
    low, high = (f"{peak:.2f} GiB for {MAP_WIDTH}x{height} px" for peak, height in zip(peaks, heights, strict=True))
    detail = f"GeoTIFF, the network that ships: {low}, {high}"
    return Figure(
        "survey of an orthophoto, memory for 4 times the height", peaks[1] - peaks[0], "GiB", "<=", MAP_BOUND, detail
    )


def survey_speed(images: int = 200, rounds: int = 3) -> list[Figure]:
    """Speed and memory of surveys with the network that ships."""
    return [speed(images, rounds), memory(), map_memory()]
