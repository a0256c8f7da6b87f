"""A result of other settings is never replaced without being told to."""

import json
from pathlib import Path

import pytest

from prune.cli.outputs import require_same_networks, require_same_settings, stored_result
from tests.conftest import refused

FILE = Path("results/metrics/a.json")


def test_the_setting_that_differs_is_named() -> None:
    stored = {"crop": 0, "tolerances": [0, 2], "threads": 1}
    require_same_settings(FILE, stored, {"crop": 0, "tolerances": (0, 2), "threads": 4}, "--output")
    with refused(
        r"a\.json was made with other settings, crop 0 instead of 64: .*\(--output\), or replace it with --force"
    ):
        require_same_settings(FILE, stored, {"crop": 64, "tolerances": (0, 2)}, "--output")
    require_same_settings(FILE, stored, {"crop": 64}, "--output", but=("crop",))
    require_same_settings(FILE, None, {"crop": 64}, "--output")


@pytest.mark.parametrize(("name", "refuses"), [("test_dir", False), ("layer_times", False), ("target_macs", True)])
def test_what_is_found_when_nothing_is_named_may_be_the_same(name: str, refuses: bool) -> None:
    stored, now = {name: "a"}, {name: None}
    if refuses:
        with refused(f"{name} 'a' instead of None"):
            require_same_settings(FILE, stored, now, "--output")
    else:
        require_same_settings(FILE, stored, now, "--output")


def test_a_foreign_file_is_not_replaced(tmp_path: Path) -> None:
    assert stored_result(tmp_path / "none.json") is None
    for text in ("not JSON", "[1, 2]", '{"run": 3}', '{"run": {"arguments": [1]}}', '{"rows": [1]}', "[" * 100_000):
        (tmp_path / "a.json").write_text(text)
        with refused("a.json exists and is not a result of this program: choose another name"):
            stored_result(tmp_path / "a.json")


def test_a_comparison_of_other_evaluations_is_kept(tmp_path: Path) -> None:
    rows = [{"file": str(tmp_path / name)} for name in ("dense.json", "small.json")]
    (tmp_path / "c.json").write_text(json.dumps({"rows": rows}))
    workbook = tmp_path / "c.xlsx"
    require_same_networks(workbook, [tmp_path / "small.json", tmp_path / "dense.json"])
    with refused(r"c\.json compares other evaluations \(other\.json\): .*--force"):
        require_same_networks(workbook, [tmp_path / "dense.json", tmp_path / "small.json", tmp_path / "other.json"])
    require_same_networks(tmp_path / "new.xlsx", [tmp_path / "dense.json"])
