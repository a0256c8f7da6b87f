"""The part of a report that says what has changed since an earlier survey."""

import html
import math
from collections.abc import Callable, Sequence
from typing import Any

from prune.inspection.dates import PhotoGrowth, numbers
from prune.inspection.growth import SURE, Growth
from prune.inspection.report_style import paragraph, table
from prune.inspection.wording import UNKNOWN, Units, signed

SHOWN = 30
"""Cracks in the table of a photograph."""


def growth_part(grown: Sequence[PhotoGrowth], since: str, picture: Callable[[str], str]) -> str:
    """Growth of length and width per crack, with the error of the difference; empty without an earlier survey.

    Args:
        grown: Every photograph with the earlier one of its place.
        since: Date of the earlier survey.
        picture: Gives the data URL of a file in the survey's folder.
    """
    if not grown:
        return ""
    told = (
        f"Compared with the survey of {since}. Photographs of the same place were laid over each other by their features; "
        f"cracks that run beside each other are one. A difference counts as growth from {SURE:g} standard errors on; "
        "lengths and widths are at the scale of the earlier photograph."
    )
    lines = ["<h2>Change since the earlier survey</h2>", paragraph(told)]
    failed = [[one.photo.name, one.problem] for one in grown if one.problem]
    if failed:
        lines.append(table(["not compared", "cause"], failed))
    lines += [_photo(one, picture) for one in grown if not one.problem]
    return "".join(lines)


def _photo(one: PhotoGrowth, picture: Callable[[str], str]) -> str:
    """One photograph: what is new, and every crack."""
    assert one.earlier is not None
    units = one.units
    head = f"<h3>{html.escape(one.photo.name)}, before: {html.escape(one.earlier.name)}</h3>"
    shown = f'<figure><img src="{picture(one.picture)}" alt="What is new"></figure>' if one.picture else ""
    unit = units.unit
    titles = ["crack", "before", f"length before {unit}", f"after {unit}", f"change {unit}"]
    titles += [f"width before {unit}", f"after {unit}", f"change {unit}", "verdict"]
    rows = [_row(growth, units) for growth in one.growths[:SHOWN]]
    more = len(one.growths) - SHOWN
    rest = paragraph(f"{more} more are in growth.csv.", "soft") if more > 0 else ""
    return f'<section class="photo">{head}{shown}{table(titles, rows, range(2, 8))}{rest}</section>'


def _row(growth: Growth, units: Units) -> list[Any]:
    return [
        numbers(growth.after) or UNKNOWN,
        numbers(growth.before) or UNKNOWN,
        units.length(growth.length_before_px),
        units.length(growth.length_after_px),
        _change(growth.length_px, growth.length_error_px, units),
        units.width(growth.width_before_px),
        units.width(growth.width_after_px),
        _change(growth.width_px, growth.width_error_px, units),
        growth.verdict,
    ]


def _change(px: float, error_px: float | None, units: Units) -> str:
    """A difference with its standard error."""
    if math.isnan(px):
        return UNKNOWN
    spread = "" if error_px is None else f" ± {units.factor * error_px:.2g}"
    return f"{signed(units.factor * px)}{spread}"
