"""An evaluation as the Python API returns it: tables on the screen and in a notebook, workbook and JSON on request."""

import html
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from prune.errors import UserError
from prune.evaluation.content import described
from prune.files import atomic_paths, check_writable, write_json
from prune.progress import say
from prune.report.pair import ID, pair_id
from prune.tables import data_frame, html_table, text_table

MEANS = {"miou": "mIoU", "miou_defects": "mIoU defects", "pixel_accuracy": "pixel accuracy", "loss": "loss"}
CLASS_HEADER = ("class", "IoU", "precision", "recall", "F1", "boundary F1", "support px", "95% interval of IoU")
CRACK_HEADER = ("crack score, pooled", "value", "95% interval")
CRACK_ROWS = (
    ("ltIoU", "lt_iou"),
    ("line F1", "line_f1"),
    ("tolerant F1", "f1_tolerant"),
    ("boundary F1", "boundary_f1"),
    ("clDice", "cl_dice"),
)
"""Crack scores on the screen, by their keys in the block ``crack``."""
KINDS = {".xlsx": "workbook", ".json": "json", ".png": "figure"}
"""What a written file is called on the screen."""


@dataclass
class EvaluationResult:
    """How well a network, or masks of any program, agree with labels.

    Args:
        content: Everything as plain values, what the JSON file holds (see ``prune.evaluation.content``). Scores are in
            0…1, None where there is nothing to score.
        files: What was written: workbook, JSON and, where confidences were counted, the reliability diagram.
    """

    content: dict[str, Any]
    files: list[Path] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, Any]:
        """Pooled scores and cost of the network."""
        return self.content["summary"]

    @property
    def crack(self) -> dict[str, Any] | None:
        """Scores of the crack class, each with ``value``, ``low`` and ``high``; None without such a class."""
        return self.content["crack"]

    @property
    def per_class(self) -> Any:
        """A row per class as a pandas ``DataFrame``, as a list of dicts where pandas is not installed.

        Columns: class, iou, precision, recall, f1, boundary_f1, boundary_iou, support (labeled pixels), and the bounds of
        the 95% intervals, such as iou_low and iou_high. A class neither labeled nor predicted has no score (NaN).
        """
        rows = []
        for row in self.content["per_class"]:
            bounds = {
                f"{name}_{end}": v
                for name, p in row["intervals"].items()
                for end, v in zip(("low", "high"), p, strict=True)
            }
            rows.append({key: value for key, value in row.items() if key != "intervals"} | bounds)
        return data_frame(rows)

    def to_excel(self, path: str | Path) -> Path:
        """Write the workbook and return its path.

        Raises:
            UserError: for another ending than .xlsx, when it cannot be written, and without openpyxl and pandas.
        """
        from prune.report.workbook import write_workbook

        return write_workbook(self.content, check_workbook("path", path))

    def to_json(self, path: str | Path) -> Path:
        """Write the content as JSON, which ``prune.compare`` reads, and return its path."""
        return write_json(Path(path), self.content)

    def save(self, workbook: str | Path) -> "EvaluationResult":
        """Write the workbook and the JSON beside it, both or none, and the reliability diagram where confidences were counted.

        Raises:
            UserError: as ``to_excel``.
        """
        start = time.perf_counter()
        self.content["run"][ID] = pair_id(self.content)
        file = check_workbook("path", workbook)
        self.files = [file, file.with_suffix(".json")]
        with atomic_paths(*self.files) as (book, json_file):
            self.to_excel(book)
            self.content["run"]["seconds"]["writing"] = round(time.perf_counter() - start, 3)
            self.to_json(json_file)
        if "calibration" in self.content:
            self.files += self._diagram(file.with_name(f"{file.stem}_reliability.png"))
        return self

    def _diagram(self, path: Path) -> list[Path]:
        try:
            from prune.report.reliability import reliability_chart
        except ModuleNotFoundError as error:
            say("note", f"no reliability diagram: {error.name} is not installed")
            return []
        return [reliability_chart(self.content["calibration"], path, title=f"Reliability of {self.summary['model']}")]

    def __str__(self) -> str:
        parts = [text_table(CLASS_HEADER, _class_rows(self.content)), _means(self.summary)]
        if self.crack:
            parts += ["", text_table(CRACK_HEADER, _crack_rows(self.crack), "lrl"), *_crack_lines(self.crack)]
        parts += ["", f"scored   {described(self.content['conditions'])}"]
        parts += _error_lines(self.content)
        return "\n".join([*parts, *(f"{KINDS[file.suffix]:9}{file}" for file in self.files)])

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        lines = [_means(self.summary), f"scored: {described(self.content['conditions'])}"]
        tables = html_table(CLASS_HEADER, _class_rows(self.content))
        if self.crack:
            tables += html_table(CRACK_HEADER, _crack_rows(self.crack))
            lines[1:1] = _crack_lines(self.crack)
        return tables + "".join(f"<p>{html.escape(line)}</p>" for line in lines)


def _error_lines(content: Mapping[str, Any]) -> list[str]:
    """How far single cracks were off, where that was measured."""
    if "crack_errors" not in content:
        return []
    every, length = content["crack_errors"]["all_widths"], content["crack_errors"]["length"]
    lengths = ""
    if length["labeled_px"]:
        lengths = f", total length {length['measured_px'] / length['labeled_px'] - 1:+.1%}"
    known = "unknown" if every["bias_px"] is None else f"{every['bias_px']:+.2f} ± {every['spread_px']:.2f} px"
    return [f"errors   mean width of {every['cracks']} cracks: {known}{lengths}"]


def check_workbook(argument: str, path: object) -> Path:
    """``path`` as the name of a workbook that can be written; call it before long work, not after.

    Raises:
        TypeError: for anything but str or Path.
        UserError: for another ending than .xlsx, a folder nothing can be written into, and without openpyxl and pandas.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{argument}: expected a path, found {path!r} ({type(path).__name__})")
    file = Path(path)
    if file.suffix != ".xlsx":
        raise UserError(f"--{argument}: expected a file name ending in .xlsx, found {str(file)!r}")
    if not can_write_workbooks():
        raise UserError(
            f"{file}: needs openpyxl and pandas, which are not installed: pip install prune-crackseg[score]"
        )
    check_writable(file.parent)
    return file


def can_write_workbooks() -> bool:
    """Whether workbooks can be written; an edge device may not need them."""
    try:
        import openpyxl  # noqa: F401
        import pandas  # noqa: F401
    except ImportError:
        return False
    return True


def _shown(value: float | None) -> str:
    return "" if value is None else f"{value:.4f}"


def _range(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{low:.4f} to {high:.4f}"


def _class_rows(content: dict[str, Any]) -> list[list[str]]:
    names = ("iou", "precision", "recall", "f1", "boundary_f1")
    return [
        [row["class"], *(_shown(row[n]) for n in names), f"{row['support']:,}", _range(*row["intervals"]["iou"])]
        for row in content["per_class"]
    ]


def _means(summary: dict[str, Any]) -> str:
    return "  ".join(f"{title} {summary[key]:.4f}" for key, title in MEANS.items() if summary[key] is not None)


def _crack_rows(crack: dict[str, Any]) -> list[list[str]]:
    rows = []
    for title, key in CRACK_ROWS:
        tolerances = crack[key] if "value" not in crack[key] else {"": crack[key]}
        for tolerance, score in tolerances.items():
            name = f"{title} @ {tolerance} px" if tolerance else title
            rows.append([name, _shown(score["value"]), _range(score["low"], score["high"])])
    return rows


def _crack_lines(crack: dict[str, Any]) -> list[str]:
    """Length, width and false alarms as sentences; what is unknown is left out."""
    lines = []
    for quantity, what in (("length", "length"), ("width", "mean width")):
        unit = "mm" if f"{quantity}_mm" in crack else "px"
        score = crack[f"{quantity}_{unit}"]
        if score["value"] is not None and score["label"]["value"] is not None:
            error = score["relative_error"]["value"]
            about = "" if error is None else f", mean error per image {100 * error:.0f}%"
            lines.append(
                f"{what:11} {score['value']:,.1f} {unit}, labeled {score['label']['value']:,.1f} {unit}{about}"
            )
    counts, alarm = crack["counts"], crack["false_alarm"]["px_per_megapixel_crack_free"]["value"]
    if counts["crack_free_images"]:
        where = f"{counts['alarms']} of {counts['crack_free_images']} crack-free images"
        lines.append(f"false alarm {where}" + ("" if alarm is None else f", {alarm:,.0f} px per megapixel of them"))
    return lines
