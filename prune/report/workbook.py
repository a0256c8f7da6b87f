"""The Excel workbook of one evaluation: accuracy and cost side by side, with where the numbers come from."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.chart import BarChart, Reference
from openpyxl.styles import Alignment
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from prune.report import crack_sheets
from prune.report.pair import ID
from prune.report.sheets import (
    BOLD,
    COUNT,
    NOTE_FONT,
    SCORE,
    SECTION_FILL,
    SECTION_FONT,
    SWATCH_WIDTH,
    TEXT,
    THIN,
    TWO_DECIMALS,
    finish,
    frame_of,
    header,
    heat,
    mark,
    print_setup,
    put,
    put_frame,
    save_workbook,
    storable,
    swatch,
)

SUMMARY_SECTIONS: Mapping[str, Sequence[tuple[str, str, str, float, str]]] = {
    "Network": (
        ("Model", "model", TEXT, 1, ""),
        ("File", "file", TEXT, 1, ""),
        ("Architecture", "architecture", TEXT, 1, ""),
        ("Runtime", "runtime", TEXT, 1, "runtime and number format"),
        ("Lineage", "lineage", TEXT, 1, "how the network was made, oldest step first"),
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
        ("Test images", "images", COUNT, 1, "see Conditions for what part of them"),
        ("mIoU", "miou", SCORE, 1, "mean IoU over the classes with labeled pixels, counts pooled over all images"),
        ("mIoU defects", "miou_defects", SCORE, 1, "the same without the background"),
        (
            "Crack IoU",
            "crack_iou",
            SCORE,
            1,
            "strict: every pixel counts; two annotators of one photograph reach about 0.5",
        ),
        ("Crack ltIoU at 4 px", "crack_lt_iou_4", SCORE, 1, "center lines at most 4 px apart agree"),
        ("Crack clDice", "crack_cl_dice", SCORE, 1, "center lines inside the other mask"),
        ("Pixel accuracy", "pixel_accuracy", SCORE, 1, "share of labeled pixels predicted right"),
        ("Loss (per pixel)", "loss", SCORE, 1, "cross entropy"),
    ),
}
"""Sections of the summary: (title, key, number format, unit the value is divided by, note)."""


def _section(sheet: Worksheet, row: int, title: str) -> None:
    for column in range(1, 6):
        cell = put(sheet, row, column, title if column == 1 else None)
        cell.font, cell.fill = SECTION_FONT, SECTION_FILL


def _summary(sheet: Worksheet, summary: Mapping[str, Any], conditions: Mapping[str, Any]) -> None:
    header(sheet, 1, ["Quantity", "Value", "95 % low", "95 % high", "Note"])
    number = 2
    for section, rows in SUMMARY_SECTIONS.items():
        _section(sheet, number, section)
        number += 1
        for title, key, style, unit, note in rows:
            values = summary[key] if isinstance(summary[key], list) else [summary[key]]
            put(sheet, number, 1, title).font = BOLD
            put(sheet, number, 5, note or None).font = NOTE_FONT
            for column, bound in enumerate(summary["intervals"].get(key, ()), 3):
                put(sheet, number, column, bound, style)
            for value in values or [None]:
                cell = put(sheet, number, 2, value / unit if value is not None and unit != 1 else value, style)
                cell.alignment = Alignment(horizontal="left", vertical="top", wrap_text=style == TEXT)
                number += 1
    _section(sheet, number, "Conditions")
    for title, text, note in _condition_rows(conditions):
        number += 1
        put(sheet, number, 1, title).font = BOLD
        put(sheet, number, 2, text).alignment = Alignment(horizontal="left", vertical="top", wrap_text=True)
        put(sheet, number, 5, note).font = NOTE_FONT
    sheet.sheet_view.showGridLines = False
    finish(sheet, "A2")
    sheet.column_dimensions["E"].width = 72
    print_setup(sheet)


def _condition_rows(conditions: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Under what conditions the scores hold: (title, value, note)."""

    def listed(key: str) -> str:
        return ", ".join(map(str, conditions[key]))

    return [
        ("Protocol", conditions["protocol"], "s2ds leaves out a band of 2 px along areal classes, never around cracks"),
        ("Images scored", conditions["images"], ""),
        ("Line tolerances (px)", listed("tolerances"), ""),
        ("F1 tolerances (px)", listed("f1_tolerances"), ""),
        ("Boundary tolerance (px)", str(conditions["boundary_px"]), "also the width of the band of boundary IoU"),
        ("mm per px", conditions["mm_per_pixel"] or "not given", "lengths are in px without it"),
        ("Intervals", f"95%, {conditions['draws']:,} draws", f"bootstrap over images, seed {conditions['seed']}"),
    ]


CLASS_COLUMNS: Sequence[tuple[str, str]] = (
    ("IoU", "iou"),
    ("Precision", "precision"),
    ("Recall", "recall"),
    ("F1", "f1"),
    ("Boundary F1", "boundary_f1"),
    ("Boundary IoU", "boundary_iou"),
)


def _per_class(sheet: Worksheet, rows: Sequence[Mapping[str, Any]]) -> None:
    intervals = ["IoU 95 % low", "IoU 95 % high", "F1 95 % low", "F1 95 % high"]
    titles = ["Class", *(title for title, _ in CLASS_COLUMNS), *intervals, "Support (px)"]
    values = (
        [
            row["class"],
            *(row[k] for _, k in CLASS_COLUMNS),
            *row["intervals"]["iou"],
            *row["intervals"]["f1"],
            row["support"],
        ]
        for row in rows
    )
    header(sheet, 1, ["Color", *titles])
    put_frame(sheet, 2, frame_of(titles, values), ["", *[SCORE] * (len(titles) - 2), COUNT], left=2)
    for number, row in enumerate(rows, 2):
        swatch(sheet, number, 1, row["class"])
    last = len(rows) + 1
    note = "Support: labeled pixels. Blank: neither labeled nor predicted, so there is no score."
    put(sheet, last + 2, 2, note).font = NOTE_FONT
    heat(sheet, f"C2:H{last}")
    finish(sheet, "C2")
    sheet.column_dimensions["A"].width = SWATCH_WIDTH
    print_setup(sheet)
    chart = BarChart()
    chart.type, chart.title, chart.y_axis.title = "col", "Scores per class", "score (0 to 1)"
    chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, 1
    chart.y_axis.delete = chart.x_axis.delete = False
    chart.height, chart.width = 9, 24
    chart.add_data(Reference(sheet, min_col=3, max_col=6, min_row=1, max_row=last), titles_from_data=True)
    chart.set_categories(Reference(sheet, min_col=2, min_row=2, max_row=last))
    sheet.add_chart(chart, f"B{last + 6}")


def _matrix(sheet: Worksheet, top: int, classes: Sequence[str], values: Sequence[Sequence[Any]], style: str) -> None:
    """One matrix: header in row ``top``, the classes' colors below it, then a row per label."""
    header(sheet, top, ["Color", "label \\ prediction", *classes])
    sheet.row_dimensions[top + 1].height = 14
    for column, name in enumerate(classes, 3):
        swatch(sheet, top + 1, column, name)
    frame = frame_of(["label", *classes], ([name, *row] for name, row in zip(classes, values, strict=True)))
    put_frame(sheet, top + 2, frame, ["", *[style] * len(classes)], left=2)
    for label, name in enumerate(classes):
        number = top + 2 + label
        swatch(sheet, number, 1, name)
        for column in range(3, 3 + len(classes)):
            sheet.cell(number, column).border = THIN
        sheet.cell(number, 3 + label).font = BOLD


def _confusion(sheet: Worksheet, confusion: Mapping[str, Any]) -> None:
    classes = confusion["classes"]
    title = "Share of each label's pixels (rows add up to 1; blank: the label has no pixels)"
    put(sheet, 1, 2, title).font = NOTE_FONT
    _matrix(sheet, 2, classes, confusion["row_normalized"], SCORE)
    last = get_column_letter(len(classes) + 2)
    heat(sheet, f"C4:{last}{len(classes) + 3}")
    second = len(classes) + 5
    put(sheet, second, 2, "Counts (px)").font = NOTE_FONT
    _matrix(sheet, second + 1, classes, confusion["counts"], COUNT)
    for number, row in enumerate(confusion["counts"], second + 3):
        if sum(row):
            heat(sheet, f"C{number}:{last}{number}", sum(row))
    finish(sheet, "C4", "2:3")
    sheet.column_dimensions["A"].width = SWATCH_WIDTH


def _per_image(sheet: Worksheet, rows: Sequence[Mapping[str, Any]], content: Mapping[str, Any]) -> None:
    classes, crack = content["confusion"]["classes"], crack_sheets.image_columns(content)
    styles = {"image": "", "width": COUNT, "height": COUNT, "pixel_accuracy": SCORE, "miou": SCORE, "loss": SCORE}
    titles = ["Image", "Width (px)", "Height (px)", "Pixel accuracy", "mIoU", "Loss (per pixel)"]
    titles += [*(f"IoU {name}" for name in classes), *(title for title, _ in crack)]
    values = (
        [*(row[key] for key in styles), *(row["iou"].get(name) for name in classes), *(read(row) for _, read in crack)]
        for row in rows
    )
    header(sheet, 1, titles)
    put_frame(sheet, 2, frame_of(titles, values), [*styles.values(), *[SCORE] * (len(classes) + len(crack))], bold=0)
    last = get_column_letter(len(styles) + len(classes) + len(crack))
    sheet.auto_filter.ref = f"A1:{last}{len(rows) + 1}"
    if rows:
        heat(sheet, f"E2:E{len(rows) + 1}")
        heat(sheet, f"G2:{last}{len(rows) + 1}")
    finish(sheet, "B2")


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
    header(sheet, 1, ["Key", "Value"])
    for number, (key, value) in enumerate(_flat(run), 2):
        put(sheet, number, 1, key).alignment = Alignment(vertical="top")
        cell = put(sheet, number, 2, value)
        cell.alignment = Alignment(horizontal="left", vertical="top", wrap_text=True)
    finish(sheet, "A2")


def write_workbook(result: Mapping[str, Any], path: Path) -> Path:
    """Write an evaluation as a workbook, atomically, and return ``path``.

    Sheets: *Summary*, *Per class*, *Confusion matrix*, with a crack class *Line scores*, *Measurement* and *False alarms*,
    with confidences *Calibration*, then *Per image* and *Run*. None becomes an empty cell, never 0.

    Args:
        result: What ``prune.evaluation.content.evaluation_content`` gives. Scores are in 0…1.
        path: File to write, ending in .xlsx.

    Raises:
        UserError: when the file cannot be written; an older one then stays as it was.
    """
    book = Workbook()
    book.properties.title = f"Evaluation of {storable(result['summary']['model'])}"
    book.properties.creator = "prune"
    book.properties.identifier = result["run"].get(ID)
    summary = book.active
    summary.title = "Summary"
    _summary(summary, result["summary"], result["conditions"])
    _per_class(book.create_sheet("Per class"), result["per_class"])
    _confusion(book.create_sheet("Confusion matrix"), result["confusion"])
    if result["crack"]:
        crack_sheets.line_scores(book.create_sheet("Line scores"), result["crack"])
        crack_sheets.measurement(book.create_sheet("Measurement"), result)
        crack_sheets.false_alarms(book.create_sheet("False alarms"), result)
    if "calibration" in result:
        crack_sheets.calibration(book.create_sheet("Calibration"), result)
    _per_image(book.create_sheet("Per image"), result["per_image"], result)
    _run(book.create_sheet("Run"), result["run"])
    mark(book, result["conditions"]["images"])
    return save_workbook(book, path)
