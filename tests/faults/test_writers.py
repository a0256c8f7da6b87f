"""Every kind of file that is written to a disk with too little room: one line, and no file."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from prune.data.labels import CRACK
from prune.files import write_json
from prune.inspection.geo_files import CoordinateSystem, Feature, write_geopackage
from prune.models.torch_file import write_torch
from prune.report import charts
from prune.report.figures import save_image, save_mask
from prune.report.sheets import save_workbook
from tests.conftest import refused
from tests.faults.campaign import may_mount
from tests.faults.cases import disk

ROOM = 2**16
NOISE = np.random.default_rng(0).integers(0, 255, (400, 400, 3), dtype=np.uint8)
MASK = np.random.default_rng(0).integers(0, 2, (1200, 1200), dtype=np.uint8)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB."""
    if not may_mount():
        pytest.skip("no right to mount a disk")
    with disk(tmp_path / "small", ROOM) as place:
        yield place


def workbook(path: Path) -> None:
    """A workbook of numbers that do not compress well."""
    from openpyxl import Workbook

    book = Workbook()
    for row in np.random.default_rng(0).random((400, 20)).tolist():
        book.active.append(row)
    save_workbook(book, path)


def chart(path: Path) -> None:
    """A chart of noise."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 6))
    figure.subplots().imshow(NOISE)
    charts.save(figure, path)


def geopackage(path: Path) -> None:
    """A map of many lines."""
    line = [(float(x), float(x)) for x in range(500)]
    write_geopackage(path, "cracks", {"n": int}, [Feature([line], {"n": n}) for n in range(40)], CoordinateSystem())


def video(path: Path) -> None:
    """Pictures of noise."""
    pytest.importorskip("av")
    from prune.inspection.video import video_writer

    with video_writer(path, 10, (400, 400)) as add:
        for shift in range(10):
            add(np.roll(NOISE, shift))


def geotiff(path: Path) -> None:
    """A prediction of noise."""
    pytest.importorskip("rasterio")
    from prune.inspection.map_prediction import predict_orthophoto
    from prune.inspection.orthophoto import Orthophoto
    from tests.inspection.test_orthophoto import geotiff as picture

    source = picture(path.parent.parent / "photo.tif", np.moveaxis(NOISE, 2, 0))
    with Orthophoto(source) as photo:
        predict_orthophoto(photo, lambda image: (image[..., 0], None), path)


WRITERS: dict[str, Callable[[Path], object]] = {
    "a.png": lambda path: save_image(NOISE, path),
    "a.jpg": lambda path: save_image(NOISE, path),
    "a.webp": lambda path: save_image(NOISE, path),
    "mask.png": lambda path: save_mask(MASK, CRACK, path),
    "a.json": lambda path: write_json(path, NOISE[:100].tolist()),
    "a.pth": lambda path: write_torch({"weight": torch.rand(100_000)}, path),
    "a.xlsx": workbook,
    "chart.png": chart,
    "a.gpkg": geopackage,
    "a.mp4": video,
    "a.tif": geotiff,
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_with_too_little_room_is_one_line_and_leaves_nothing(
    small: Path, capfd: pytest.CaptureFixture[str], name: str
) -> None:
    cause = "database or disk is full" if name.endswith("gpkg") else "No space left on device"
    with refused(f"cannot write .*/small/{name}: {cause}"):
        WRITERS[name](small / name)
    assert not list(small.iterdir()) and capfd.readouterr().err == ""
