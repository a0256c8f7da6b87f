"""Tables for the terminal, for Markdown and for CSV; None is blank everywhere."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from prune.files import write_text

Row = Sequence[Any]


def _texts(rows: Sequence[Row]) -> list[list[str]]:
    return [["" if cell is None else str(cell) for cell in row] for row in rows]


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "").rstrip("%"))
    except ValueError:
        return False
    return True


def text_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """An aligned table for the terminal; columns of numbers are right-aligned."""
    texts = _texts(rows)
    widths = [max(map(len, column)) for column in zip(header, *texts, strict=True)]
    numeric = [all(_is_number(t) or not t for t in column) for column in zip(*texts, strict=True)] or [False] * len(header)

    def line(cells: Sequence[str]) -> str:
        padded = [c.rjust(w) if n else c.ljust(w) for c, w, n in zip(cells, widths, numeric, strict=True)]
        return "  ".join(padded).rstrip()

    return "\n".join([line(header), "  ".join("-" * w for w in widths), *(line(row) for row in texts)])


def markdown_table(header: Sequence[str], rows: Sequence[Row]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *_texts(rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def write_csv(header: Sequence[str], rows: Sequence[Row], path: Path) -> Path:
    """Write a CSV file with a header, atomically, and return ``path``."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerows([header, *_texts(rows)])
    return write_text(path, buffer.getvalue())
