"""Two surveys of the same place: which photographs belong together, and what the report says of their cracks."""

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prune
from prune.inspection.dates import earlier_of
from prune.inspection.records import PhotoRecord, Position, Shot
from prune.synthetic import draw_scene
from tests.conftest import refused
from tests.inspection.drawn import dark_model

PHOTO = PhotoRecord("a", "a.jpg", 640, 480, Shot(position=Position(51.0, 13.0)), (), (), None, {})


def wall(path: Path, length: int, seed: int = 3) -> Path:
    """A textured wall with a horizontal crack of 6 px that begins at 60, 200."""
    pixels = np.clip(draw_scene(400, np.random.default_rng(seed)).image, 135, 255)
    pixels[200:206, 60 : 60 + length] = 20
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


def test_photographs_belong_together_by_name_then_by_place() -> None:
    near = replace(PHOTO, name="b", shot=Shot(position=Position(51.00005, 13.0)))  # 5.6 m
    far = replace(PHOTO, name="c", shot=Shot(position=Position(51.001, 13.0)))
    assert earlier_of(PHOTO, [near, far, replace(PHOTO, shot=Shot())]) == replace(PHOTO, shot=Shot())
    assert earlier_of(PHOTO, [far, near]) == near
    assert earlier_of(PHOTO, [far]) is None and earlier_of(replace(PHOTO, shot=Shot()), [near]) is None


def test_a_crack_that_grew_is_reported_with_its_new_length(tmp_path: Path) -> None:
    wall(tmp_path / "2024/pier.png", 120)
    wall(tmp_path / "2026/pier.png", 200)
    wall(tmp_path / "2026/other.png", 100)
    prune.survey(tmp_path / "2024", dark_model(), output=tmp_path / "then", mm_per_pixel=0.5)
    result = prune.survey(
        tmp_path / "2026", dark_model(), output=tmp_path / "now", mm_per_pixel=0.5, compare=tmp_path / "then"
    )
    other, pier = result.findings.growth
    assert "no photograph of the same name" in other.problem
    (growth,) = pier.growths
    assert growth.length_px == pytest.approx(80, abs=3) and growth.width_px == pytest.approx(0, abs=0.2)
    with (tmp_path / "now/growth.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert float(row["length_change_mm"]) == pytest.approx(40, abs=1.5) and row["photograph"] == "pier"
    page = (tmp_path / "now/report.html").read_text()
    assert "Change since the earlier survey" in page and "not compared" in page
    assert (tmp_path / "now/growth/pier.jpg").is_file()


def test_a_survey_is_found_by_its_name_beside_the_photographs_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prune.survey(wall(Path("2024/pier.png"), 120).parent, dark_model())
    result = prune.survey(wall(Path("2026/pier.png"), 160).parent, dark_model(), compare="2024")
    assert [one.problem for one in result.findings.growth] == [""] and Path("results/surveys/2024").is_dir()


def test_photographs_of_different_places_are_not_compared(tmp_path: Path) -> None:
    wall(tmp_path / "2024/pier.png", 120, seed=1)
    wall(tmp_path / "2026/pier.png", 120, seed=2)
    prune.survey(tmp_path / "2024", dark_model(), output=tmp_path / "then")
    result = prune.survey(tmp_path / "2026", dark_model(), output=tmp_path / "now", compare=tmp_path / "then")
    (pier,) = result.findings.growth
    assert pier.problem and not pier.growths


def test_only_another_complete_survey_can_be_compared_with(tmp_path: Path) -> None:
    photos = wall(tmp_path / "photos/pier.png", 120)
    with refused("--compare: expected the folder of a survey .* found none called nothing"):
        prune.survey(photos, dark_model(), output=tmp_path / "now", compare="nothing")
    (tmp_path / "empty").mkdir()
    with refused("--compare: expected a complete survey in .*empty"):
        prune.survey(photos, dark_model(), output=tmp_path / "now", compare=tmp_path / "empty")
    prune.survey(photos, dark_model(), output=tmp_path / "now")
    with refused("expected another survey than"):
        prune.survey(photos, dark_model(), output=tmp_path / "now", compare=tmp_path / "now")
