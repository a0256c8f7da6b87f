"""The workbook and the JSON of an evaluation belong together."""

import json
import shutil
from pathlib import Path

import openpyxl
import pytest

import prune
from tests.conftest import draw_label, refused


@pytest.fixture
def two(tmp_path: Path) -> Path:
    """Two evaluations: a perfect one, and one of masks that are all background."""
    import numpy as np
    from PIL import Image

    for name, classes in (("labels", 1), ("none", 0)):
        (tmp_path / name).mkdir()
        label = (draw_label(32, np.random.default_rng(0)) * classes).astype(np.uint8)
        Image.fromarray(label).save(tmp_path / name / "a.png")
    for name in ("labels", "none"):
        prune.score(tmp_path / name, tmp_path / "labels", classes="s2ds").save(tmp_path / f"{name}.xlsx")
    return tmp_path


def test_both_files_have_one_id(two: Path) -> None:
    for name in ("labels", "none"):
        own = json.loads((two / f"{name}.json").read_text())["run"]["id"]
        assert openpyxl.load_workbook(two / f"{name}.xlsx").properties.identifier == own
    assert len(prune.compare([two / "labels.xlsx", two / "none.json"]).comparison.rows) == 2


def test_files_of_two_evaluations_are_refused(two: Path) -> None:
    shutil.copy(two / "none.json", two / "labels.json")
    for file in ("labels.xlsx", "labels.json"):
        with refused("labels.json: expected the numbers of labels.xlsx beside it, found those of another evaluation"):
            prune.compare([two / file, two / "none.json"])


@pytest.mark.parametrize("content", [b"", b"no archive", None])
def test_other_workbooks_are_not_compared(content: bytes | None, two: Path) -> None:
    if content is None:
        openpyxl.Workbook().save(two / "labels.xlsx")
    else:
        (two / "labels.xlsx").write_bytes(content)
    assert prune.compare([two / "labels.json", two / "none.json"])
