"""``python -m prune compare``: evaluations of several networks in, one table with differences and a verdict out."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.cli.compare import CompareOptions
from prune.errors import UserError
from prune.evaluation.comparison import COSTS, Comparison, compare_contents
from prune.evaluation.content import described
from prune.files import METRICS, check_writable, write_json
from prune.metrics.bootstrap import Interval
from prune.report.comparison_charts import comparison_charts
from prune.report.comparison_sheets import write_comparison
from prune.tables import text_table


@dataclass(frozen=True)
class CompareResult:
    """The comparison and the files written: workbook, JSON, pictures."""

    comparison: Comparison
    files: list[Path]

    def __str__(self) -> str:
        titles = self.comparison.titles
        header = ["network", *(title for _, title, _ in COSTS), *titles.values(), "verdict"]
        rows, differences = [], []
        for row in self.comparison.rows:
            costs = [_cost(row.summary[key], unit) for key, _, unit in COSTS]
            doubt = "" if row.clear in (True, None) else " (uncertain)"
            rows.append([row.name, *costs, *(_value(row.scores[name]) for name in titles), row.verdict + doubt])
            if row.differences:
                differences.append([row.name, *(_difference(row.differences[name]) for name in _told(titles))])
        told = [titles[name] for name in _told(titles)]
        second = text_table([f"minus {rows[0][0]}, 95 % interval", *told], differences)
        notes = [f"scored   {described(self.comparison.conditions)}"]
        notes += [f"note     {note}" for note in self.comparison.notes]
        return "\n".join(["", text_table(header, rows), "", second, "", *notes, *map(str, self.files)])


def _told(titles: Any) -> list[str]:
    """The scores whose differences are told on the screen; the workbook has all of them."""
    return [name for name in ("miou", "iou", "lt_iou@4", "cl_dice") if name in titles]


def _cost(value: float | None, unit: float) -> str:
    return "" if value is None else f"{value / unit:,.2f}" if unit != 1 else f"{value:,.1f}"


def _value(score: Interval) -> str:
    return "" if score.value != score.value else f"{score.value:.3f}"


def _difference(score: Interval) -> str:
    if score.value != score.value:
        return ""
    interval = "" if score.low != score.low else f" [{score.low:+.3f}, {score.high:+.3f}]"
    return f"{score.value:+.3f}{interval}"


def find_evaluation(name: str) -> Path:
    """The JSON file of an evaluation: a path, or a bare name looked up in ``results/metrics``.

    Raises:
        UserError: when no such file exists.
    """
    candidates = [Path(name), METRICS / name, METRICS / f"{name}.json"]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise UserError(f"evaluation {name} not found (looked for {', '.join(map(str, candidates))})")
    return found.with_suffix(".json") if found.suffix == ".xlsx" else found


def _read(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{file}: expected the JSON of an evaluation, found: {error}") from error


def compare(config: CompareOptions) -> CompareResult:
    """Compare evaluations and write the workbook, its JSON and the pictures beside it.

    Raises:
        UserError: for missing files, other JSON files, and evaluations that cannot be compared.
    """
    files = [find_evaluation(name) for name in config.files]
    baseline = find_evaluation(config.baseline) if config.baseline else files[0]
    if baseline.resolve() not in [file.resolve() for file in files]:
        files.insert(0, baseline)
    baseline = next(file for file in files if file.resolve() == baseline.resolve())
    contents = {str(file): _read(file) for file in files}
    if len(contents) < 2:
        raise UserError(f"compare: expected different files, found {files[0]} twice")
    output = Path(config.output)
    check_writable(output.parent)
    comparison = compare_contents(contents, str(baseline), config, config.seed)
    written = [write_comparison(comparison, output), write_json(output.with_suffix(".json"), comparison.to_json())]
    return CompareResult(comparison, written + comparison_charts(comparison, output))


def run(config: CompareOptions) -> None:
    """Compare and print the table."""
    print(compare(config))
