import json
from pathlib import Path
from typing import Any

import numpy as np
import openpyxl
import pytest
from PIL import Image

from prune.data.labels import IGNORE_INDEX, S2DS
from prune.errors import UserError
from prune.metrics.confusion import Scores
from prune.report.charts import study_charts
from prune.report.figures import class_shares, color_mask, grid, overlay, save_image, show, side_by_side
from prune.report.tables import markdown_table, text_table, write_csv
from prune.report.workbook import write_workbook

RNG = np.random.default_rng(0)


def result() -> dict[str, Any]:
    matrix = np.diag([9000, 0, 120, 30, 60, 200, 25])
    matrix[6, 0], matrix[0, 6] = 15, 10
    scores = Scores.of(matrix)
    return {
        "summary": {
            "model": "net",
            "file": "results/models/net.pth",
            "architecture": "deeplabv3_resnet101",
            "lineage": ["train: on data", "prune: Taylor 50 % of channels"],
            "parameters": 14_686_887,
            "macs": 60_441_624_576,
            "macs_input": "3x512x512",
            "file_mib": 56.3,
            "latency_ms": None,
            "latency_input": "1x3x512x512",
            "latency_device": "",
            "latency_threads": 2,
            "images": 2,
            "miou": scores.miou,
            "miou_defects": scores.miou_defects,
            "crack_iou": scores.iou[6],
            "pixel_accuracy": scores.pixel_accuracy,
            "loss": 0.25,
        },
        "per_class": scores.per_class(S2DS.classes),
        "confusion": {
            "classes": list(S2DS.classes),
            "counts": matrix.tolist(),
            "row_normalized": scores.row_normalized(),
        },
        "per_image": [
            {
                "image": s,
                "width": 64,
                "height": 48,
                "pixel_accuracy": 0.9,
                "miou": 0.5,
                "loss": 0.1,
                "iou": dict.fromkeys(S2DS.classes),
            }
            for s in ("001", "002")
        ],
        "run": {
            "started": "now",
            "arguments": {"test_dir": "x", "output": None},
            "versions": {"torch": "2"},
            "list": [1, 2],
        },
    }


def test_the_workbook_says_what_the_result_says(tmp_path: Path) -> None:
    content = result()
    book = openpyxl.load_workbook(write_workbook(content, tmp_path / "a.xlsx"))
    assert book.sheetnames == ["Summary", "Per class", "Confusion matrix", "Per image", "Run"]
    summary = {row[0].value: row[1].value for row in book["Summary"].iter_rows()}
    assert summary["MACs (G)"] == pytest.approx(60.441624576) and summary["Parameters (M)"] == pytest.approx(14.686887)
    assert summary["Latency (ms)"] is None and summary["Crack IoU"] == pytest.approx(25 / 50)
    rows = list(book["Per class"].iter_rows(min_row=2, values_only=True))
    for row, expected in zip(rows, content["per_class"], strict=True):
        assert row[1:] == tuple(expected[k] for k in ("class", "iou", "precision", "recall", "f1", "support"))
    assert book["Per class"]["B8"].value == "Crack" and book["Per class"]["C3"].value is None
    assert book["Per class"]["A3"].fill.fgColor.rgb == "000000FF"
    counts = [[c.value for c in row[1:]] for row in book["Confusion matrix"].iter_rows(min_row=14, max_row=20)]
    assert counts == content["confusion"]["counts"]
    assert book["Confusion matrix"]["B4"].value is None
    flat = dict(row[:2] for row in book["Run"].iter_rows(min_row=2, values_only=True))
    assert flat["versions.torch"] == "2" and flat["arguments.output"] is None


def test_sheets_have_formats_and_frozen_headers(tmp_path: Path) -> None:
    book = openpyxl.load_workbook(write_workbook(result(), tmp_path / "a.xlsx"))
    assert all(sheet.freeze_panes for sheet in book)
    assert book["Per class"]["C2"].number_format == "0.0000" and book["Per class"]["G2"].number_format == "#,##0"
    assert book["Per image"].auto_filter.ref == "A1:M3"
    assert all(9 <= d.width <= 90 for sheet in book for d in sheet.column_dimensions.values())


def test_a_full_disk_leaves_the_old_workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.xlsx"
    path.write_bytes(b"old")

    def full(self: object, target: Path) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(openpyxl.Workbook, "save", full)
    with pytest.raises(UserError, match="cannot write .*a.xlsx: No space left on device"):
        write_workbook(result(), path)
    assert path.read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def scene(height: int = 33, width: int = 50) -> tuple[np.ndarray, np.ndarray]:
    class_map = np.zeros((height, width), dtype=np.uint8)
    class_map[: height // 2, : width // 2] = 4
    class_map[:, -1] = 6
    return RNG.integers(0, 256, (height, width, 3), dtype=np.uint8), class_map


def test_overlay_blends_defects_and_leaves_the_rest_alone() -> None:
    image, class_map = scene()
    class_map[-1, 0] = IGNORE_INDEX
    blended = overlay(image, class_map, S2DS, 0.25)
    untouched = (class_map == 0) | (class_map == IGNORE_INDEX)
    assert np.array_equal(blended[untouched], image[untouched])
    expected = np.rint(0.75 * image[0, 0] + 0.25 * np.array([255, 255, 0]))
    assert blended[0, 0].tolist() == expected.tolist()
    assert np.array_equal(overlay(image, class_map, S2DS, 0), image)
    assert overlay(image, class_map, S2DS, 1)[0, -1].tolist() == [255, 255, 255]


@pytest.mark.parametrize("size", [(1, 1), (33, 700), (480, 320), (768, 1024)])
def test_pictures_keep_the_image_s_own_size(size: tuple[int, int]) -> None:
    image, class_map = scene(*size)
    assert overlay(image, class_map, S2DS).shape == image.shape == color_mask(class_map, S2DS).shape
    both = side_by_side(image, class_map, S2DS)
    assert both.shape[0] > size[0] and both.shape[1] >= 2 * size[1]
    left = (both.shape[1] - (2 * size[1] + max(4, int(np.clip(max(size) / 28, 12, 64)) // 2))) // 2
    assert np.array_equal(both[: size[0], left : left + size[1]], image)


def test_the_legend_lists_what_was_found_defects_first() -> None:
    class_map = np.zeros((10, 10), dtype=np.uint8)
    class_map[0] = 6
    class_map[1, :5] = 2
    class_map[9] = IGNORE_INDEX
    assert class_shares(class_map, S2DS) == [
        ("Crack", pytest.approx(10 / 90)),
        ("Vegetation", pytest.approx(5 / 90)),
        ("Background", pytest.approx(75 / 90)),
    ]


def test_grid_and_files(tmp_path: Path) -> None:
    image, class_map = scene()
    sheet = grid([[image, color_mask(class_map, S2DS)]] * 2, ["photograph", "label"], ["001", "002"])
    assert sheet.shape[0] > 66 and sheet.shape[1] > 100
    assert np.array_equal(np.asarray(Image.open(save_image(sheet, tmp_path / "x" / "a.png"))), sheet)


def test_without_a_display_the_message_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    with pytest.raises(UserError, match="no display .*--save_figure"):
        show(scene()[0], "a")


def test_charts_are_drawn_also_with_absent_classes(tmp_path: Path) -> None:
    common = {"parameters": 1e6, "macs": 1e9, "mib": 4, "latency_ms": 30.0}
    classes = {"Background": 0.9, "Crack": 0.3, "Spalling": None}
    rows = [
        {
            **common,
            "name": "d",
            "criterion": "",
            "stage": "dense",
            "miou": 0.5,
            "crack_iou": None,
            "per_class": classes,
        },
        {
            **common,
            "name": "p",
            "criterion": "L1",
            "stage": "pruned",
            "miou": 0.2,
            "crack_iou": 0.1,
            "per_class": classes,
        },
        {
            **common,
            "name": "f",
            "criterion": "L1",
            "stage": "fine-tuned",
            "miou": 0.4,
            "crack_iou": 0.3,
            "per_class": classes,
        },
    ]
    for path in study_charts(rows, tmp_path, title="mixed4"):
        assert Image.open(path).size[0] > 600


def test_tables(tmp_path: Path) -> None:
    assert text_table(["a", "b"], [["x", 1.5], ["yy", None]]).splitlines() == ["a     b", "--  ---", "x   1.5", "yy"]
    assert markdown_table(["a"], [[None]]).splitlines() == ["| a |", "| --- |", "|  |"]
    assert write_csv(["a", "b"], [[1, None]], tmp_path / "t.csv").read_text() == "a,b\n1,\n"
    assert json.loads(json.dumps(result()))["per_class"][1]["iou"] is None
