"""Cells, headers, widths and colors: how every sheet of this project looks."""

import io
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas
from openpyxl import Workbook
from openpyxl.cell.cell import ILLEGAL_CHARACTERS_RE, Cell
from openpyxl.formatting.rule import ColorScaleRule
from openpyxl.styles import Alignment, Border, Font, PatternFill, Side
from openpyxl.utils import get_column_letter
from openpyxl.utils.cell import coordinate_to_tuple
from openpyxl.worksheet.worksheet import Worksheet

from prune.data.labels import S2DS
from prune.files import write_bytes

SCORE, COUNT, TWO_DECIMALS, TEXT = "0.0000", "#,##0", "#,##0.00", "@"
SIGNED = "+0.0000;-0.0000;0.0000"
PYTHON_FORMATS = {SCORE: ".4f", SIGNED: "+.4f", COUNT: ",.0f", TWO_DECIMALS: ",.2f", "0.0%": ".1%", "0": ".0f"}
BOLD = Font(name="Calibri", size=11, bold=True)
HEADER_FONT = Font(name="Calibri", size=11, bold=True, color="FFFFFF")
HEADER_FILL = PatternFill("solid", fgColor="1F3A5F")
SECTION_FONT = Font(name="Calibri", size=11, bold=True, color="1F3A5F")
SECTION_FILL = PatternFill("solid", fgColor="DCE6F1")
NOTE_FONT = Font(name="Calibri", size=11, italic=True, color="595959")
THIN = Border(*[Side(style="thin", color="BFBFBF")] * 4)
FRAME = Border(*[Side(style="medium", color="595959")] * 4)
"""Around a swatch: dark enough for a white one on white paper, and lighter than a black one."""
SWATCH_WIDTH = 7
NARROWEST, WIDEST = 10, 70
"""Column widths in characters."""
A4 = 9
"""The paper's number in the file format."""
PAGE_CHARACTERS = 140
"""Width in characters of 11 points that a page of A4 across holds at full size, between margins of 1.3 cm."""
SMALLEST_PRINT = 0.6
"""Sheets are shrunk to the width of the paper, but not below this: 11 points become 6.6. Wider ones take several pages."""


def storable(text: str) -> str:
    """The text without what a workbook cannot hold: control characters and undecodable bytes of file names."""
    return ILLEGAL_CHARACTERS_RE.sub("", text).encode("utf-8", "replace").decode("utf-8")


def put(sheet: Worksheet, row: int, column: int, value: Any, style: str = "") -> Cell:
    """Write a value; text stays text, whatever it looks like (a file may be called ``=1+1.png``)."""
    cell = sheet.cell(row, column, storable(value) if isinstance(value, str) else value)
    if isinstance(value, str):
        cell.data_type = "s"
    if style:
        cell.number_format = style
    return cell


def header(sheet: Worksheet, row: int, titles: Sequence[str]) -> None:
    """Write a row of column titles."""
    for column, title in enumerate(titles, 1):
        cell = put(sheet, row, column, title)
        cell.font, cell.fill, cell.border = HEADER_FONT, HEADER_FILL, THIN
        cell.alignment = Alignment(horizontal="center", vertical="center", wrap_text=True)
    sheet.row_dimensions[row].height = 32


def frame_of(titles: Sequence[str], rows: Iterable[Sequence[Any]]) -> pandas.DataFrame:
    """Rows of values as a data frame whose cells stay what they are: None blank, whole numbers whole."""
    return pandas.DataFrame(list(rows), columns=list(titles), dtype=object)


def put_frame(
    sheet: Worksheet, top: int, frame: pandas.DataFrame, styles: Sequence[str], *, left: int = 1, bold: int = 1
) -> None:
    """Write the rows of a data frame from row ``top`` on, without its titles.

    Args:
        sheet: Where to.
        top: Row of the first one, 1 = the first of the sheet.
        frame: The values.
        styles: Number format of each column, empty = none.
        left: Column of the first value, 1 = A.
        bold: How many of the first columns are bold.
    """
    for number, values in enumerate(frame.itertuples(index=False, name=None), top):
        for column, (value, style) in enumerate(zip(values, styles, strict=True)):
            cell = put(sheet, number, left + column, value, style)
            if column < bold:
                cell.font = BOLD


def _shown_width(cell: Cell) -> int:
    """Characters the cell shows; titles wrap, so there the longest word counts (and the filter's arrow)."""
    if cell.value is None or cell.font == NOTE_FONT:
        return 0
    if cell.fill == HEADER_FILL:
        return max(map(len, str(cell.value).split())) + 3
    style = PYTHON_FORMATS.get(cell.number_format)
    return len(format(cell.value, style) if style and not isinstance(cell.value, str) else str(cell.value))


def finish(sheet: Worksheet, frozen: str, repeated_rows: str = "1:1") -> None:
    """Readable widths, frozen headers, and pages that fit the paper's width and repeat the headers."""
    for column, cells in enumerate(sheet.columns, 1):
        widest = max(map(_shown_width, cells))
        sheet.column_dimensions[get_column_letter(column)].width = min(WIDEST, max(NARROWEST, widest + 2))
    sheet.freeze_panes = frozen
    print_setup(sheet, repeated_rows)


def save_workbook(book: Workbook, path: Path) -> Path:
    """Write a workbook atomically and return ``path``.

    It is made in memory: an archive that could not be written to a full disk tries again, and complains, when it is dropped.

    Raises:
        UserError: when the file cannot be written.
    """
    content = io.BytesIO()
    book.save(content)
    return write_bytes(path, content.getvalue())


def print_setup(sheet: Worksheet, repeated_rows: str = "1:1") -> None:
    """Pages across that are as wide as the paper and still readable, with headers and names repeated on each.

    Call it again when widths were changed. The columns left of the frozen place are repeated where a sheet takes several
    pages beside each other.

    Args:
        sheet: Its columns have their widths already.
        repeated_rows: The rows of headers.
    """
    widths = [sheet.column_dimensions[get_column_letter(n)].width for n in range(1, sheet.max_column + 1)]
    frozen = coordinate_to_tuple(sheet.freeze_panes)[1] - 1 if sheet.freeze_panes else 0
    room, names = PAGE_CHARACTERS / SMALLEST_PRINT, sum(widths[:frozen])
    pages = 1 if sum(widths) <= room else math.ceil((sum(widths) - names) / max(1.0, room - names))
    sheet.print_title_rows = repeated_rows
    if pages > 1 and frozen:
        sheet.print_title_cols = f"A:{get_column_letter(frozen)}"
    sheet.page_setup.orientation, sheet.page_setup.paperSize = "landscape", A4
    sheet.page_setup.fitToWidth, sheet.page_setup.fitToHeight = pages, 0
    sheet.sheet_properties.pageSetUpPr.fitToPage = True
    margins = sheet.page_margins
    margins.left = margins.right = 0.5
    margins.top, margins.bottom = 0.75, 0.75
    sheet.oddFooter.left.text, sheet.oddFooter.right.text = "&A", "&P / &N"


def mark(book: Workbook, images: str) -> None:
    """Say below every table and on every printed page what part of the images was scored, when it is not the whole."""
    if images == "whole images":
        return
    for sheet in book.worksheets:
        put(sheet, sheet.max_row + 2, 1, f"Scored on images {images}").font = NOTE_FONT
        sheet.oddHeader.left.text = f"Scored on images {images}"


def heat(sheet: Worksheet, cells: str, largest: float = 1, color: str = "5B9BD5") -> None:
    """Color values from white (0) to ``color``, blue by default (``largest``)."""
    ends = {"start_color": "FFFFFF", "end_color": color}
    rule = ColorScaleRule(start_type="num", start_value=0, end_type="num", end_value=largest, **ends)
    sheet.conditional_formatting.add(cells, rule)


def swatch(sheet: Worksheet, row: int, column: int, class_name: str) -> None:
    """Fill a cell with the color the class has in masks, inside a frame; an unknown class has none."""
    index = S2DS.index(class_name)
    cell = sheet.cell(row, column)
    if index is not None:
        cell.border = FRAME
        cell.fill = PatternFill("solid", fgColor="{:02X}{:02X}{:02X}".format(*S2DS.colors[index]))
