"""What ``test.py`` and ``score`` share: conditions, provenance, and writing the result."""

import datetime
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from prune.evaluation.content import Conditions, described
from prune.evaluation.settings import ScoringSettings
from prune.files import write_json
from prune.hardware import choose_device, machine_facts, versions
from prune.metrics.crack import CrackSettings
from prune.report.charts import reliability_chart
from prune.report.workbook import write_workbook
from prune.tables import text_table

MEANS = {"miou": "mIoU", "miou_defects": "mIoU defects", "pixel_accuracy": "pixel accuracy", "loss": "loss"}
CRACK_ROWS = (
    ("ltIoU", "lt_iou"),
    ("line F1", "line_f1"),
    ("tolerant F1", "f1_tolerant"),
    ("boundary F1", "boundary_f1"),
    ("clDice", "cl_dice"),
)
"""Crack scores on the screen, by their keys in the block ``crack``."""


@dataclass(frozen=True)
class TestResult:
    """The evaluation as plain values (see ``prune.evaluation.content``) and where it was written."""

    __test__ = False  # pytest would take the name for a test class

    content: dict[str, Any]
    files: tuple[Path, ...]

    @property
    def workbook(self) -> Path:
        """The Excel file."""
        return self.files[0]

    @property
    def json(self) -> Path:
        """The same content as JSON."""
        return self.files[1]

    def __str__(self) -> str:
        parts = [_class_table(self.content), _means(self.content["summary"])]
        if self.content["crack"]:
            parts += ["", _crack_table(self.content["crack"]), *_crack_lines(self.content["crack"])]
        parts += ["", f"scored   {described(self.content['conditions'])}"]
        kinds = {".xlsx": "workbook", ".json": "json", ".png": "figure"}
        return "\n".join([*parts, *(f"{kinds[file.suffix]:9}{file}" for file in self.files)])


def _shown(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _range(low: float | None, high: float | None, digits: int = 4) -> str:
    return "" if low is None or high is None else f"{low:.{digits}f} to {high:.{digits}f}"


def _class_table(content: dict[str, Any]) -> str:
    names = ("iou", "precision", "recall", "f1", "boundary_f1")
    rows = [
        [row["class"], *(_shown(row[n]) for n in names), f"{row['support']:,}", _range(*row["intervals"]["iou"])]
        for row in content["per_class"]
    ]
    header = ["class", "IoU", "precision", "recall", "F1", "boundary F1", "support px", "95 % interval of IoU"]
    return text_table(header, rows)


def _means(summary: dict[str, Any]) -> str:
    return "  ".join(f"{title} {summary[key]:.4f}" for key, title in MEANS.items() if summary[key] is not None)


def _crack_table(crack: dict[str, Any]) -> str:
    rows = []
    for title, key in CRACK_ROWS:
        tolerances = crack[key] if "value" not in crack[key] else {"": crack[key]}
        for tolerance, score in tolerances.items():
            name = f"{title} @ {tolerance} px" if tolerance else title
            rows.append([name, _shown(score["value"]), _range(score["low"], score["high"])])
    return text_table(["crack score, pooled", "value", "95 % interval"], rows, "lrl")


def _crack_lines(crack: dict[str, Any]) -> list[str]:
    """Length, width and false alarms as sentences; what cannot be told is left out."""
    lines = []
    for quantity, what in (("length", "length"), ("width", "mean width")):
        unit = "mm" if f"{quantity}_mm" in crack else "px"
        score = crack[f"{quantity}_{unit}"]
        if score["value"] is not None and score["label"]["value"] is not None:
            error = score["relative_error"]["value"]
            about = "" if error is None else f", mean error per image {100 * error:.0f} %"
            lines.append(
                f"{what:11} {score['value']:,.1f} {unit}, labeled {score['label']['value']:,.1f} {unit}{about}"
            )
    counts, alarm = crack["counts"], crack["false_alarm"]["px_per_megapixel_crack_free"]["value"]
    if counts["crack_free_images"]:
        where = f"{counts['alarms']} of {counts['crack_free_images']} crack-free images"
        lines.append(f"false alarm {where}, {alarm:,.0f} px per megapixel of them")
    return lines


def crack_settings(config: ScoringSettings) -> CrackSettings:
    """What is counted, from the flags."""
    return CrackSettings(config.tolerances, config.f1_tolerances, config.boundary_px, config.protocol)


def conditions(config: ScoringSettings, images: str) -> Conditions:
    """Under what conditions is scored; ``images`` says what part of them."""
    return Conditions(crack_settings(config), images, config.mm_per_pixel or "", config.seed)


def now() -> str:
    """The time in UTC, to the second, ISO 8601."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def run_facts(
    config: ScoringSettings, data: dict[str, Any], seconds: dict[str, float], started: str, device: str = "cpu"
) -> dict[str, Any]:
    """Provenance: when, with what arguments, on which data and machine, by which versions."""
    return {
        "started": started,
        "arguments": asdict(config),
        "versions": versions(),
        "data": data,
        "machine": machine_facts(choose_device(device)),
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
    }


def write_result(content: dict[str, Any], workbook: Path) -> TestResult:
    """Write the workbook, the JSON beside it and, where confidences were counted, the reliability diagram."""
    start = time.perf_counter()
    write_workbook(content, workbook)
    content["run"]["seconds"]["writing"] = round(time.perf_counter() - start, 3)
    files = [workbook, write_json(workbook.with_suffix(".json"), content)]
    if "calibration" in content:
        title = f"Reliability of {content['summary']['model']}"
        path = workbook.with_name(f"{workbook.stem}_reliability.png")
        files.append(reliability_chart(content["calibration"], path, title=title))
    return TestResult(content, tuple(files))
