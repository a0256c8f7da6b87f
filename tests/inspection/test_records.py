"""Records of photographs, as JSON keeps them; damaged and foreign ones become a sentence."""

import json
from pathlib import Path
from typing import Any

import pytest

from prune.inspection.dates import read_survey
from prune.inspection.records import CrackRecord, PhotoRecord, Position, Shot
from prune.inspection.store import read_record
from tests.conftest import refused

CRACK = CrackRecord(1, 45.0, 3.0, 3.0, 3.0, (20, 5), 0.0, 1.0, 135, (20, 5, 3, 45), 1, 0.9, (((20, 5), (20, 49)),))
SHOT = Shot(0.5, "two points", Position(51.0, 13.0), ("a note",))
PHOTO = PhotoRecord("a", "a.png", 60, 40, SHOT, (CRACK,), (), 0.2, {"mask": "masks/a.png"})


def stored(folder: Path, **changes: Any) -> Path:
    file = folder / "a.json"
    file.write_text(json.dumps({"photograph": json.loads(json.dumps(PHOTO.to_json())) | changes}))
    return file


def test_a_record_comes_back_unchanged(tmp_path: Path) -> None:
    assert read_record(stored(tmp_path)) == PHOTO


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": "60"}, "expected a whole number as photograph.width, found text"),
        ({"width": 0}, "found a damaged one .a photograph of 0x40 px."),
        ({"shot": {}}, "expected photograph.shot.mm_per_pixel, found none"),
        ({"cracks": [{}]}, r"expected photograph.cracks\[0\].number, found none"),
        ({"cracks": [vars(CRACK) | {"box": [1, 2]}]}, r"a crack in the box \[1, 2\]"),
        ({"cracks": [vars(CRACK) | {"lines": [[[1, 2, 3]]]}]}, "found a damaged one"),
        ({"files": {"mask": "../../a.png"}}, "the file ../../a.png outside the survey"),
        ({"files": {"mask": "/etc/a.png"}}, "the file /etc/a.png outside the survey"),
        ({"more": 1}, "found a damaged one"),
    ],
)
def test_damaged_records(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with refused(f"a.json: .*{message}"):
        read_record(stored(tmp_path, **changes))


@pytest.mark.parametrize(
    "text", ["[]", "{", "[" * 100_000, '{"format": "prune-survey", "begun": 3, "photographs": []}']
)
def test_damaged_surveys(text: str, tmp_path: Path) -> None:
    (tmp_path / "survey.json").write_text(text)
    with refused("--compare: expected a complete survey in .*, found: .*survey.json: expected "):
        read_survey(tmp_path)
