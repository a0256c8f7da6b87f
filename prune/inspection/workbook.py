"""The tables of a survey as a CSV file and as an Excel workbook."""

from pathlib import Path
from typing import Any

from openpyxl import Workbook
from openpyxl.utils import get_column_letter

from prune.inspection.findings import Findings
from prune.inspection.rows import Table, crack_table, photo_table, settings_table, total_table
from prune.report.sheets import COUNT, TEXT, TWO_DECIMALS, finish, frame_of, header, put_frame, save_workbook, storable
from prune.tables import harmless, write_csv

WHOLE = {"crack", "width_px", "height_px", "cracks", "area_px", "branches", "top", "left", "height", "width"}
WHOLE |= {"width_max_row", "width_max_column"}
"""Columns of whole numbers."""
NAMES = {"photograph", "id", "file", "scale_from", "remark", "setting"}
"""Columns of text."""
SMALL = {"mm_per_pixel": "0.0000", "latitude": "0.000000", "longitude": "0.000000", "probability": "0.00"}


def write_crack_csv(found: Findings, path: Path) -> Path:
    """Write a row per crack and return ``path``; names that look like formulas are made harmless."""
    titles, rows = crack_table(found)
    names = [titles.index(name) for name in ("photograph", "id")]
    for row in rows:
        for place in names:
            row[place] = harmless(row[place])
    return write_csv(titles, rows, path)


def write_survey_workbook(found: Findings, path: Path) -> Path:
    """Write the sheets *cracks*, *photographs*, *totals* and *settings*, atomically, and return ``path``.

    Raises:
        UserError: when the file cannot be written.
    """
    book = Workbook()
    book.properties.title = storable(f"Survey {found.about.title}")
    book.properties.creator = "prune"
    book.remove(book.active)
    tables = {"cracks": crack_table, "photographs": photo_table, "totals": total_table, "settings": settings_table}
    for name, table in tables.items():
        _sheet(book, name, table(found))
    return save_workbook(book, path)


def _sheet(book: Any, name: str, table: Table) -> None:
    titles, rows = table
    sheet = book.create_sheet(name)
    header(sheet, 1, titles)
    put_frame(sheet, 2, frame_of(titles, rows), [_style(title) for title in titles])
    if rows:
        sheet.auto_filter.ref = f"A1:{get_column_letter(len(titles))}{len(rows) + 1}"
    finish(sheet, "B2")


def _style(title: str) -> str:
    """Number format of a column."""
    if title in NAMES:
        return TEXT
    if title in ("value", "unit", "total"):
        return ""
    if title.endswith(" share"):
        return "0.00%"
    return SMALL.get(title, COUNT if title in WHOLE else TWO_DECIMALS)
