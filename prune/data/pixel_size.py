"""How large a pixel is: one number for all photographs, or a table with one per photograph."""

import csv
import math
from collections.abc import Sequence
from pathlib import Path

from prune.errors import UserError

COLUMNS = ("image", "mm_per_pixel")


def _positive(text: str, where: str) -> float:
    try:
        value = float(text)
    except (TypeError, ValueError):
        raise UserError(f"{where}: expected a number of millimeters per pixel, found {text!r}") from None
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"{where}: expected millimeters per pixel above 0, found {text}")
    return value


def _read_table(file: Path) -> dict[str, float]:
    try:
        with file.open(newline="", encoding="utf-8-sig") as stream:
            reader = csv.DictReader(stream)
            if not set(COLUMNS) <= set(reader.fieldnames or ()):
                found = ",".join(reader.fieldnames or ()) or "nothing"
                raise UserError(f"{file}: expected the columns {','.join(COLUMNS)}, found {found}")
            rows = [(Path(row["image"] or "").stem, row["mm_per_pixel"]) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{file}: expected a readable CSV file, found: {error}") from error
    scales: dict[str, float] = {}
    for stem, text in rows:
        if stem in scales:
            raise UserError(f"{file}: two rows for the image {stem}")
        scales[stem] = _positive(text, f"{file}, image {stem}")
    return scales


def read_scales(given: str, stems: Sequence[str]) -> dict[str, float]:
    """Millimeters per pixel of every image by stem.

    Args:
        given: A number, or a CSV file with the columns ``image`` (stem or file name) and ``mm_per_pixel``.
        stems: The images that need one.

    Raises:
        UserError: for a scale of 0, below 0 or no number, an unreadable file, or images the file misses.
    """
    if not Path(given).is_file():
        if given.lower().endswith(".csv"):
            raise UserError(f"--mm_per_pixel: file {given} not found")
        return dict.fromkeys(stems, _positive(given, "--mm_per_pixel"))
    scales = _read_table(Path(given))
    missing = [stem for stem in stems if stem not in scales]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise UserError(f"{given}: no row for the image {missing[0]}{more}")
    return {stem: scales[stem] for stem in stems}
