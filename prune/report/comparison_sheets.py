"""A comparison as a workbook and as pictures."""

from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.formatting.rule import CellIsRule
from openpyxl.styles import PatternFill
from openpyxl.utils import get_column_letter
from openpyxl.worksheet.worksheet import Worksheet

from prune.evaluation.comparison import COSTS, LOST, Compared, Comparison
from prune.metrics.confusion import blank
from prune.report.sheets import (
    BOLD,
    NOTE_FONT,
    SCORE,
    SIGNED,
    TWO_DECIMALS,
    finish,
    header,
    heat,
    mark,
    put,
    save_workbook,
)

RED, GREEN = (PatternFill("solid", fgColor=color, bgColor=color) for color in ("F4B6B6", "C6E5C3"))
GROWING_BAD = ("length_px.relative_error", "width_px.relative_error", "false_alarm", "ece")
"""Scores of which less is better."""


def _verdict_cells(sheet: Worksheet, number: int, row: Compared) -> None:
    put(sheet, number, 1, row.name).font = BOLD
    put(sheet, number, 2, row.verdict).font = BOLD
    put(sheet, number, 3, {True: "clear", False: "within the interval", None: None}[row.clear])


def _overview(sheet: Worksheet, comparison: Comparison) -> None:
    costs = [title for _, title, _ in COSTS]
    header(sheet, 1, ["Network", "Verdict", "Certainty", *costs, *comparison.titles.values()])
    for number, row in enumerate(comparison.rows, 2):
        _verdict_cells(sheet, number, row)
        for column, (key, _, unit) in enumerate(COSTS, 4):
            value = row.summary[key]
            put(sheet, number, column, None if value is None else value / unit, TWO_DECIMALS)
        for column, name in enumerate(comparison.titles, 4 + len(COSTS)):
            put(sheet, number, column, blank(row.scores[name].value), SCORE)
    last = len(comparison.rows) + 1
    for column, name in enumerate(comparison.titles, 4 + len(COSTS)):
        letter = get_column_letter(column)
        heat(sheet, f"{letter}2:{letter}{last}", color="E06666" if name in GROWING_BAD else "5B9BD5")
    _flag(sheet, last)
    finish(sheet, "B2")


def _flag(sheet: Worksheet, last: int) -> None:
    sheet.conditional_formatting.add(f"B2:B{last}", CellIsRule(operator="equal", formula=[f'"{LOST}"'], fill=RED))


def _differences(sheet: Worksheet, comparison: Comparison) -> None:
    header(sheet, 1, ["Network", "Verdict", "Certainty", *comparison.titles.values()])
    for number, row in enumerate(comparison.rows[1:], 2):
        _verdict_cells(sheet, number, row)
        for column, name in enumerate(comparison.titles, 4):
            score = row.differences[name]
            cell = put(sheet, number, column, blank(score.value), SIGNED)
            sign = -1 if name in GROWING_BAD else 1
            if sign * score.low > 0 and sign * score.high > 0:
                cell.fill = GREEN
            elif sign * score.low < 0 and sign * score.high < 0:
                cell.fill = RED
    last = max(2, len(comparison.rows))
    _flag(sheet, last)
    text = (
        f"Score minus that of {comparison.rows[0].name} on the same images. "
        "Red: worse, green: better, and the paired 95% interval (sheet Intervals) excludes 0."
    )
    put(sheet, last + 2, 1, text).font = NOTE_FONT
    finish(sheet, "B2")


def _intervals(sheet: Worksheet, comparison: Comparison) -> None:
    titles = ["Network", "Score", "Value", "95 % low", "95 % high", "Difference", "95 % low", "95 % high"]
    header(sheet, 1, titles)
    number = 1
    for row in comparison.rows:
        for name, title in comparison.titles.items():
            number += 1
            put(sheet, number, 1, row.name).font = BOLD
            put(sheet, number, 2, title)
            for column, scores, style in ((3, row.scores, SCORE), (6, row.differences, SIGNED)):
                if name in scores:
                    found = scores[name]
                    for offset, value in enumerate((found.value, found.low, found.high)):
                        put(sheet, number, column + offset, blank(value), style)
    sheet.auto_filter.ref = f"A1:H{number}"
    finish(sheet, "C2")


def _conditions(sheet: Worksheet, comparison: Comparison) -> None:
    header(sheet, 1, ["Key", "Value"])
    limits = comparison.limits
    facts: dict[str, Any] = {
        "baseline": comparison.rows[0].name,
        "mIoU kept": f"drops by at most {limits.keep_miou:g} points",
        "cracks lost": f"ltIoU@4 drops by more than {limits.lose_crack:g} points",
        "clear": "neither limit lies inside the paired interval of its difference",
        **comparison.conditions,
        **{f"data {key}": value for key, value in comparison.data.items()},
        **{f"file of {row.name}": row.file for row in comparison.rows},
        **{f"latency of {row.name}": _latency_conditions(row) for row in comparison.rows},
        **{f"note {number}": note for number, note in enumerate(comparison.notes, 1)},
    }
    for number, (key, value) in enumerate(facts.items(), 2):
        put(sheet, number, 1, key).font = BOLD
        put(sheet, number, 2, ", ".join(map(str, value)) if isinstance(value, list) else str(value))
    finish(sheet, "A2")


def _latency_conditions(row: Compared) -> str:
    if row.summary["latency_ms"] is None:
        return "not measured"
    summary = row.summary
    return f"{summary['latency_input']}, {summary['latency_device']}, {summary['latency_threads']} threads"


def write_comparison(comparison: Comparison, path: Path) -> Path:
    """Write the sheets *Comparison*, *Differences*, *Intervals* and *Conditions*, atomically, and return ``path``.

    Raises:
        UserError: when the file cannot be written.
    """
    book = Workbook()
    book.properties.title, book.properties.creator = "Comparison of networks", "prune"
    overview = book.active
    overview.title = "Comparison"
    _overview(overview, comparison)
    _differences(book.create_sheet("Differences"), comparison)
    _intervals(book.create_sheet("Intervals"), comparison)
    _conditions(book.create_sheet("Conditions"), comparison)
    mark(book, comparison.conditions["images"])
    return save_workbook(book, path)
