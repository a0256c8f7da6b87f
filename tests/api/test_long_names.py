"""Names as long as file systems allow stop nothing: outputs get shorter, different ones."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import prune
from prune.data.prepare import prepare
from tests.inspection.drawn import dark_model

LONG = [f"{'x' * 249}{end}" for end in "ab"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two labeled photographs whose names have 254 bytes, and differ at the end only."""
    for kind in ("Images", "Labels_grayscale"):
        (tmp_path / "data/test" / kind).mkdir(parents=True)
    photo, label = np.full((40, 60, 3), 200, np.uint8), np.zeros((40, 60), np.uint8)
    photo[20:23, 5:50], label[20:23, 5:50] = 10, 6
    for name in LONG:
        Image.fromarray(photo).save(tmp_path / "data/test/Images" / f"{name}.png")
        Image.fromarray(label).save(tmp_path / "data/test/Labels_grayscale" / f"{name}.png")
    return tmp_path / "data/test"


@pytest.mark.parametrize("mode", ["save_mask", "side_by_side", "probability"])
def test_predictions(folder: Path, tmp_path: Path, mode: str) -> None:
    result = prune.predict(dark_model(), folder / "Images", output=tmp_path / "out", mode=mode)
    assert not result.broken
    files = {file.name for file in (tmp_path / "out").iterdir()}
    assert len(files) >= 2 and all(name.startswith("x" * 171 + "-") for name in files)


def test_a_survey_and_its_continuation(folder: Path, tmp_path: Path) -> None:
    for measured in (2, 0):
        found = prune.survey(folder / "Images", dark_model(), output=tmp_path / "out")
        assert (len(found.photos), len(found.broken), found.measured) == (2, 0, measured)
    assert len({photo.name for photo in found.photos}) == 2
    assert {Path(photo.file).stem for photo in found.photos} == set(LONG)


def test_an_evaluation_and_scores(folder: Path, tmp_path: Path) -> None:
    scores = prune.evaluate(dark_model(), folder, workbook=tmp_path / "a.xlsx", latency_repeats=0, workers=0, figures=1)
    assert {row["image"] for row in scores.content["per_image"]} == set(LONG)
    own = prune.score(folder / "Labels_grayscale", folder / "Labels_grayscale", classes="s2ds")
    assert own.summary["images"] == 2


def test_a_data_set_and_its_conversion(folder: Path, tmp_path: Path) -> None:
    (facts,) = prune.dataset(folder, output=tmp_path / "report").facts.values()
    assert len(facts.images) == 2 and (tmp_path / "report/contact.png").is_file()
    prepare(folder.parent, tmp_path / "prepared")
    assert {file.stem for file in (tmp_path / "prepared/test/Labels_RGB").iterdir()} == set(LONG)
