"""The Excel workbook of one evaluation: accuracy and cost side by side, with where the numbers come from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from prune.data.labels import S2DS
from prune.files import atomic_path

SCORE, COUNT, TWO_DECIMALS = "0.0000", "#,##0", "#,##0.00"
HEADER_FILL = PatternFill("solid", fgColor="1F3A5F")
HEADER_FONT = Font(bold=True, color="FFFFFF")
SCALE = ColorScaleRule(start_type="num", start_value=0, start_color="FFFFFF", end_type="num", end_value=1, end_color="5B9BD5")
SCORE_SCALE = {"start_color": "F8CBAD", "mid_color": "FFF2CC", "end_color": "A9D18E"}
THIN = Border(*[Side(style="thin", color="BFBFBF")] * 4)

SUMMARY_ROWS: Sequence[tuple[str, str, str, float]] = (
    ("Parameters (M)", "parameters", TWO_DECIMALS, 1e6),
    ("MACs (G)", "macs", TWO_DECIMALS, 1e9),
    ("MACs counted at", "macs_input", "", 1),
    ("File (MiB)", "file_mib", TWO_DECIMALS, 1),
    ("Latency (ms)", "latency_ms", TWO_DECIMALS, 1),
    ("Latency input", "latency_input", "", 1),
    ("Latency device", "latency_device", "", 1),
    ("Latency threads", "latency_threads", COUNT, 1),
    ("Test images", "images", COUNT, 1),
    ("mIoU (classes present)", "miou", SCORE, 1),
    ("mIoU (defects present)", "miou_defects", SCORE, 1),
    ("Crack IoU", "crack_iou", SCORE, 1),
    ("Pixel accuracy", "pixel_accuracy", SCORE, 1),
    ("Loss (cross entropy per pixel)", "loss", SCORE, 1),
)


def _header(sheet: Worksheet, row: int, titles: Sequence[str]) -> None:
    for column, title in enumerate(titles, 1):
        cell = sheet.cell(row, column, title)
        cell.font, cell.fill = HEADER_FONT, HEADER_FILL
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)


def _finish(sheet: Worksheet, frozen: str, widest: int = 60) -> None:
    """Readable widths, frozen headers, and a page that fits the paper's width."""
    for column, cells in enumerate(sheet.columns, 1):
        longest = max((len(str(c.value)) for c in cells if c.value is not None), default=8)
        sheet.column_dimensions[get_column_letter(column)].width = min(widest, max(9, longest + 2))
    sheet.freeze_panes = frozen
    sheet.page_setup.orientation = "landscape"
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True


def _swatch(sheet: Worksheet, row: int, column: int, class_name: str) -> None:
    """Fill a cell with the color the class has in every picture."""
    index = S2DS.index(class_name)
    if index is not None:
        sheet.cell(row, column).fill = PatternFill("solid", fgColor="{:02X}{:02X}{:02X}".format(*S2DS.colors[index]))
        sheet.cell(row, column).border = THIN


def _summary(sheet: Worksheet, summary: Mapping[str, Any]) -> None:
    _header(sheet, 1, ["Quantity", "Value"])
    rows: list[tuple[str, Any, str]] = [(t, summary[k], "") for t, k in (("Model", "model"), ("File", "file"))]
    rows.append(("Architecture", summary["architecture"], ""))
    rows += [("Lineage" if i == 0 else None, text, "") for i, text in enumerate(summary["lineage"] or ["unknown"])]  # type: ignore[misc]
    for title, key, style, unit in SUMMARY_ROWS:
        value = summary[key]
        rows.append((title, value / unit if value is not None and unit != 1 else value, style))
    for number, (title, value, style) in enumerate(rows, 2):
        sheet.cell(number, 1, title).font = Font(bold=True)
        cell = sheet.cell(number, 2, value)
        cell.alignment = Alignment(horizontal="left", wrap_text=True, vertical="top")
        if style:
            cell.number_format = style
    _finish(sheet, "A2", widest=90)


def _per_class(sheet: Worksheet, rows: Sequence[Mapping[str, Any]]) -> None:
    _header(sheet, 1, ["Color", "Class", "IoU", "Precision", "Recall", "F1", "Support (px)"])
    for number, row in enumerate(rows, 2):
        _swatch(sheet, number, 1, row["class"])
        for column, key in enumerate(("class", "iou", "precision", "recall", "f1", "support"), 2):
            cell = sheet.cell(number, column, row[key])
            cell.number_format = COUNT if key == "support" else SCORE
    scale = ColorScaleRule(start_type="num", start_value=0, mid_type="num", mid_value=0.5, end_type="num", end_value=1, **SCORE_SCALE)
    sheet.conditional_formatting.add(f"C2:F{len(rows) + 1}", scale)
    _finish(sheet, "C2")


def _matrix(sheet: Worksheet, top: int, title: str, classes: Sequence[str], values: Sequence[Sequence[Any]], style: str) -> None:
    sheet.cell(top, 1, title).font = Font(bold=True, size=12)
    _header(sheet, top + 1, ["label \\ prediction", *classes])
    for number, (name, row) in enumerate(zip(classes, values, strict=True), top + 2):
        sheet.cell(number, 1, name).font = Font(bold=True)
        for column, value in enumerate(row, 2):
            cell = sheet.cell(number, column, value)
            cell.number_format, cell.border = style, THIN


def _confusion(sheet: Worksheet, confusion: Mapping[str, Any]) -> None:
    classes = confusion["classes"]
    _matrix(sheet, 1, "Share of each label's pixels (rows add up to 1)", classes, confusion["row_normalized"], "0.000")
    second = len(classes) + 5
    _matrix(sheet, second, "Pixels", classes, confusion["counts"], COUNT)
    last = get_column_letter(len(classes) + 1)
    sheet.conditional_formatting.add(f"B3:{last}{len(classes) + 2}", SCALE)
    for row in range(len(classes)):
        number = second + 2 + row
        whole_row = ColorScaleRule(start_type="num", start_value=0, start_color="FFFFFF", end_type="max", end_color="5B9BD5")
        sheet.conditional_formatting.add(f"B{number}:{last}{number}", whole_row)
    _finish(sheet, "B3")


def _per_image(sheet: Worksheet, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    keys = ("image", "width", "height", "pixel_accuracy", "miou", "loss")
    titles = ["Image", "Width (px)", "Height (px)", "Pixel accuracy", "mIoU (present)", "Loss"]
    _header(sheet, 1, [*titles, *(f"IoU {name}" for name in classes)])
    for number, row in enumerate(rows, 2):
        for column, value in enumerate([*(row[key] for key in keys), *(row["iou"][name] for name in classes)], 1):
            cell = sheet.cell(number, column, value)
            cell.number_format = COUNT if column in (2, 3) else SCORE
    sheet.auto_filter.ref = f"A1:{get_column_letter(len(keys) + len(classes))}{len(rows) + 1}"
    _finish(sheet, "B2")


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _run(sheet: Worksheet, run: Mapping[str, Any]) -> None:
    _header(sheet, 1, ["Key", "Value"])
    for number, (key, value) in enumerate(_flat(run), 2):
        sheet.cell(number, 1, key)
        cell = sheet.cell(number, 2, value if isinstance(value, int | float | str | None) else str(value))
        cell.alignment = Alignment(horizontal="left")
    _finish(sheet, "A2", widest=90)


def write_workbook(result: Mapping[str, Any], path: Path) -> Path:
    """Write an evaluation as a workbook, atomically, and return ``path``.

    Sheets: *Summary*, *Per class*, *Confusion matrix*, *Per image*, *Run*. None becomes an empty cell.

    Args:
        result: Plain values with the keys ``summary``, ``per_class``, ``confusion`` (rows = label, columns =
            prediction), ``per_image`` and ``run``, as in the JSON file beside the workbook.
        path: File to write, ending in .xlsx.

    Raises:
        UserError: when the file cannot be written; an older one then stays as it was.
    """
    book = Workbook()
    summary = book.active
    summary.title = "Summary"
    _summary(summary, result["summary"])
    _per_class(book.create_sheet("Per class"), result["per_class"])
    _confusion(book.create_sheet("Confusion matrix"), result["confusion"])
    _per_image(book.create_sheet("Per image"), result["per_image"], result["confusion"]["classes"])
    _run(book.create_sheet("Run"), result["run"])
    with atomic_path(path) as temporary:
        book.save(temporary)
    return path
