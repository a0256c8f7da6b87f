"""The Excel workbook of one evaluation: accuracy and cost side by side, with where the numbers come from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from prune.data.labels import S2DS
from prune.files import atomic_path

SCORE, COUNT, TWO_DECIMALS, TEXT = "0.0000", "#,##0", "#,##0.00", "@"
PYTHON_FORMATS = {SCORE: ".4f", COUNT: ",.0f", TWO_DECIMALS: ",.2f"}
BOLD = Font(name="Calibri", size=11, bold=True)
HEADER_FONT = Font(name="Calibri", size=11, bold=True, color="FFFFFF")
HEADER_FILL = PatternFill("solid", fgColor="1F3A5F")
SECTION_FONT = Font(name="Calibri", size=11, bold=True, color="1F3A5F")
SECTION_FILL = PatternFill("solid", fgColor="DCE6F1")
NOTE_FONT = Font(name="Calibri", size=11, italic=True, color="595959")
THIN = Border(*[Side(style="thin", color="BFBFBF")] * 4)
SWATCH_WIDTH = 7
NARROWEST, WIDEST = 10, 70
"""Column widths in characters."""
A4 = 9
"""The paper's number in the file format."""

SUMMARY_SECTIONS: Mapping[str, Sequence[tuple[str, str, str, float, str]]] = {
    "Network": (
        ("Model", "model", TEXT, 1, ""),
        ("File", "file", TEXT, 1, ""),
        ("Architecture", "architecture", TEXT, 1, ""),
        ("Lineage", "lineage", TEXT, 1, "how the network came about, first step first"),
    ),
    "Cost": (
        ("Parameters", "parameters", COUNT, 1, "of the inference network"),
        ("Parameters (M)", "parameters", TWO_DECIMALS, 1e6, "millions"),
        ("MACs", "macs", COUNT, 1, "multiply-accumulates of one forward pass"),
        ("MACs (G)", "macs", TWO_DECIMALS, 1e9, "billions"),
        ("MACs input", "macs_input", TEXT, 1, "channels x height x width"),
        ("File size (MiB)", "file_mib", TWO_DECIMALS, 1, ""),
        ("Latency (ms)", "latency_ms", TWO_DECIMALS, 1, "one forward pass; blank when not measured"),
        ("Latency input", "latency_input", TEXT, 1, "batch x channels x height x width"),
        ("Latency device", "latency_device", TEXT, 1, ""),
        ("Latency threads", "latency_threads", COUNT, 1, ""),
    ),
    "Accuracy": (
        ("Test images", "images", COUNT, 1, "whole images at their own size"),
        ("mIoU", "miou", SCORE, 1, "mean IoU over the classes with labeled pixels, counts pooled over all images"),
        ("mIoU defects", "miou_defects", SCORE, 1, "the same without the background"),
        ("Crack IoU", "crack_iou", SCORE, 1, ""),
        ("Pixel accuracy", "pixel_accuracy", SCORE, 1, "share of labeled pixels predicted right"),
        ("Loss (per pixel)", "loss", SCORE, 1, "cross entropy"),
    ),
}
"""Sections of the summary: (title, key, number format, unit the value is divided by, note)."""


def _storable(text: str) -> str:
    """The text without what a workbook cannot hold: control characters and undecodable bytes of file names."""
    return ILLEGAL_CHARACTERS_RE.sub("", text).encode("utf-8", "replace").decode("utf-8")


def _put(sheet: Worksheet, row: int, column: int, value: Any, style: str = "") -> Cell:
    """Write a value; text stays text, whatever it looks like (a file may be called ``=1+1.png``)."""
    cell = sheet.cell(row, column, _storable(value) if isinstance(value, str) else value)
    if isinstance(value, str):
        cell.data_type = "s"
    if style:
        cell.number_format = style
    return cell


def _header(sheet: Worksheet, row: int, titles: Sequence[str]) -> None:
    for column, title in enumerate(titles, 1):
        cell = _put(sheet, row, column, title)
        cell.font, cell.fill, cell.border = HEADER_FONT, HEADER_FILL, THIN
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
    sheet.row_dimensions[row].height = 32


def _shown_width(cell: Cell) -> int:
    """Characters the cell shows; titles wrap, so there the longest word counts (and the filter's arrow)."""
    if cell.value is None or cell.font == NOTE_FONT:
        return 0
    if cell.fill == HEADER_FILL:
        return max(map(len, str(cell.value).split())) + 3
    style = PYTHON_FORMATS.get(cell.number_format)
    return len(format(cell.value, style) if style else str(cell.value))


def _finish(sheet: Worksheet, frozen: str, repeated_rows: str = "1:1") -> None:
    """Readable widths, frozen headers, and pages that fit the paper's width and repeat the headers."""
    for column, cells in enumerate(sheet.columns, 1):
        widest = max(map(_shown_width, cells))
        sheet.column_dimensions[get_column_letter(column)].width = min(WIDEST, max(NARROWEST, widest + 2))
    sheet.freeze_panes = frozen
    sheet.print_title_rows = repeated_rows
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = 1, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    sheet.oddFooter.left.text, sheet.oddFooter.right.text = "&A", "&P / &N"


def _heat(sheet: Worksheet, cells: str, largest: int = 1) -> None:
    """Color values from white (0) to blue (``largest``)."""
    ends = {"start_color": "FFFFFF", "end_color": "5B9BD5"}
    rule = ColorScaleRule(start_type="num", start_value=0, end_type="num", end_value=largest, **ends)
    sheet.conditional_formatting.add(cells, rule)


def _swatch(sheet: Worksheet, row: int, column: int, class_name: str) -> None:
    """Fill a cell with the color the class has in every picture; an unknown class has none."""
    index = S2DS.index(class_name)
    cell = sheet.cell(row, column)
    cell.border = THIN
    if index is not None:
        cell.fill = PatternFill("solid", fgColor="{:02X}{:02X}{:02X}".format(*S2DS.colors[index]))


def _summary(sheet: Worksheet, summary: Mapping[str, Any]) -> None:
    _header(sheet, 1, ["Quantity", "Value", "Note"])
    number = 2
    for section, rows in SUMMARY_SECTIONS.items():
        for column in (1, 2, 3):
            cell = _put(sheet, number, column, section if column == 1 else None)
            cell.font, cell.fill = SECTION_FONT, SECTION_FILL
        number += 1
        for title, key, style, unit, note in rows:
            values = summary[key] if isinstance(summary[key], list) else [summary[key]]
            _put(sheet, number, 1, title).font = BOLD
            _put(sheet, number, 3, note or None).font = NOTE_FONT
            for value in values or [None]:
                cell = _put(sheet, number, 2, value / unit if value is not None and unit != 1 else value, style)
                cell.alignment = Alignment(horizontal="left", vertical="top", wrap_text=style == TEXT)
                number += 1
    sheet.sheet_view.showGridLines = False
    _finish(sheet, "A2")
    sheet.column_dimensions["C"].width = 72


def _per_class(sheet: Worksheet, rows: Sequence[Mapping[str, Any]]) -> None:
    _header(sheet, 1, ["Color", "Class", "IoU", "Precision", "Recall", "F1", "Support (px)"])
    for number, row in enumerate(rows, 2):
        _swatch(sheet, number, 1, row["class"])
        _put(sheet, number, 2, row["class"]).font = BOLD
        for column, key in enumerate(("iou", "precision", "recall", "f1"), 3):
            _put(sheet, number, column, row[key], SCORE)
        _put(sheet, number, 7, row["support"], COUNT)
    note = "Support: labeled pixels. Blank: neither labeled nor predicted, so there is no score."
    _put(sheet, len(rows) + 3, 2, note).font = NOTE_FONT
    _heat(sheet, f"C2:F{len(rows) + 1}")
    _finish(sheet, "C2")
    sheet.column_dimensions["A"].width = SWATCH_WIDTH


def _matrix(sheet: Worksheet, top: int, classes: Sequence[str], values: Sequence[Sequence[Any]], style: str) -> None:
    """One matrix: header in row ``top``, the classes' colors below it, then a row per label."""
    _header(sheet, top, ["Color", "label \\ prediction", *classes])
    sheet.row_dimensions[top + 1].height = 8
    for column, name in enumerate(classes, 3):
        _swatch(sheet, top + 1, column, name)
    for label, (name, row) in enumerate(zip(classes, values, strict=True)):
        number = top + 2 + label
        _swatch(sheet, number, 1, name)
        _put(sheet, number, 2, name).font = BOLD
        for predicted, value in enumerate(row):
            cell = _put(sheet, number, 3 + predicted, value, style)
            cell.border = THIN
            if predicted == label:
                cell.font = BOLD


def _confusion(sheet: Worksheet, confusion: Mapping[str, Any]) -> None:
    classes = confusion["classes"]
    title = "Share of each label's pixels (rows add up to 1; blank: the label has no pixels)"
    _put(sheet, 1, 2, title).font = NOTE_FONT
    _matrix(sheet, 2, classes, confusion["row_normalized"], SCORE)
    last = get_column_letter(len(classes) + 2)
    _heat(sheet, f"C4:{last}{len(classes) + 3}")
    second = len(classes) + 5
    _put(sheet, second, 2, "Counts (px)").font = NOTE_FONT
    _matrix(sheet, second + 1, classes, confusion["counts"], COUNT)
    for number, row in enumerate(confusion["counts"], second + 3):
        if sum(row):
            _heat(sheet, f"C{number}:{last}{number}", sum(row))
    _finish(sheet, "C4", "2:3")
    sheet.column_dimensions["A"].width = SWATCH_WIDTH


def _per_image(sheet: Worksheet, rows: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    styles = {"image": "", "width": COUNT, "height": COUNT, "pixel_accuracy": SCORE, "miou": SCORE, "loss": SCORE}
    titles = ["Image", "Width (px)", "Height (px)", "Pixel accuracy", "mIoU", "Loss (per pixel)"]
    _header(sheet, 1, [*titles, *(f"IoU {name}" for name in classes)])
    for number, row in enumerate(rows, 2):
        for column, (key, style) in enumerate(styles.items(), 1):
            _put(sheet, number, column, row[key], style)
        for column, name in enumerate(classes, len(styles) + 1):
            _put(sheet, number, column, row["iou"].get(name), SCORE)
    last = get_column_letter(len(styles) + len(classes))
    sheet.auto_filter.ref = f"A1:{last}{len(rows) + 1}"
    if rows:
        _heat(sheet, f"E2:E{len(rows) + 1}")
        _heat(sheet, f"G2:{last}{len(rows) + 1}")
    _finish(sheet, "B2")


def _flat(content: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """Nested dicts as (dotted key, value); a list becomes one text."""
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        elif isinstance(value, (bool, int, float)) or value is None:
            yield f"{prefix}{key}", value
        else:
            yield f"{prefix}{key}", ", ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _run(sheet: Worksheet, run: Mapping[str, Any]) -> None:
    _header(sheet, 1, ["Key", "Value"])
    for number, (key, value) in enumerate(_flat(run), 2):
        _put(sheet, number, 1, key).alignment = Alignment(vertical="top")
        cell = _put(sheet, number, 2, value)
        cell.alignment = Alignment(horizontal="left", vertical="top", wrap_text=True)
    _finish(sheet, "A2")


def write_workbook(result: Mapping[str, Any], path: Path) -> Path:
    """Write an evaluation as a workbook, atomically, and return ``path``.

    Sheets: *Summary*, *Per class*, *Confusion matrix*, *Per image*, *Run*. None becomes an empty cell, never 0.

    Args:
        result: Plain values with the keys ``summary``, ``per_class``, ``confusion`` (rows = label, columns =
            prediction), ``per_image`` and ``run``, as in the JSON file beside the workbook. Scores are in 0…1.
        path: File to write, ending in .xlsx.

    Raises:
        UserError: when the file cannot be written; an older one then stays as it was.
    """
    book = Workbook()
    book.properties.title = f"Evaluation of {_storable(result['summary']['model'])}"
    book.properties.creator = "prune"
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
