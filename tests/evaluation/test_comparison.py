"""Comparisons: paired differences, verdicts, and what must not be mixed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from PIL import Image

from prune.cli import compare, score, test
from prune.evaluation.comparison import BOTH_LOST, KEPT, LOST, MIOU_LOST, UNKNOWN, verdict
from prune.evaluation.settings import VerdictLimits
from prune.metrics.bootstrap import Interval
from tests.cli.test_commands import error_of, tiny_model
from tests.conftest import draw_label, make_data

LIMITS = VerdictLimits()


def difference(value: float, half_width: float = 0.0) -> Interval:
    return Interval(value, value - half_width, value + half_width)


@pytest.fixture
def evaluations(here: Path) -> Path:
    """Three programs' masks of eight images: right, without any crack, and with cracks 3 px off."""
    rng = np.random.default_rng(0)
    for number in range(8):
        label = draw_label(64, rng)
        folders = {"labels": label, "right": label, "blind": np.where(label == 6, 0, label)}
        moved = np.where(label == 6, 0, label)
        moved[np.roll(label, 3, 1) == 6] = 6
        for name, mask in (folders | {"shifted": moved}).items():
            (here / name).mkdir(exist_ok=True)
            Image.fromarray(mask.astype(np.uint8)).save(here / name / f"{number}.png")
    for name in ("right", "blind", "shifted"):
        score.main([name, "labels", "--workers", "0"])
    return here


@pytest.mark.parametrize(
    ("miou", "crack", "word"),
    [(0.0, 0.0, KEPT), (-0.02, -0.05, KEPT), (-0.01, -0.06, LOST), (-0.03, -0.01, MIOU_LOST), (-0.5, -0.5, BOTH_LOST)],
)
def test_the_verdict_follows_the_limits(miou: float, crack: float, word: str) -> None:
    found = {"miou": difference(miou), "lt_iou@4": difference(crack)}
    assert verdict(found, LIMITS) == (word, True)
    assert verdict({"miou": difference(miou), "iou": difference(crack)}, LIMITS)[0] == word


def test_a_verdict_is_clear_only_when_no_limit_lies_inside_its_interval() -> None:
    for miou, crack, clear in (
        (difference(-0.01, 0.005), difference(-0.2, 0.1), True),
        (difference(-0.01, 0.02), difference(-0.2, 0.1), False),
        (difference(-0.01, 0.005), difference(-0.06, 0.02), False),
    ):
        assert verdict({"miou": miou, "lt_iou@4": crack}, LIMITS) == (LOST, clear)
    assert verdict({"miou": difference(-0.03), "lt_iou@4": difference(-0.2)}, VerdictLimits(5.0, 30.0))[0] == KEPT


def test_without_cracks_there_is_no_verdict() -> None:
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    assert verdict({"miou": difference(0), "lt_iou@4": nothing}, LIMITS) == (UNKNOWN, None)


def compared(*words: object) -> dict[str, Any]:
    compare.main([*map(str, words), "--output", "c.xlsx", "--force"])
    return json.loads(Path("c.json").read_text())


def test_networks_are_compared_with_the_baseline_on_the_same_images(evaluations: Path) -> None:
    content = compared("blind", "results/metrics/right.json", "shifted", "--baseline", "results/metrics/right.json")
    assert content["baseline"] == "right"
    rows = {row["name"]: row for row in content["rows"]}
    assert next(iter(rows)) == "right" and rows["right"]["verdict"] == "baseline" and rows["right"]["differences"] == {}
    blind, shifted = rows["blind"], rows["shifted"]
    assert blind["scores"]["lt_iou@4"]["value"] == 0 and blind["differences"]["lt_iou@4"]["value"] == -1
    assert shifted["differences"]["lt_iou@4"]["value"] > -0.1 and shifted["differences"]["lt_iou@2"]["value"] < -0.8
    assert blind["verdict"] == BOTH_LOST and blind["clear"] is True
    for row in (blind, shifted):
        for name, found in row["differences"].items():
            if found["value"] is not None:
                expected = row["scores"][name]["value"] - rows["right"]["scores"][name]["value"]
                assert found["value"] == pytest.approx(expected)
    kept = compared("right", "blind", "--keep_miou", 50)
    assert kept["rows"][1]["verdict"] == LOST and kept["limits"] == {"keep_miou": 50, "lose_crack": 5}


def test_the_workbook_of_a_comparison(evaluations: Path) -> None:
    content = compared("right", "blind", "shifted", "--keep_miou", 50)
    book = openpyxl.load_workbook("c.xlsx")
    assert book.sheetnames == ["Comparison", "Differences", "Intervals", "Conditions"]
    sheet = book["Comparison"]
    titles = [cell.value for cell in sheet[1]]
    column = titles.index("crack ltIoU@4") + 1
    assert [sheet.cell(row, 1).value for row in (2, 3, 4)] == ["right", "blind", "shifted"]
    assert [sheet.cell(row, 2).value for row in (2, 3)] == ["baseline", LOST]
    assert sheet.cell(3, column).value == content["rows"][1]["scores"]["lt_iou@4"]["value"] == 0
    assert sheet.cell(2, titles.index("MACs G") + 1).value is None
    differences = book["Differences"]
    lost = differences.cell(2, column - 4)
    assert lost.value == -1 and lost.fill.fgColor.rgb.endswith("F4B6B6")
    assert book["Intervals"].max_row == 1 + 3 * (len(titles) - 7)
    assert not list(Path().glob("c_*.png"))  # nobody knows what the masks cost


def test_an_evaluation_does_not_differ_from_itself(evaluations: Path) -> None:
    Path("copy.json").write_text(Path("results/metrics/shifted.json").read_text())
    row = compared("shifted", "copy.json")["rows"][1]
    assert row["verdict"] == KEPT and row["clear"] is True
    for found in row["differences"].values():
        assert found["value"] in (0, None) and found["low"] in (0, None) and found["high"] in (0, None)


def test_what_must_not_be_mixed_is_refused(evaluations: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = json.loads(Path("results/metrics/right.json").read_text())

    def error(change: dict[str, Any], key: str) -> str:
        content = json.loads(json.dumps(good))
        content[key] = content[key] | change if isinstance(content[key], dict) else change
        Path("other.json").write_text(json.dumps(content))
        return error_of(compare.main, ["right", "other.json", "--output", "c.xlsx"], capsys)

    assert "other.json: expected the protocol of" in error({"protocol": "s2ds"}, "conditions")
    assert "expected the tolerances of results/metrics/right.json, 0, 2, 4, 8, found 0, 4" in error(
        {"tolerances": [0, 4]}, "conditions"
    )
    assert "whole images, found central 32 px" in error({"images": "central 32 px"}, "conditions")
    assert "expected the data labels of" in error({"data": good["run"]["data"] | {"labels": "0123"}}, "run")
    assert "expected the classes of" in error({"classes": ["Background", "Crack"]}, "confusion")
    good["version"] = 1
    assert "expected format version 2, found 1" in error({}, "summary")
    Path("other.json").write_text("[]")
    assert "other.json: expected a table as its content, found a list" in error_of(
        compare.main, ["right", "other.json"], capsys
    )
    Path("other.json").write_text("{")
    assert "other.json: expected the JSON of an evaluation" in error_of(compare.main, ["right", "other.json"], capsys)
    assert "evaluation nothing not found" in error_of(compare.main, ["right", "nothing"], capsys)
    assert "at least two .json files, found 1" in error_of(compare.main, ["right"], capsys)
    assert "found results/metrics/right.json twice" in error_of(compare.main, ["right", "right"], capsys)
    assert not Path("c.xlsx").exists()


def test_other_photographs_are_other_data(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_model()
    root = make_data(here / "set", (1, 1, 2), 64)
    words = [str(root / "test"), "--latency_repeats", "0", "--workers", "0", "--output"]
    test.main([*words, "a.xlsx"])
    Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(root / "test/Images/000.png")
    test.main([*words, "b.xlsx"])
    assert "expected the data fingerprint of a.json" in error_of(compare.main, ["a.json", "b.json"], capsys)


@pytest.mark.slow
def test_several_checkpoints_are_tested_and_compared_at_once(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model("first")
    tiny_model("second")
    words = ["--weights", "first", "second", str(data / "test"), "--latency_size", "64", "--latency_repeats", "1"]
    test.main(words)
    said = capsys.readouterr().out
    assert "second" in said and "kept" in said and "different runs" not in said
    content = json.loads(Path("results/metrics/comparison.json").read_text())
    assert [row["name"] for row in content["rows"]] == ["first", "second"]
    assert content["rows"][1]["latency_ms"] > 0 and content["rows"][1]["macs"] == content["rows"][0]["macs"]
    pictures = {"comparison_miou.png", "comparison_iou.png", "comparison_lt_iou_4.png"}
    assert pictures <= {file.name for file in Path("results/metrics").iterdir()}
    assert Path("results/metrics/first.xlsx").exists() and Path("results/metrics/second.json").exists()


def test_less_than_whole_images_only_on_request_and_every_table_says_so(
    data: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tiny_model()
    words = [
        str(data / "test"),
        "--latency_repeats",
        "0",
        "--workers",
        "0",
        "--mm_per_pixel",
        "2",
        "--output",
        "a.xlsx",
    ]
    test.main(words)
    whole = json.loads(Path("a.json").read_text())
    test.main([*words, "--resize", "128", "--crop", "100", "--force"])
    content = json.loads(Path("a.json").read_text())
    assert whole["conditions"]["images"] == "whole images"
    assert content["conditions"]["images"] == "resized to 128 px on the longer side, central 100 px"
    assert (content["per_image"][0]["width"], content["per_image"][0]["height"]) == (100, 100)
    assert sum(row["support"] for row in content["per_class"]) == 3 * 100 * 100
    book = openpyxl.load_workbook("a.xlsx")
    for sheet in book.worksheets:
        assert f"Scored on images {content['conditions']['images']}" in [cell.value for cell in sheet["A"]]
    summary = book["Summary"]
    assert content["conditions"]["images"] in [cell.value for cell in summary["B"]]
    assert "scored   resized to 128 px on the longer side, central 100 px" in capsys.readouterr().out
    test.main([*words, "--resize", "128", "--force"])
    twice = json.loads(Path("a.json").read_text())["crack"]
    assert twice["length_px"]["label"]["value"] == pytest.approx(
        2 * whole["crack"]["length_px"]["label"]["value"], rel=0.05
    )
    assert twice["length_mm"]["label"]["value"] == pytest.approx(
        whole["crack"]["length_mm"]["label"]["value"], rel=0.05
    )
    assert twice["width_mm"]["label"]["value"] == pytest.approx(whole["crack"]["width_mm"]["label"]["value"], rel=0.05)
