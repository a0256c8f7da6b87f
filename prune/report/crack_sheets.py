"""The workbook's sheets about cracks: line scores by tolerance, measurement, false alarms, calibration."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from openpyxl.chart import Reference, ScatterChart, Series
from openpyxl.worksheet.worksheet import Worksheet

from prune.metrics.calibration import KINDS
from prune.report.sheets import (
    BOLD,
    COUNT,
    NOTE_FONT,
    SCORE,
    TWO_DECIMALS,
    finish,
    frame_of,
    header,
    heat,
    print_setup,
    put,
    put_frame,
)

Row = Mapping[str, Any]
Column = tuple[str, Callable[[Row], Any]]
BOUNDS = ("value", "low", "high")
SERIES_COLORS = ("0072B2", "E69F00", "009E73", "CC79A7")
LINE_TITLES = {"lt_iou": "ltIoU", "line_precision": "Precision", "line_recall": "Recall", "line_f1": "F1"}
SINGLE_TITLES = {
    "iou": "pixel IoU",
    "precision": "pixel precision",
    "recall": "pixel recall",
    "f1": "pixel F1",
    "boundary_f1": "boundary F1",
    "boundary_iou": "boundary IoU",
    "cl_dice": "clDice",
    "cl_iou_4": "clIoU at 4 px (ltIoU at 4 px by definition)",
    "ece": "expected calibration error of the crack probability",
    "ece_top": "expected calibration error of the predicted class",
}


def _part(key: str, *parts: str) -> Callable[[Row], Any]:
    """Reads row[key][part]…; None where something on the way is missing."""

    def read(row: Row) -> Any:
        value: Any = row.get(key)
        for part in parts:
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    return read


def image_columns(content: Mapping[str, Any]) -> list[Column]:
    """Titles and readers of the crack scores on the sheet *Per image*; none without a crack class."""
    if not content["crack"]:
        return []
    conditions = content["conditions"]
    columns = [(f"Crack ltIoU @ {t} px", _part("lt_iou", str(t))) for t in conditions["tolerances"]]
    columns += [(f"Crack F1 @ {t} px", _part("f1_tolerant", str(t))) for t in conditions["f1_tolerances"]]
    return [*columns, ("Crack boundary F1", _part("boundary_f1")), ("Crack clDice", _part("cl_dice"))]


def _rows(sheet: Worksheet, top: int, rows: Sequence[Sequence[Any]], style: str = SCORE) -> int:
    """Write rows from ``top`` on, the first cell bold; returns the row behind them."""
    if not rows:
        return top
    frame = frame_of([str(column) for column in range(len(rows[0]))], rows)
    put_frame(sheet, top, frame, ["", *[style] * (len(rows[0]) - 1)])
    return top + len(rows)


def _note(sheet: Worksheet, row: int, text: str) -> None:
    put(sheet, row, 1, text).font = NOTE_FONT


def _bounds(title: str) -> list[str]:
    return [title, f"{title} 95 % low", f"{title} 95 % high"]


def line_scores(sheet: Worksheet, crack: Mapping[str, Any]) -> None:
    """Line scores by tolerance with a chart, tolerant pixel F1, and the scores that have no tolerance."""
    titles = [*_bounds("ltIoU"), "Precision", "Recall", *_bounds("F1"), "mean ltIoU per image", "mean F1 per image"]
    header(sheet, 1, ["Tolerance (px)", *titles])
    tolerances = list(crack["lt_iou"])
    for number, t in enumerate(tolerances, 2):
        put(sheet, number, 1, int(t), COUNT).font = BOLD
        values = [crack["lt_iou"][t][b] for b in BOUNDS]
        values += [crack[key][t]["value"] for key in ("line_precision", "line_recall")]
        values += [crack["line_f1"][t][b] for b in BOUNDS]
        values += [crack[key][t]["value"] for key in ("lt_iou_per_image", "line_f1_per_image")]
        for column, value in enumerate(values, 2):
            put(sheet, number, column, value, SCORE)
    last = len(tolerances) + 1
    heat(sheet, f"B2:K{last}")
    _note(
        sheet,
        last + 1,
        "Pooled over all images unless it says mean. Center lines: pixels of both masks thinned to lines.",
    )
    top = last + 3
    header(sheet, top, ["Pixel F1, tolerance (px)", *_bounds("F1"), "Precision", "Recall", "mean F1 per image"])
    keys = ("precision_tolerant", "recall_tolerant", "f1_tolerant_per_image")
    rows = [
        [int(t), *(score[b] for b in BOUNDS), *(crack[key][t]["value"] for key in keys)]
        for t, score in crack["f1_tolerant"].items()
    ]
    end = _rows(sheet, top + 1, rows)
    header(sheet, end + 1, ["Other crack scores", *_bounds("Score")])
    singles = [(title, *(crack[key][b] for b in BOUNDS)) for key, title in SINGLE_TITLES.items() if key in crack]
    bottom = _rows(sheet, end + 2, singles)
    heat(sheet, f"B{top + 1}:G{bottom - 1}")
    finish(sheet, "B2")
    sheet.column_dimensions["A"].width = 46
    print_setup(sheet)
    sheet.page_setup.fitToHeight = 1
    sheet.add_chart(_tolerance_chart(sheet, last), f"A{bottom + 3}")


def _tolerance_chart(sheet: Worksheet, last: int) -> ScatterChart:
    chart = ScatterChart()
    chart.style, chart.title = 13, "Line scores by tolerance"
    chart.x_axis.title, chart.y_axis.title = "tolerance (px)", "score (0 to 1)"
    chart.y_axis.scaling.min, chart.y_axis.scaling.max = 0, 1
    chart.x_axis.delete = chart.y_axis.delete = False
    chart.height, chart.width = 9, 20
    places = Reference(sheet, min_col=1, min_row=2, max_row=last)
    for column, color in zip((2, 5, 6, 7), SERIES_COLORS, strict=True):
        series = Series(Reference(sheet, min_col=column, min_row=1, max_row=last), places, title_from_data=True)
        series.marker.symbol, series.smooth = "circle", False
        line, marker = series.graphicalProperties.line, series.marker.graphicalProperties
        line.solidFill = marker.solidFill = marker.line.solidFill = color
        chart.series.append(series)
    return chart


def _unit(crack: Mapping[str, Any]) -> tuple[str, str]:
    """The unit of lengths and the key of areas: mm where a scale was given."""
    return ("mm", "area_mm2") if "length_mm" in crack else ("px", "area_px")


def _measured_columns(unit: str, area: str) -> list[tuple[str, str, Callable[[Row], Any]]]:
    """Title, number format and reader of the columns behind the image's name."""
    columns: list[tuple[str, str, Callable[[Row], Any]]] = []
    for title, key, style in (
        (f"Length ({unit})", f"length_{unit}", TWO_DECIMALS),
        (f"Mean width ({unit})", f"width_{unit}", TWO_DECIMALS),
    ):
        columns += [
            (f"{title} predicted", style, _part(key, "value")),
            (f"{title} labeled", style, _part(key, "label")),
            (f"{title} absolute error", style, _part(key, "absolute_error")),
            (f"{title} relative error", "0.0%", _part(key, "relative_error")),
        ]
    for title, key, style in (
        (f"95th percentile of width ({unit})", f"width_p95_{unit}", TWO_DECIMALS),
        (f"Largest width ({unit})", f"width_max_{unit}", TWO_DECIMALS),
        (f"Area ({'mm²' if unit == 'mm' else 'px'})", area, COUNT),
        ("Components", "components", COUNT),
        ("Orientation (°)", "orientation_deg", "0"),
    ):
        columns += [
            (f"{title} {name}", style, _part(key, part))
            for name, part in (("predicted", "value"), ("labeled", "label"))
        ]
    return columns


def measurement(sheet: Worksheet, content: Mapping[str, Any]) -> None:
    """Totals of the set with errors and intervals, then every image with a labeled or predicted crack."""
    crack = content["crack"]
    unit, area = _unit(crack)
    titles = ["Predicted", "Labeled", "Mean absolute error per image", *_bounds("Relative error"), "Bias"]
    header(sheet, 1, ["Whole set", *titles])
    quantities = (
        (f"Length ({unit})", f"length_{unit}"),
        (f"Mean width ({unit})", f"width_{unit}"),
        (f"Area ({'mm²' if unit == 'mm' else 'px'})", area),
        ("Components", "components"),
    )
    for number, (title, key) in enumerate(quantities, 2):
        score = crack[key]
        put(sheet, number, 1, title).font = BOLD
        values = [score["value"], score["label"]["value"], score["absolute_error"]["value"]]
        for column, value in enumerate(values, 2):
            put(sheet, number, column, value, TWO_DECIMALS)
        for column, value in enumerate([*(score["relative_error"][b] for b in BOUNDS), score["bias"]["value"]], 5):
            put(sheet, number, column, value, "0.0%")
    note = (
        "Relative error: errors of the images summed over the label's total (of widths: over images with a crack in both). "
        "Bias: the same with sign. Orientation: 0 = horizontal, 45 = rising to the right, 90 = vertical."
    )
    _note(sheet, 7, note)
    columns = _measured_columns(unit, area)
    header(sheet, 9, ["Image", *(title for title, _, _ in columns)])
    sheet.row_dimensions[1].height, sheet.row_dimensions[9].height = 48, 62
    shown = [row for row in content["per_image"] if row["area_px"]["value"] or row["area_px"]["label"]]
    measured = ([row["image"], *(read(row) for _, _, read in columns)] for row in shown)
    frame = frame_of(["Image", *(title for title, _, _ in columns)], measured)
    put_frame(sheet, 10, frame, ["", *(style for _, style, _ in columns)])
    if shown:
        for letter in "EI":
            heat(sheet, f"{letter}10:{letter}{len(shown) + 9}", color="E06666")
    finish(sheet, "B10", "9:9")


def false_alarms(sheet: Worksheet, content: Mapping[str, Any]) -> None:
    """How often and how much is seen where no crack is labeled, then every crack-free image."""
    crack, counts = content["crack"], content["crack"]["counts"]
    alarm = crack["false_alarm"]
    header(sheet, 1, ["False alarms", *_bounds("Value")])
    rows = [
        ("Share of crack-free images with any crack predicted", *(alarm[b] for b in BOUNDS)),
    ]
    number = _rows(sheet, 2, rows)
    scores = (
        ("False crack px per megapixel of crack-free images", alarm["px_per_megapixel_crack_free"]),
        ("False crack px per megapixel of all images", alarm["px_per_megapixel"]),
    )
    number = _rows(sheet, number, [(title, *(score[b] for b in BOUNDS)) for title, score in scores], TWO_DECIMALS)
    facts = (
        ("Images", counts["images"]),
        ("Crack-free images", counts["crack_free_images"]),
        ("of them with a crack predicted", counts["alarms"]),
    )
    number = _rows(sheet, number, facts, COUNT)
    _note(sheet, number, "Blank: there is no crack-free image.")
    alarm_titles = ["Crack-free image", "False crack px", "px per megapixel", "Components", "Length (px)"]
    header(sheet, number + 2, alarm_titles)
    counted, rows_by_image = content["statistics"]["crack"], {row["image"]: row for row in content["per_image"]}
    free = [i for i, flag in enumerate(counted["crack_free"]) if flag]
    images = content["statistics"]["images"]
    alarms = []
    for i in sorted(free, key=lambda i: -counted["false_px"][i]):
        row, pixels = rows_by_image[images[i]], counted["scored_px"][i]
        share = 1e6 * counted["false_px"][i] / pixels if pixels else None
        alarms.append([images[i], counted["false_px"][i], share, row["components"]["value"], row["length_px"]["value"]])
    put_frame(sheet, number + 3, frame_of(alarm_titles, alarms), ["", COUNT, COUNT, COUNT, TWO_DECIMALS])
    finish(sheet, "B2")
    sheet.column_dimensions["A"].width = 52
    print_setup(sheet)


def calibration(sheet: Worksheet, content: Mapping[str, Any]) -> None:
    """Reliability per bin of confidence, for the crack probability and for the predicted class."""
    number = 1
    for kind, bins in content["calibration"].items():
        header(sheet, number, [f"From ({KINDS[kind]})", "to", "Pixels", "Mean confidence", "Frequency"])
        keys = {"low": SCORE, "high": SCORE, "pixels": COUNT, "confidence": SCORE, "frequency": SCORE}
        frame = frame_of(list(keys), ([row[key] for key in keys] for row in bins))
        put_frame(sheet, number + 1, frame, list(keys.values()), bold=0)
        number += len(bins) + 2
    finish(sheet, "A2")
