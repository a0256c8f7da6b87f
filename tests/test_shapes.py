"""Content of JSON files against the shape it must have."""

from pathlib import Path
from typing import Any

import pytest

from prune.shapes import Each, Many, Maybe, check_shape, load_json, load_text
from tests.conftest import refused

SHAPE = {"name": str, "scores": Many(float), "note?": str, "cost": Maybe(int), "by_class": Each({"iou": float})}
WHOLE: dict[str, Any] = {"name": "a", "scores": [1, 0.5], "cost": None, "by_class": {"Crack": {"iou": 1}}, "more": []}


def test_what_fits_passes() -> None:
    check_shape(WHOLE, SHAPE, "a.json")
    check_shape({**WHOLE, "note": "b", "cost": 3}, SHAPE, "a.json")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": 3}, "expected text as name, found a whole number"),
        ({"name": None}, "expected text as name, found null"),
        ({"scores": {}}, "expected a list as scores, found a table"),
        ({"scores": [1, True]}, r"expected a number as scores\[1\], found true or false"),
        ({"scores": [float("nan")]}, r"expected a number as scores\[0\], found nan"),
        ({"cost": 1.5}, "expected a whole number as cost, found a number"),
        ({"cost": True}, "expected a whole number as cost, found true or false"),
        ({"note": 1}, "expected text as note, found a whole number"),
        ({"by_class": {"Crack": {}}}, "expected by_class.Crack.iou, found none"),
        ({"by_class": [1]}, "expected a table as by_class, found a list"),
    ],
)
def test_what_does_not_is_named(change: dict[str, Any], said: str) -> None:
    with refused(f"^a.json: {said}$"):
        check_shape({**WHOLE, **change}, SHAPE, "a.json")


def test_another_kind_of_file_is_named() -> None:
    with refused("^a.json: expected a table as its content, found a list$"):
        check_shape([], SHAPE, "a.json")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{", "expected a plan, found no JSON"),
        (b"[NaN]", "expected a plan, found no JSON .the number NaN"),
        (b"[1e309]", "expected a plan, found no JSON .the number 1e309"),
        (b"\xff\xfe{}", "expected a plan, found no text"),
        (b"[" * 200_000, "expected a plan, found JSON nested too deeply"),
    ],
)
def test_files_that_are_no_json(tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with refused(said):
        load_json(tmp_path / "a.json", "a plan")


def test_a_missing_file(tmp_path: Path) -> None:
    with refused("expected a plan, cannot read it"):
        load_json(tmp_path / "a.json", "a plan")


def test_texts_are_read_up_to_a_size(tmp_path: Path) -> None:
    (tmp_path / "a.ini").write_bytes(b"\xef\xbb\xbfkey = 1\n")
    assert load_text(tmp_path / "a.ini", "a recipe", 11) == "key = 1\n"
    (tmp_path / "a.ini").write_bytes(b"a" * (3 << 20))
    with refused("^.*a.ini: expected a recipe of at most 1 MiB, found 3 MiB$"):
        load_text(tmp_path / "a.ini", "a recipe")
