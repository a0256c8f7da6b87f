"""Videos and orthophotos in a survey."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prune
from prune.errors import CannotWrite
from prune.inference.probability import class_probability
from prune.inspection.likeness import features
from tests.conftest import refused
from tests.inspection.drawn import DARK, LIGHT, dark_model, photograph

SIZE = (120, 160)


def frame(length: int) -> np.ndarray:
    """A light picture with a dark crack of 6 px."""
    pixels = np.full((*SIZE, 3), LIGHT, np.uint8)
    pixels[50:56, 20 : 20 + length] = DARK
    return pixels


def test_every_nth_frame_of_a_video_is_surveyed(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from prune.inspection.video import Video, video_writer

    folder = tmp_path / "films"
    folder.mkdir()
    with video_writer(folder / "walk.mp4", 10, SIZE) as add:
        for number in range(7):
            add(frame(60 + 10 * number))
    photograph(folder / "still.png", [(50, 20, 5, 100)])
    result = prune.survey(folder, dark_model(), output=tmp_path / "out", every=3, mm_per_pixel=0.5)
    assert [photo.name for photo in result.photos] == ["still", "walk/000000", "walk/000003", "walk/000006"]
    lengths = [photo.length_px for photo in result.photos]
    assert lengths == pytest.approx([100, 60, 90, 120], abs=3) and result.findings.unscaled == []
    assert result.photos[2].shot.notes == ("at 0.3 s",)
    with Video(tmp_path / "out/videos/walk.mp4") as video:
        assert len(list(video)) == 3
    again = prune.survey(folder, dark_model(), output=tmp_path / "out", every=3, mm_per_pixel=0.5)
    assert again.measured == 0 and len(again.photos) == 4


def test_a_video_that_breaks_off_keeps_its_frames(tmp_path: Path) -> None:
    pytest.importorskip("av")
    from prune.inspection.video import video_writer

    with video_writer(tmp_path / "walk.avi", 10, SIZE) as add:
        for number in range(40):
            add(np.random.default_rng(number).integers(150, 255, (*SIZE, 3)).astype(np.uint8))
    content = (tmp_path / "walk.avi").read_bytes()
    (tmp_path / "walk.avi").write_bytes(content[: len(content) // 2])
    result = prune.survey(tmp_path / "walk.avi", dark_model(), output=tmp_path / "out")
    assert 0 < len(result.photos) < 40
    assert [Path(one.file).name for one in result.broken] == ["walk.avi"] and "breaks off" in result.broken[0].cause


def test_an_orthophoto_unlike_the_test_gets_a_warning(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from prune.inspection.likeness import Likeness
    from prune.inspection.map_survey import MapSurvey
    from prune.inspection.records import Source
    from prune.inspection.scale import ScaleReader
    from prune.inspection.scale_settings import ScaleSettings
    from prune.inspection.settings import MeasureSettings
    from prune.inspection.store import Store

    with rasterio.open(
        tmp_path / "map.tif", "w", driver="GTiff", count=3, width=160, height=120, dtype="uint8"
    ) as file:
        file.write(np.moveaxis(frame(100), 2, 0))
    # With a mean of 0 and no covariance the distance is the length of the row of statistics.
    identity = tuple(tuple(float(i == j) for j in range(8)) for i in range(8))
    work = MapSurvey(
        dark_model().predictor,
        Store(tmp_path / "out", {}),
        MeasureSettings(),
        ScaleReader(ScaleSettings(), []),
        likeness=Likeness((0.0,) * 8, identity, 1.0),
    )
    found = work(Source(tmp_path / "map.tif", "map")).unlike
    own = features(frame(100), class_probability(dark_model().predictor, frame(100), 1).probability)
    assert found == pytest.approx(float(np.linalg.norm(own)))


def test_an_orthophoto_is_measured_on_its_map(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin

    how = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 3, "dtype": "uint8"}
    place = {"crs": "EPSG:25833", "transform": from_origin(400000, 5650000, 0.002, 0.002)}
    with rasterio.open(tmp_path / "deck.tif", "w", **how, **place) as file:
        file.write(np.moveaxis(frame(100), 2, 0))
    result = prune.survey(tmp_path / "deck.tif", dark_model(), output=tmp_path / "out")
    (record,) = result.photos
    assert record.shot.mm_per_pixel == pytest.approx(2, rel=0.01) and record.length_px == pytest.approx(100, abs=0.5)
    assert record.shot.position is not None and record.shot.position.latitude == pytest.approx(51, abs=0.1)
    with rasterio.open(tmp_path / "out" / record.files["mask"]) as mask:
        assert (mask.read(1) == 1).sum() == 600 and mask.crs.to_epsg() == 25833
    assert (tmp_path / "out/maps/deck.gpkg").is_file() and not (tmp_path / "out/coco.json").exists()
    assert not list((tmp_path / "out").rglob("*probability*"))
    (line,) = json.loads((tmp_path / "out/maps/deck.geojson").read_text())["features"]
    assert line["properties"]["length_mm"] == pytest.approx(200, rel=0.01)
    assert prune.survey(tmp_path / "deck.tif", dark_model(), output=tmp_path / "out").measured == 0


def test_a_full_disk_ends_the_survey_of_maps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rasterio")
    from prune.inspection import map_survey
    from tests.inspection.test_orthophoto import geotiff

    def full(image: np.ndarray, path: Path) -> Path:
        raise CannotWrite(f"cannot write {path}: No space left on device")

    for name in ("a", "b"):
        photograph(tmp_path / f"{name}.png", [(50, 20, 5, 100)])
        geotiff(tmp_path / f"{name}.tif", np.moveaxis(np.asarray(Image.open(tmp_path / f"{name}.png")), 2, 0))
    maps = [tmp_path / "a.tif", tmp_path / "b.tif"]
    with monkeypatch.context() as patched:
        patched.setattr(map_survey, "save_image", full)
        with refused("cannot write .*a.jpg: No space left on device"):
            prune.survey(maps, dark_model(), output=tmp_path / "out")
    left = [file.name for file in (tmp_path / "out").rglob("*") if file.is_file()]
    assert not [name for name in left if "probability" in name or "writing" in name]
    result = prune.survey(maps, dark_model(), output=tmp_path / "out")
    assert [len(photo.cracks) for photo in result.photos] == [1, 1] and not result.broken


def test_an_orthophoto_without_a_place_stays_in_px(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.transform import from_origin

    how = {"driver": "GTiff", "height": SIZE[0], "width": SIZE[1], "count": 3, "dtype": "uint8"}
    with rasterio.open(tmp_path / "deck.tif", "w", **how, transform=from_origin(10, 20, 0.5, 0.5)) as file:
        file.write(np.moveaxis(frame(100), 2, 0))
    result = prune.survey(tmp_path / "deck.tif", dark_model(), output=tmp_path / "out")
    (record,) = result.photos
    assert record.shot.mm_per_pixel is None and "no coordinate system" in record.shot.notes[0]
    assert "no coordinate system" in (tmp_path / "out/report.html").read_text()
