import copy
import json
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
from openpyxl import Workbook, load_workbook
from openpyxl.worksheet.worksheet import Worksheet

from prune.data.labels import S2DS
from prune.evaluation.content import Conditions
from prune.files import write_json
from prune.metrics.confusion import Scores, blank
from prune.metrics.crack import CrackSettings
from prune.report.sheets import PAGE_CHARACTERS, SMALLEST_PRINT, finish, header, swatch
from prune.report.workbook import write_workbook
from prune.tables import markdown_table, text_table, write_csv
from tests.conftest import refused


def result() -> dict[str, Any]:
    """An evaluation in which Vegetation is absent and Efflorescence only predicted."""
    matrix = np.diag([900_000, 50, 0, 0, 7_000, 3_000, 1_200])
    matrix[6, 0], matrix[0, 6], matrix[0, 3] = 800, 400, 17
    scores = Scores.of(matrix)
    summary = {
        "model": "taylor",
        "file": "results/models/taylor.pth",
        "architecture": "deeplabv3_resnet101",
        "runtime": "pytorch fp32",
        "lineage": ["train: 20 epochs", "prune: Taylor 50%", "fine-tune: 5 epochs"],
        "parameters": 15_123_456,
        "macs": 61_234_567_890,
        "macs_input": "3x512x512",
        "file_mib": 57.9,
        "latency_ms": None,
        "latency_input": "1x3x512x512",
        "latency_device": "",
        "latency_threads": 2,
        "images": 2,
        "miou": scores.miou,
        "miou_defects": scores.miou_defects,
        "crack_iou": blank(scores.iou[6]),
        "crack_lt_iou_4": 0.7,
        "crack_cl_dice": None,
        "intervals": {"miou": [0.4, 0.6], "crack_lt_iou_4": [0.65, 0.75]},
        "pixel_accuracy": scores.pixel_accuracy,
        "loss": 0.25,
    }
    image = {"width": 1024, "height": 768, "pixel_accuracy": 0.9, "miou": 0.5, "loss": 0.1}
    ious = [dict.fromkeys(S2DS.classes, 0.25), {**dict.fromkeys(S2DS.classes), "Crack": 0.0}]
    arguments = {"test_dir": "data/test", "weights": None, "use_pruned": True, "size": [512, 512]}
    return {
        "summary": summary,
        "conditions": Conditions(CrackSettings()).to_json(),
        "crack": None,
        "per_class": [
            row | {"boundary_f1": 0.5, "boundary_iou": None, "intervals": {"iou": [0.1, 0.9], "f1": [None, None]}}
            for row in scores.per_class(S2DS.classes)
        ],
        "confusion": {
            "classes": list(S2DS.classes),
            "counts": matrix.tolist(),
            "row_normalized": scores.row_normalized(),
        },
        "per_image": [{"image": f"{i:03d}", **image, "iou": iou} for i, iou in enumerate(ious)],
        "run": {"started": "2026-01-01", "arguments": arguments, "data": {"images": 2}, "seconds": {"forward": 1.5}},
    }


def saved(content: dict[str, Any], folder: Path) -> Workbook:
    return load_workbook(write_workbook(content, folder / "a.xlsx"))


def table(sheet: Worksheet, cells: str) -> list[list[Any]]:
    return [[cell.value for cell in row] for row in sheet[cells]]


@pytest.fixture(scope="module")
def book(tmp_path_factory: pytest.TempPathFactory) -> Workbook:
    return saved(result(), tmp_path_factory.mktemp("book"))


def test_sheets_headers_and_print_set_up(book: Workbook) -> None:
    assert book.sheetnames == ["Summary", "Per class", "Confusion matrix", "Per image", "Run"]
    assert [s.freeze_panes for s in book.worksheets] == ["A2", "C2", "C4", "B2", "A2"]
    for sheet in book.worksheets:
        page = sheet.page_setup
        assert (page.orientation, page.fitToWidth, page.fitToHeight) == ("landscape", 1, 0)
        assert sheet.sheet_properties.pageSetUpPr.fitToPage
        assert all(6 < column.width <= 80 for column in sheet.column_dimensions.values())
        header = sheet["B2" if sheet.title == "Confusion matrix" else "A1"]
        assert header.font.bold and header.fill.fgColor.rgb.endswith("1F3A5F")
    assert book["Per image"].auto_filter.ref == "A1:M3"


def test_summary_holds_every_value(book: Workbook) -> None:
    sheet, expected = book["Summary"], result()["summary"]
    rows = {title: (number, value) for number, (title, value) in enumerate(table(sheet, f"A1:B{sheet.max_row}"), 1)}
    titles = {
        "Model": "model",
        "File": "file",
        "Architecture": "architecture",
        "Runtime": "runtime",
        "Parameters": "parameters",
        "MACs": "macs",
        "MACs input": "macs_input",
        "File size (MiB)": "file_mib",
        "Latency input": "latency_input",
        "Latency threads": "latency_threads",
        "Test images": "images",
        "mIoU": "miou",
        "mIoU defects": "miou_defects",
        "Crack IoU": "crack_iou",
        "Crack ltIoU at 4 px": "crack_lt_iou_4",
        "Crack clDice": "crack_cl_dice",
        "Pixel accuracy": "pixel_accuracy",
        "Loss (per pixel)": "loss",
    }
    assert {title: rows[title][1] for title in titles} == {title: expected[key] for title, key in titles.items()}
    assert set(expected) == {*titles.values(), "lineage", "latency_ms", "latency_device", "intervals"}
    assert rows["Parameters (M)"][1] == pytest.approx(15.123456) and rows["MACs (G)"][1] == pytest.approx(61.23456789)
    assert rows["Latency (ms)"][1] is None and rows["Latency device"][1] in (None, "")
    first = rows["Lineage"][0]
    assert [row[0] for row in table(sheet, f"B{first}:B{first + 2}")] == expected["lineage"]
    number = rows["mIoU"][0]
    assert table(sheet, f"C{number}:D{number}") == [[0.4, 0.6]]
    assert rows["Protocol"][1] == "plain" and rows["Line tolerances (px)"][1] == "0, 2, 4, 8"
    formats = {title: sheet.cell(rows[title][0], 2).number_format for title in ("Parameters", "MACs (G)", "mIoU")}
    assert formats == {"Parameters": "#,##0", "MACs (G)": "#,##0.00", "mIoU": "0.0000"}


def test_a_network_without_lineage_still_has_its_row(tmp_path: Path) -> None:
    content = result()
    content["summary"]["lineage"] = []
    sheet = saved(content, tmp_path)["Summary"]
    assert ["Lineage", None] in table(sheet, f"A1:B{sheet.max_row}")


def test_per_class_blanks_are_blank_and_colors_are_shown(book: Workbook) -> None:
    sheet, expected = book["Per class"], result()["per_class"]
    shown = ("class", "iou", "precision", "recall", "f1", "boundary_f1", "boundary_iou")
    assert table(sheet, "B1:H1") == [["Class", "IoU", "Precision", "Recall", "F1", "Boundary F1", "Boundary IoU"]]
    assert table(sheet, "I1:M1") == [["IoU 95 % low", "IoU 95 % high", "F1 95 % low", "F1 95 % high", "Support (px)"]]
    assert table(sheet, "B2:H8") == [[row[k] for k in shown] for row in expected]
    assert table(sheet, "I2:M2") == [[0.1, 0.9, None, None, expected[0]["support"]]]
    assert table(sheet, "C4:F4") == [[None, None, None, None]]  # absent
    assert table(sheet, "C5:F5") == [[0, 0, None, 0]]  # predicted, never labeled
    assert (sheet["C2"].number_format, sheet["M2"].number_format) == ("0.0000", "#,##0")
    assert len(sheet._charts) == 1
    assert [sheet.cell(row, 1).fill.fgColor.rgb[-6:] for row in (3, 6, 8)] == ["0000FF", "FFFF00", "FFFFFF"]


def test_confusion_matrices_are_labeled_and_colored(book: Workbook) -> None:
    sheet, expected = book["Confusion matrix"], result()["confusion"]
    for top, values in ((2, expected["row_normalized"]), (13, expected["counts"])):
        assert table(sheet, f"B{top}:I{top}") == [["label \\ prediction", *S2DS.classes]]
        assert [row[0] for row in table(sheet, f"B{top + 2}:B{top + 8}")] == list(S2DS.classes)
        for found, row in zip(table(sheet, f"C{top + 2}:I{top + 8}"), values, strict=True):
            assert found == (row if None in row else pytest.approx(row, rel=1e-12))
    assert (sheet["C4"].number_format, sheet["C15"].number_format) == ("0.0000", "#,##0")
    colored = {str(cells.sqref): [r.type for r in cells.rules] for cells in sheet.conditional_formatting}
    assert colored["C4:I10"] == ["colorScale"]
    assert {"C15:I15", "C16:I16", "C19:I19", "C20:I20", "C21:I21"} == set(colored) - {"C4:I10"}


def test_per_image_rows(book: Workbook) -> None:
    sheet, expected = book["Per image"], result()["per_image"]
    keys = ("image", "width", "height", "pixel_accuracy", "miou", "loss")
    assert table(sheet, "A1:G1")[0] == [
        *("Image", "Width (px)", "Height (px)", "Pixel accuracy", "mIoU", "Loss (per pixel)"),
        "IoU Background",
    ]
    assert table(sheet, "A2:M3") == [[*(row[k] for k in keys), *row["iou"].values()] for row in expected]
    assert table(sheet, "G3:M3") == [[None] * 6 + [0]]


def test_run_is_flattened(book: Workbook) -> None:
    sheet = book["Run"]
    assert table(sheet, f"A2:B{sheet.max_row}") == [
        ["started", "2026-01-01"],
        ["arguments.test_dir", "data/test"],
        ["arguments.weights", None],
        ["arguments.use_pruned", True],
        ["arguments.size", "512, 512"],
        ["data.images", 2],
        ["seconds.forward", 1.5],
    ]


def test_names_from_strangers_are_text_and_never_formulas(tmp_path: Path) -> None:
    content = result()
    content["per_image"][0]["image"] = '=HYPERLINK("http://example.com")'
    content["summary"]["model"] = "bell\x07 \udcff"
    content["run"]["arguments"]["test_dir"] = "#N/A"
    book = saved(content, tmp_path)
    assert book["Per image"]["A2"].value == '=HYPERLINK("http://example.com")'
    with ZipFile(tmp_path / "a.xlsx") as archive:
        assert not any(b"<f>" in archive.read(name) for name in archive.namelist() if "worksheets" in name)
    assert book["Run"]["B3"].value == "#N/A"
    assert "bell ?" in [cell.value for cell in book["Summary"]["B"]]


def test_unknown_classes_and_an_empty_set_are_written(tmp_path: Path) -> None:
    content = result()
    content["confusion"] = {"classes": ["Moss"], "counts": [[0]], "row_normalized": [[None]]}
    empty = {"class": "Moss", **dict.fromkeys(("iou", "precision", "recall", "f1", "boundary_f1", "boundary_iou"))}
    empty |= {"support": 0, "intervals": {"iou": [None, None], "f1": [None, None]}}
    content["per_class"], content["per_image"] = [empty], []
    book = saved(content, tmp_path)
    assert book["Per class"]["A2"].fill.fill_type is None and book["Confusion matrix"]["C4"].value is None
    assert book["Per image"].max_row == 1


def test_the_workbook_says_what_the_json_says(tmp_path: Path) -> None:
    content = result()
    before = copy.deepcopy(content)
    write_workbook(content, tmp_path / "a.xlsx")
    assert content == before == json.loads(write_json(tmp_path / "a.json", content).read_text())


def test_a_full_disk_leaves_the_old_workbook(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_workbook(result(), tmp_path / "a.xlsx")
    old = path.read_bytes()

    def full(self: Path, content: bytes) -> int:
        self.write_text("half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with refused(r"cannot write .*a\.xlsx: No space left on device"):
        write_workbook(result(), path)
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


def test_text_table_aligns_numbers_and_leaves_none_blank() -> None:
    text = text_table(["class", "IoU", "px"], [["Crack", "0.5000", "1,200"], ["Vegetation", None, "0"]])
    assert text.splitlines() == [
        "class          IoU     px",
        "----------  ------  -----",
        "Crack       0.5000  1,200",
        "Vegetation              0",
    ]
    assert text_table(["a", "b"], [[1, 22]], align="rl").splitlines()[0] == "a  b"
    assert text_table(["name"], []) == "name\n----"
    assert text_table(["share"], [["5 %"], ["12.5%"]]).splitlines()[2] == "  5 %"
    for wrong in ("l", "lx"):
        with pytest.raises(ValueError, match="one l or r for each of 2 columns"):
            text_table(["a", "b"], [[1, 2]], align=wrong)


def test_markdown_table() -> None:
    assert markdown_table(["name", "IoU"], [["a|b", 0.5], ["c", None]]).splitlines() == [
        "| name | IoU |",
        "| --- | ---: |",
        "| a\\|b | 0.5 |",
        "| c |  |",
    ]


def test_write_csv(tmp_path: Path) -> None:
    path = write_csv(["name", "IoU"], [["a, b", 0.1], ["c", None]], tmp_path / "new" / "t.csv")
    assert path.read_bytes() == b'name,IoU\n"a, b",0.1\nc,\n'
    (tmp_path / "file").write_text("")
    with refused("cannot create the folder"):
        write_csv(["name"], [], tmp_path / "file" / "t.csv")


def test_swatches_have_a_dark_frame_and_unknown_classes_none(book: Workbook) -> None:
    sheet = book["Per class"]
    for row in (2, 8):  # black and white
        assert sheet.cell(row, 1).border.left.style == "medium"
        assert sheet.cell(row, 1).border.left.color.rgb.endswith("595959")
    bare = Workbook().active
    swatch(bare, 1, 1, "mold")
    assert bare["A1"].border.left.style is None and bare["A1"].fill.fill_type is None


@pytest.mark.parametrize(
    ("columns", "pages", "names"), [(10, 1, None), (18, 1, None), (19, 2, "$A:$A"), (40, 3, "$A:$A")]
)
def test_wide_sheets_take_several_pages_that_can_be_read(columns: int, pages: int, names: str | None) -> None:
    sheet = Workbook().active
    header(sheet, 1, ["image name", *["abcdefgh"] * (columns - 1)])  # 13 characters wide each, the first 10
    finish(sheet, "B2")
    widths = [column.width for column in sheet.column_dimensions.values()]
    setup = sheet.page_setup
    assert (setup.fitToWidth, sheet.print_title_cols, sheet.print_title_rows) == (pages, names, "$1:$1")
    shown = sum(widths) + (pages - 1) * widths[0]  # the names are repeated
    assert PAGE_CHARACTERS * pages / shown >= SMALLEST_PRINT
