"""Many photographs of a visitor become a survey to download."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from prune.web import survey as module
from prune.web.archive import ArchiveLimits
from prune.web.networks import Networks
from prune.web.survey import Surveys
from tests.conftest import refused
from tests.web.hand_made import dark_network


def photo(path: Path) -> Path:
    """A light picture with a dark crack of 5 by 100 px."""
    pixels = np.full((120, 160, 3), 200, np.uint8)
    pixels[50:55, 20:120] = 10
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path


@pytest.fixture
def surveys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Surveys:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    dark_network(tmp_path / "work/results/exports/dark.onnx")
    return Surveys(Networks(tmp_path / "work"), ArchiveLimits(photographs=3))


def test_a_zip_file_becomes_a_report_and_progress_is_told(surveys: Surveys, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "wall.zip", "w") as archive:
        archive.write(photo(tmp_path / "a.png"), "north/a.png")
        archive.write(photo(tmp_path / "b.png"), "south/b.png")
        archive.writestr("south/cut.jpg", b"nothing")
    told: list[tuple[int, int]] = []
    made = surveys.make([str(tmp_path / "wall.zip")], "dark.onnx", 0.5, lambda *done: told.append(done))
    assert told == [(1, 3), (2, 3), (3, 3)]
    assert (
        made.text == "2 photographs, 2 with cracks: 2 cracks, total length 100 mm; 1 could not be read, see the report"
    )
    with zipfile.ZipFile(made.everything) as archive:
        names = set(archive.namelist())
        texts = [archive.read(name).decode() for name in names if name.endswith((".html", ".csv", ".json"))]
    assert {"report.html", "survey.xlsx", "cracks.csv", "masks/north/a.png", "overlays/south/b.jpg"} <= names
    assert all(str(tmp_path) not in text for text in texts), "paths of the server"
    assert Path(made.report).read_text() in texts and not list((tmp_path / "temporary").glob("*/photographs"))


def test_photographs_may_come_one_by_one(surveys: Surveys, tmp_path: Path) -> None:
    files = [str(photo(tmp_path / folder / "a b.png")) for folder in ("x", "y")]
    made = surveys.make(files, "dark.onnx", None, lambda *_: None)
    with zipfile.ZipFile(made.everything) as archive:
        assert {"masks/a_b.png", "masks/a_b_2.png"} <= set(archive.namelist())


def test_what_is_no_photograph_is_refused_without_paths(surveys: Surveys, tmp_path: Path) -> None:
    for files, message in (
        (None, "^expected photographs or a ZIP file of them, found none$"),
        ([str(tmp_path / "a.txt")], "^expected photographs or one ZIP file of them, found other files$"),
        ([str(photo(tmp_path / f"{n}.png")) for n in range(4)], "^expected at most 3 photographs, found 4$"),
    ):
        with refused(message):
            surveys.make(files, "dark.onnx", None, lambda *_: None)
    (tmp_path / "cut.png").write_bytes(b"nothing")
    with refused("^cut.png: expected a readable image") as caught:
        surveys.make([str(tmp_path / "cut.png")], "dark.onnx", None, lambda *_: None)
    assert str(tmp_path) not in caught.value.message
    Image.new("1", (9000, 9000)).save(tmp_path / "big.png")
    with refused("^big.png: expected at most 50 MP, found 81 MP$"):
        surveys.make([str(tmp_path / "big.png")], "dark.onnx", None, lambda *_: None)


def test_a_survey_that_takes_too_long_is_given_up(
    surveys: Surveys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_SECONDS", -1.0)
    with refused("expected a survey done within"):
        surveys.make([str(photo(tmp_path / "a.png"))], "dark.onnx", None, lambda *_: None)


def test_old_surveys_are_removed(surveys: Surveys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = [str(photo(tmp_path / "a.png"))]
    first = surveys.make(files, "dark.onnx", None, lambda *_: None)
    monkeypatch.setattr(module, "MAX_AGE", -1.0)
    surveys.make(files, "dark.onnx", None, lambda *_: None)
    assert not Path(first.report).exists()
