"""A comparison as the Python API returns it: tables on the screen and in a notebook, workbook, JSON and pictures on request."""

import html
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.evaluation.comparison import COSTS, Comparison
from prune.evaluation.content import described
from prune.files import atomic_paths, write_json
from prune.metrics.bootstrap import Interval
from prune.metrics.confusion import blank
from prune.progress import say
from prune.report.evaluation_result import check_workbook
from prune.tables import data_frame, html_table, text_table

COST_TITLES = ("params M", "MACs G", "MiB", "ms")
"""Titles of ``COSTS`` on the screen."""
TOLD = ("miou", "iou", "lt_iou@4", "cl_dice")
"""The scores on the screen, and of the first three the differences; the files have all of them."""
Rows = tuple[list[str], list[list[str]]]
"""Header and cells."""


@dataclass
class CompareResult:
    """What networks cost, how well they do on the same images, and what was kept of the baseline.

    Args:
        comparison: The networks, the baseline first.
        files: What was written: workbook, JSON, pictures.
    """

    comparison: Comparison
    files: list[Path] = field(default_factory=list)

    @property
    def content(self) -> dict[str, Any]:
        """Everything as plain values, what the JSON file holds."""
        return self.comparison.to_json()

    @property
    def table(self) -> Any:
        """A row per network as a pandas ``DataFrame``, as a list of dicts where pandas is not installed.

        Columns: name, verdict, clear (whether the paired intervals leave no doubt about it), parameters, macs, file_mib,
        latency_ms, and every score by its name in the JSON file with the bounds of its difference from the baseline:
        miou, miou_difference, miou_difference_low, miou_difference_high.
        """
        rows = []
        for row in self.comparison.rows:
            cells: dict[str, Any] = {"name": row.name, "verdict": row.verdict, "clear": row.clear}
            cells |= {key: row.summary[key] for key, _, _ in COSTS}
            for name in self.comparison.titles:
                found = row.differences.get(name, Interval(*[float("nan")] * 3))
                cells[name] = blank(row.scores[name].value)
                cells[f"{name}_difference"] = blank(found.value)
                cells |= {
                    f"{name}_difference_low": blank(found.low),
                    f"{name}_difference_high": blank(found.high),
                }
            rows.append(cells)
        return data_frame(rows)

    def to_excel(self, path: str | Path) -> Path:
        """Write the workbook and return its path.

        Raises:
            UserError: for another ending than .xlsx, when it cannot be written, and without openpyxl and pandas.
        """
        file = check_workbook("path", path)
        from prune.report.comparison_sheets import write_comparison

        return write_comparison(self.comparison, file)

    def to_json(self, path: str | Path) -> Path:
        """Write the content as JSON and return its path."""
        return write_json(Path(path), self.content)

    def save(self, workbook: str | Path) -> "CompareResult":
        """Write the workbook and the JSON beside it, both or none, and pictures.

        Raises:
            UserError: as ``to_excel``.
        """
        file = check_workbook("path", workbook)
        self.files = [file, file.with_suffix(".json")]
        with atomic_paths(*self.files) as (book, json_file):
            self.to_excel(book)
            self.to_json(json_file)
        try:
            from prune.report.comparison_charts import comparison_charts
        except ModuleNotFoundError as error:
            say("note", f"no pictures: {error.name} is not installed")
            return self
        self.files += comparison_charts(self.comparison, file)
        return self

    def __str__(self) -> str:
        lines = [f"verdict  {line}" for line in self._verdicts()]
        lines += [f"scored   {described(self.comparison.conditions)}"]
        lines += [f"note     {note}" for note in self.comparison.notes]
        (header, rows), (told, differences) = self._scores(), self._differences()
        tables = ["", text_table(header, rows), "", text_table(told, differences), ""]
        return "\n".join([*tables, *lines, *map(str, self.files)])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        lines = [*self._verdicts(), f"scored: {described(self.comparison.conditions)}", *self.comparison.notes]
        tables = html_table(*self._scores()) + html_table(*self._differences())
        return tables + "".join(f"<p>{html.escape(line)}</p>" for line in lines)

    def _scores(self) -> Rows:
        titles = self.comparison.titles
        names = [name for name in TOLD if name in titles]
        rows = []
        for row in self.comparison.rows:
            costs = [_cost(row.summary[key], unit) for key, _, unit in COSTS]
            rows.append([row.name, *costs, *(_value(row.scores[name]) for name in names)])
        return ["network", *COST_TITLES, *(titles[name] for name in names)], rows

    def _differences(self) -> Rows:
        titles = self.comparison.titles
        names = [name for name in TOLD[:3] if name in titles]
        header = [f"minus {self.comparison.rows[0].name} (95%)", *(titles[name] for name in names)]
        rows = [[row.name, *(_difference(row.differences[name]) for name in names)] for row in self.comparison.rows[1:]]
        return header, rows

    def _verdicts(self) -> list[str]:
        """The verdict on every other network, and whether the intervals leave doubt about it."""
        certain = {True: " (clear)", False: " (uncertain)", None: ""}
        return [f"{row.name}: {row.verdict}{certain[row.clear]}" for row in self.comparison.rows[1:]]


def _cost(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:,.2f}" if unit != 1 else f"{value:,.1f}"


def _value(score: Interval) -> str:
    return "" if score.value != score.value else f"{score.value:.3f}"


def _difference(score: Interval) -> str:
    if score.value != score.value:
        return ""
    interval = "" if score.low != score.low else f" [{score.low:+.3f}, {score.high:+.3f}]"
    return f"{score.value:+.3f}{interval}"
