"""Surveys from photographs to files: what is measured, resumed, refused, and never said."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import openpyxl
import pytest
from numpy.typing import NDArray
from PIL import Image

import prune
from prune.api.model import Model
from prune.data.labels import S2DS
from prune.errors import UserError
from prune.files import locked
from prune.inspection import steps
from prune.inspection.records import PhotoRecord
from prune.inspection.steps import cracks_of
from prune.inspection.survey_result import SurveyResult
from tests.conftest import ROOT, command, refused
from tests.inspection.drawn import DarkPredictor, dark_model, photograph, photographs


def surveyed(photos: object, folder: Path, **settings: object) -> SurveyResult:
    """A survey with the network that takes what is dark for a crack."""
    return prune.survey(photos, dark_model(), output=folder, name="bridge", **settings)


def texts(folder: Path) -> dict[str, str]:
    """Every file of a survey that is text, by its path; pages of a workbook by their cells."""
    found = {}
    for file in sorted(folder.rglob("*")):
        name = file.relative_to(folder).as_posix()
        if file.suffix in (".html", ".csv", ".json", ".geojson"):
            found[name] = file.read_text(encoding="utf-8")
        elif file.suffix == ".xlsx":
            sheets = openpyxl.load_workbook(file).worksheets
            found[name] = str([[[c.value for c in row] for row in sheet.iter_rows()] for sheet in sheets])
    return found


def test_a_line_of_known_size_has_its_measures(tmp_path: Path) -> None:
    photo = photograph(tmp_path / "a.png", [(50, 20, 5, 100)])
    result = surveyed(photo, tmp_path / "out", mm_per_pixel=0.5)
    ((record),) = result.photos
    (crack,) = record.cracks
    assert crack.length_px == pytest.approx(100, abs=0.2) and crack.width_mean_px == pytest.approx(5, abs=0.02)
    assert crack.area_px == 500 and crack.box == (50, 20, 5, 100) and crack.branches == 1
    assert crack.lines == (((52, 22), (52, 117)),) or crack.lines[0][0][0] == crack.lines[0][-1][0] == 52
    assert result.findings.length_mm == pytest.approx(50, abs=0.1)
    row = result.to_frame().iloc[0]
    assert row["id"] == "a-1" and row["length_mm"] == pytest.approx(50, abs=0.1) and row["area_mm2"] == 125


def test_every_file_is_written_and_says_the_same(tmp_path: Path) -> None:
    result = surveyed(photographs(tmp_path / "photos", 3), tmp_path / "out", mm_per_pixel=0.5)
    folder = tmp_path / "out"
    names = {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()}
    assert {"report.html", "survey.xlsx", "cracks.csv", "coco.json", "survey.json"} <= names
    assert {
        f"{kind}/pier 1{end}" for kind, end in (("masks", ".png"), ("overlays", ".jpg"), ("labelme", ".json"))
    } <= names
    with (folder / "cracks.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    book = openpyxl.load_workbook(folder / "survey.xlsx")
    assert book.sheetnames == ["cracks", "photographs", "totals", "settings"]
    assert [row["id"] for row in rows] == [cell.value for cell in book["cracks"]["C"][1:]]
    assert len(rows) == len(result.findings.cracks) == 6
    totals = {row[0].value: row[1].value for row in book["totals"].iter_rows(min_row=2)}
    assert totals["cracks"] == 6 and totals["photographs"] == 3
    assert totals["total length of cracks in photographs with a scale"] == pytest.approx(
        result.findings.length_mm, 1e-5
    )
    record = PhotoRecord.from_json(json.loads((folder / "photographs/pier 1.json").read_text())["photograph"])
    assert record == result.photos[1]


def test_masks_hold_class_ids(tmp_path: Path) -> None:
    surveyed(photograph(tmp_path / "a.png", [(50, 20, 5, 100)]), tmp_path / "out")
    ids = np.asarray(Image.open(tmp_path / "out/masks/a.png"))
    assert ids.sum() == 500 and (ids[50:55, 20:120] == 1).all()


def test_no_millimeters_without_a_scale(tmp_path: Path) -> None:
    surveyed(photographs(tmp_path / "photos", 3), tmp_path / "out")
    for name, text in texts(tmp_path / "out").items():
        plain = text.replace("mm_per_pixel", "")
        assert " mm" not in plain and "_mm" not in plain, name
    assert "No scale is known" in (tmp_path / "out/report.html").read_text()


def test_widths_below_a_pixel_are_no_numbers(tmp_path: Path) -> None:
    # A gray line as wide as a pixel: three quarters of a crack, by its probability.
    photo = photograph(tmp_path / "a.png", [])
    pixels = np.asarray(Image.open(photo)).copy()
    pixels[60, 20:120] = 124
    Image.fromarray(pixels).save(photo)
    result = surveyed(photo, tmp_path / "out", mm_per_pixel=0.5, width="profile")
    (crack,) = result.photos[0].cracks
    assert crack.width_mean_px == pytest.approx(0.75, abs=0.1)
    row = result.to_frame().iloc[0]
    assert row["width_mean_mm"] == "< 0.5" and row["width_mean_px"] == "< 1" and row["length_px"] > 90
    assert "&lt; 0.5" in (tmp_path / "out/report.html").read_text() and result.findings.unresolved == 1


@pytest.mark.slow
def test_a_killed_survey_continues_with_the_same_bytes(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos")
    for place in ("killed", "whole"):
        shutil.copytree(photos, tmp_path / place / "photos")  # keeps the times of the files
    words = [sys.executable, "-m", "tests.inspection.drawn", "photos", "4", "out"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        words, cwd=tmp_path / "killed", env=environment, capture_output=True, timeout=120, check=False
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = {file.name: file.stat().st_mtime_ns for file in (tmp_path / "killed/out/photographs").glob("*.json")}
    assert 0 < len(before) < 6 and not (tmp_path / "killed/out/report.html").exists()
    for place in ("killed", "whole"):
        words[-2] = "0"
        subprocess.run(words, cwd=tmp_path / place, env=environment, check=True, timeout=120)
    for name, written in before.items():
        assert (tmp_path / "killed/out/photographs" / name).stat().st_mtime_ns == written, "measured again"
    assert texts(tmp_path / "killed/out") == texts(tmp_path / "whole/out")
    for file in (tmp_path / "whole/out").rglob("*.[jp][pn]g"):
        assert file.read_bytes() == (tmp_path / "killed/out" / file.relative_to(tmp_path / "whole/out")).read_bytes()


def test_only_what_changed_is_measured_again(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", 3)
    assert surveyed(photos, tmp_path / "out").measured == 3
    assert surveyed(photos, tmp_path / "out").measured == 0
    os.utime(photos / "pier 0.png")  # another time, the same content
    assert surveyed(photos, tmp_path / "out").measured == 0
    photograph(photos / "pier 0.png", [(30, 10, 4, 90)])
    photograph(photos / "new.png", [(30, 10, 4, 80)])
    (photos / "pier 2.png").unlink()
    result = surveyed(photos, tmp_path / "out")
    assert result.measured == 2 and [photo.name for photo in result.photos] == ["new", "pier 0", "pier 1"]
    assert sorted(file.name for file in (tmp_path / "out/masks").iterdir()) == ["new.png", "pier 0.png", "pier 1.png"]
    (tmp_path / "out/masks/new.png").unlink()
    assert surveyed(photos, tmp_path / "out").measured == 1


def test_other_settings_are_refused_without_force(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", 2)
    surveyed(photos, tmp_path / "out")
    with refused(r"out was made with other settings, min_length 10.0 instead of 20.0: .*--name.*--force"):
        surveyed(photos, tmp_path / "out", min_length=20.0)
    with refused("mm_per_pixel None instead of '0.5'"):
        surveyed(photos, tmp_path / "out", mm_per_pixel=0.5)
    assert surveyed(photos, tmp_path / "out", mm_per_pixel=0.5, force=True).measured == 2
    (tmp_path / "other").mkdir()
    (tmp_path / "other/letter.txt").write_text("dear")
    with refused("expected an empty folder or that of a survey"):
        surveyed(photos, tmp_path / "other", force=True)


def test_a_broken_file_is_named_and_does_not_stop_the_rest(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", 2)
    (photos / "cut.jpg").write_bytes(b"\xff\xd8 no photograph")
    result = surveyed(photos, tmp_path / "out")
    assert len(result.photos) == 2 and [Path(one.file).name for one in result.broken] == ["cut.jpg"]
    page = (tmp_path / "out/report.html").read_text()
    assert "Not surveyed" in page and "cut.jpg" in page and "expected a readable image" in page
    only = tmp_path / "only/cut.jpg"
    only.parent.mkdir()
    only.write_bytes(b"nothing")
    with refused("cut.jpg: expected a readable image"):
        surveyed(only, tmp_path / "none")


def test_a_full_disk_stops_the_survey_and_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos, write = photographs(tmp_path / "photos", 3), steps.save_mask

    def full(class_map: object, classes: object, path: Path) -> Path:
        if path.stem == "pier 2":
            raise UserError(f"cannot write {path}: No space left on device")
        return write(class_map, classes, path)

    monkeypatch.setattr(steps, "save_mask", full)
    with refused("cannot write .*pier 2.png: No space left on device"):
        surveyed(photos, tmp_path / "out")
    monkeypatch.setattr(steps, "save_mask", write)
    result = surveyed(photos, tmp_path / "out")
    assert len(result.photos) == 3 and result.measured < 3 and not result.broken


def test_two_surveys_into_one_folder_do_not_mix(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", 2)
    with locked(tmp_path / "out"), refused("out is being written by another process: wait for it or choose another"):
        surveyed(photos, tmp_path / "out")
    assert not (tmp_path / "out").exists() and len(surveyed(photos, tmp_path / "out").photos) == 2


def test_a_survey_killed_before_its_first_file_can_be_begun_again(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/.survey.01234567.writing.json").write_text("{")
    assert len(surveyed(photographs(tmp_path / "photos", 1), tmp_path / "out").photos) == 1
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/mine.txt").write_text("")
    with refused("notes: expected an empty folder or that of a survey, found other files"):
        surveyed(tmp_path / "photos", tmp_path / "notes")


def test_names_that_look_like_formulas_or_tags_stay_text(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    photograph(photos / "=1+1.png", [(50, 20, 5, 100)])
    photograph(photos / "<b>&.png", [(50, 20, 5, 100)])
    surveyed(photos, tmp_path / "out")
    with (tmp_path / "out/cracks.csv").open(newline="") as stream:
        names = [row["photograph"] for row in csv.DictReader(stream)]
    assert names == ["<b>&", "'=1+1"]
    cells = openpyxl.load_workbook(tmp_path / "out/survey.xlsx")["cracks"]["A"][1:]
    assert [(cell.value, cell.data_type) for cell in cells] == [("<b>&", "s"), ("=1+1", "s")]
    page = (tmp_path / "out/report.html").read_text()
    assert "<b>&" not in page.replace("<b>1", "") and "&lt;b&gt;&amp;" in page


def test_photographs_come_from_files_folders_and_patterns(tmp_path: Path) -> None:
    first, second = photographs(tmp_path / "a", 2), photographs(tmp_path / "b", 3)
    result = surveyed([str(first / "*1.png"), second, first / "pier 1.png"], tmp_path / "out")
    assert [photo.name for photo in result.photos] == ["a/pier 1", "b/pier 0", "b/pier 1", "b/pier 2"]
    assert (tmp_path / "out/masks/a/pier 1.png").is_file()
    with refused("no file fits .*nothing"):
        surveyed(str(first / "nothing*"), tmp_path / "none")
    with refused("photos: .*missing not found"):
        surveyed(tmp_path / "missing", tmp_path / "none")
    with refused("--name: expected a plain file name without folders"):
        prune.survey(first, dark_model(), name="../elsewhere")


def test_positions_become_a_map(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for number, place in enumerate((0.0, 36.0)):
        photograph(photos / f"{number}.jpg", [(50, 20, 5, 100)], place=place)
    photograph(photos / "2.jpg", [])
    surveyed(photos, tmp_path / "out", mm_per_pixel=0.5)
    found = json.loads((tmp_path / "out/cracks.geojson").read_text())["features"]
    assert [one["geometry"]["coordinates"] for one in found] == [[13.0, 51.0], [13.01, 51.01]]
    assert found[0]["properties"]["length_mm"] == pytest.approx(50, abs=0.5)
    page = (tmp_path / "out/report.html").read_text()
    assert page.count("<circle") == 2 and "north is up" in page
    surveyed(photograph(tmp_path / "plain.png", []), tmp_path / "plain")
    assert not (tmp_path / "plain/cracks.geojson").exists()
    assert "no map: no photograph says where it was taken" in (tmp_path / "plain/report.html").read_text()


def test_large_masks_are_measured_in_parts_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    mask = np.zeros((300, 400), bool)
    mask[40:44, 20:380] = mask[100:280, 200:206] = mask[150:153, 20:120] = True
    whole = cracks_of(mask, None, 10.0, "mask")
    monkeypatch.setattr("prune.inspection.steps.LARGE_PIXELS", 1000)
    parts = cracks_of(mask, None, 10.0, "mask")
    assert [one.box for one in parts] == [one.box for one in whole] and [one.number for one in parts] == [1, 2, 3]
    assert [one.length_px for one in parts] == pytest.approx([one.length_px for one in whole])


def test_the_command_lists_broken_files_and_exits_with_1(tmp_path: Path) -> None:
    photos = photographs(tmp_path / "photos", 2)
    (photos / "cut.jpg").write_bytes(b"nothing")
    done = command("-m prune", "survey", "photos", "--model", "crack", "--name", "bridge", cwd=tmp_path)
    assert (
        done.returncode == 1
        and "1 file could not be surveyed, or only in part, beside 2 photographs that could" in done.stderr
    )
    assert done.stderr.count("\n") == 1 and "results/surveys/bridge/report.html" in done.stdout
    done = command("-m prune", "survey", cwd=tmp_path)
    assert done.returncode == 2 and "expected photographs, found none" in done.stderr


class ColorPredictor(DarkPredictor):
    """Dark is a crack, red is corrosion, the rest background, in the classes of S2DS."""

    def __init__(self) -> None:
        super().__init__()
        self.card = replace(self.card, classes=S2DS)

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        logits = np.zeros((1, len(S2DS), *batch.shape[2:]), np.float32)
        logits[0, 6] = 40 * (0.5 - batch[0].max(axis=0))
        logits[0, 4] = 40 * (batch[0, 0] - batch[0, 1] - 0.3)
        return logits


def test_areal_defects_have_areas_and_shares(tmp_path: Path) -> None:
    photo = photograph(tmp_path / "photos/a.png", [(50, 20, 5, 100)])
    pixels = np.asarray(Image.open(photo)).copy()
    pixels[70:90, 20:50] = pixels[100:110, 20:30] = (220, 40, 40)
    Image.fromarray(pixels).save(photo)
    photograph(tmp_path / "photos/b.png", [])
    result = prune.survey(tmp_path / "photos", Model(ColorPredictor()), output=tmp_path / "out", mm_per_pixel=0.5)
    (area,) = result.photos[0].areas
    assert (area.class_name, area.area_px, area.pieces) == ("Corrosion", 700, 2)
    assert result.findings.areas() == {"Corrosion": (700, 700 / (2 * 120 * 160))} and len(result.photos[0].cracks) == 1
    page = (tmp_path / "out/report.html").read_text()
    assert "175 mm²" in page and "3.6%" in page and "1.8%" in page
    totals = openpyxl.load_workbook(tmp_path / "out/survey.xlsx")["totals"]
    assert {row[0].value: row[1].value for row in totals.iter_rows()}["Corrosion, area"] == 700
    shapes = json.loads((tmp_path / "out/labelme/a.json").read_text())["shapes"]
    assert [shape["label"] for shape in shapes] == ["Crack", "Corrosion", "Corrosion"]
