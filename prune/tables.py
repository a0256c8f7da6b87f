"""Tables for the terminal, for Markdown, for notebooks and for CSV, and data frames; None is blank everywhere."""

import csv
import html
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from prune.files import write_text

Row = Sequence[Any]
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "\n")
"""What makes a spreadsheet compute a cell of a CSV file."""


def _texts(rows: Sequence[Row]) -> list[list[str]]:
    return [["" if cell is None else str(cell) for cell in row] for row in rows]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").rstrip("% "))
    except ValueError:
        return False
    return True


def _alignment(columns: int, texts: Sequence[Sequence[str]], align: str | None) -> str:
    """``l`` or ``r`` per column; not given, columns of nothing but numbers and blanks go to the right."""
    if align is None:
        cells: Sequence[Sequence[str]] = list(zip(*texts, strict=True)) or [()] * columns
        align = "".join("r" if any(c) and all(_is_number(t) or not t for t in c) else "l" for c in cells)
    if len(align) != columns or set(align) - {"l", "r"}:
        raise ValueError(f"align must be one l or r for each of {columns} columns, found {align!r}")
    return align


def text_table(header: Sequence[str], rows: Sequence[Row], align: str | None = None) -> str:
    """An aligned table for the terminal.

    Args:
        header: Column titles.
        rows: Cells; None is blank.
        align: One letter per column, ``l`` or ``r``; by default columns of numbers are right-aligned.

    Raises:
        ValueError: when a row or ``align`` has not one entry per column.
    """
    texts = _texts(rows)
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    sides = _alignment(len(header), texts, align)

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if side == "r" else c.ljust(w) for c, w, side in zip(cells, widths, sides, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *(line(row) for row in texts)])


def markdown_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A Markdown table; None is blank, columns of numbers are right-aligned, bars in a cell are escaped."""
    texts = _texts(rows)
    marks = ["---:" if side == "r" else "---" for side in _alignment(len(header), texts, None)]
    lines = [list(header), marks, *texts]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def html_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """An HTML table for notebooks; None is blank, columns of numbers are right-aligned."""
    texts = _texts(rows)
    sides = [f' style="text-align:{"right" if s == "r" else "left"}"' for s in _alignment(len(header), texts, None)]

    def line(cells: Sequence[str], tag: str) -> str:
        inside = "".join(f"<{tag}{side}>{html.escape(c)}</{tag}>" for c, side in zip(cells, sides, strict=True))
        return f"<tr>{inside}</tr>"

    body = "".join(line(row, "td") for row in texts)
    return f"<table><thead>{line(header, 'th')}</thead><tbody>{body}</tbody></table>"


def data_frame(rows: Sequence[Mapping[str, Any]]) -> Any:
    """Rows of one kind as a pandas ``DataFrame``; as a list of dicts where pandas is not installed. None becomes NaN."""
    try:
        import pandas
    except ImportError:
        return [dict(row) for row in rows]
    frame = pandas.DataFrame(list(rows))
    blank = [name for name in frame if frame[name].dtype == object and not frame[name].map(_is_text).any()]
    return frame.astype(dict.fromkeys(blank, float)) if blank else frame


def _is_text(value: Any) -> bool:
    return value is not None and not isinstance(value, (int, float))


def harmless(text: str) -> str:
    """Text from outside, such as a file's name, that no spreadsheet takes for a formula: an apostrophe goes before it.

    A cell that begins with one of ``FORMULA_STARTS`` would be computed when the CSV file is opened.
    """
    return f"'{text}" if text.startswith(FORMULA_STARTS) else text


def write_csv(header: Sequence[str], rows: Sequence[Row], path: Path) -> Path:
    """Write a CSV file with a header, atomically, and return ``path``; None is an empty field.

    Raises:
        UserError: when the file cannot be written.
    """
    return write_text(path, _csv_text(list(header), _texts(rows)))


def _csv_text(header: list[str], texts: list[list[str]]) -> str:
    """CSV by pandas; the same text by the standard library on an edge device, which has none."""
    try:
        import pandas
    except ImportError:
        buffer = io.StringIO()
        csv.writer(buffer, lineterminator="\n").writerows([header, *texts])
        return buffer.getvalue()
    return str(pandas.DataFrame(texts, columns=header, dtype=object).to_csv(index=False, lineterminator="\n"))
