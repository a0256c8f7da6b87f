"""Compare evaluations of several networks on the same images: differences with paired intervals, and a verdict."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prune.errors import UserError, first_line
from prune.evaluation.content import check_format, conditions_of
from prune.evaluation.settings import VerdictLimits
from prune.metrics.bootstrap import Interval
from prune.metrics.crack import CrackSettings
from prune.metrics.statistics import Statistics

FORMAT, VERSION = "prune-comparison", 1
COSTS = (
    ("parameters", "parameters M", 1e6),
    ("macs", "MACs G", 1e9),
    ("file_mib", "MiB", 1.0),
    ("latency_ms", "latency ms", 1.0),
)
"""Key in the summary, title, unit the value is divided by."""
HEADLINES = ("miou", "iou", "lt_iou@4")
"""The scores of the charts."""
BASELINE, KEPT, LOST, MIOU_LOST, BOTH_LOST, UNKNOWN = (
    "baseline",
    "kept",
    "mIoU kept, cracks lost",
    "mIoU lost, cracks kept",
    "mIoU and cracks lost",
    "no crack to judge by",
)


@dataclass(frozen=True)
class Compared:
    """One network of a comparison.

    Args:
        name: The model's name.
        file: The evaluation it comes from.
        summary: Cost and provenance.
        scores: Score with interval, by name.
        differences: Score minus the baseline's with the paired interval; empty for the baseline.
        verdict: One of the words above.
        clear: Whether the paired intervals leave no doubt about the verdict; None where there is none.
    """

    name: str
    file: str
    summary: Mapping[str, Any]
    scores: Mapping[str, Interval]
    differences: Mapping[str, Interval]
    verdict: str
    clear: bool | None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        costs = {key: self.summary[key] for key, _, _ in COSTS}
        latency = {key: self.summary[key] for key in ("latency_input", "latency_device", "latency_threads")}
        return {
            "name": self.name,
            "file": self.file,
            **costs,
            **latency,
            "scores": {name: score.to_json() for name, score in self.scores.items()},
            "differences": {name: score.to_json() for name, score in self.differences.items()},
            "verdict": self.verdict,
            "clear": self.clear,
        }


@dataclass(frozen=True)
class Comparison:
    """Networks compared on the same images under the same conditions.

    Args:
        rows: The networks, the baseline first.
        titles: The scores that are shown: title by name.
        conditions: Under which all were scored.
        data: Which images: fingerprints and number.
        limits: Of the verdict.
        notes: What a reader has to know.
    """

    rows: Sequence[Compared]
    titles: Mapping[str, str]
    conditions: Mapping[str, Any]
    data: Mapping[str, Any]
    limits: VerdictLimits
    notes: Sequence[str]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "format": FORMAT,
            "version": VERSION,
            "baseline": self.rows[0].name,
            "limits": {"keep_miou": self.limits.keep_miou, "lose_crack": self.limits.lose_crack},
            "conditions": dict(self.conditions),
            "data": dict(self.data),
            "notes": list(self.notes),
            "rows": [row.to_json() for row in self.rows],
        }


def shown_scores(conditions: Mapping[str, Any]) -> dict[str, str]:
    """The scores of a comparison: title by name, in the order of the columns."""
    titles = {"miou": "mIoU", "miou_defects": "mIoU defects", "iou": "crack IoU"}
    titles |= {f"lt_iou@{t}": f"crack ltIoU@{t}" for t in conditions["tolerances"]}
    titles |= {f"f1_tolerant@{t}": f"crack F1@{t}" for t in conditions["f1_tolerances"]}
    titles |= {"boundary_f1": "crack boundary F1", "cl_dice": "crack clDice"}
    titles |= {"length_px.relative_error": "length error", "width_px.relative_error": "width error"}
    return titles | {"false_alarm": "false alarms", "ece": "crack calibration error"}


def verdict(differences: Mapping[str, Interval], limits: VerdictLimits) -> tuple[str, bool | None]:
    """What was kept and what was lost, and whether the paired intervals leave no doubt.

    Cracks are judged by ltIoU at 4 px, by the strict IoU where that tolerance was not scored. It is clear when neither
    limit lies inside its interval.
    """
    miou, crack = differences.get("miou"), differences.get("lt_iou@4", differences.get("iou"))
    if miou is None or crack is None or crack.value != crack.value or miou.value != miou.value:
        return UNKNOWN, None
    # Scores are quotients: a drop of exactly the limit must not be decided by the last bit.
    drops = [(-d.value, limit / 100 + 1e-12) for d, limit in ((miou, limits.keep_miou), (crack, limits.lose_crack))]
    miou_lost, crack_lost = (drop > limit for drop, limit in drops)
    word = {(False, False): KEPT, (False, True): LOST, (True, False): MIOU_LOST, (True, True): BOTH_LOST}
    inside = [
        not (-d.high > limit / 100 or -d.low <= limit / 100)
        for d, limit in ((miou, limits.keep_miou), (crack, limits.lose_crack))
    ]
    known = not any(d.low != d.low for d in (miou, crack))
    return word[miou_lost, crack_lost], not any(inside) if known else None


def _refuse_mixed(contents: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse evaluations that cannot be compared, naming the first that differs from the first file and in what."""
    files = list(contents)
    first = contents[files[0]]
    for file in files[1:]:
        other = contents[file]
        pairs: list[tuple[str, Any, Any]] = [
            (key, first["conditions"][key], other["conditions"][key])
            for key in ("protocol", "images", "tolerances", "f1_tolerances", "boundary_px", "mm_per_pixel")
        ]
        pairs.append(("classes", first["confusion"]["classes"], other["confusion"]["classes"]))
        for key in ("labels", "fingerprint"):
            values = first["run"]["data"].get(key), other["run"]["data"].get(key)
            if None not in values:
                pairs.append((f"data {key}", *values))
        pairs.append(("images", first["statistics"]["images"], other["statistics"]["images"]))
        for name, expected, found in pairs:
            if expected != found:
                raise UserError(f"{file}: expected the {name} of {files[0]}, {_short(expected)}, found {_short(found)}")


def _short(value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return (text if len(text) < 80 else f"{text[:77]}...") or "none"


def _notes(contents: Mapping[str, Mapping[str, Any]]) -> list[str]:
    summaries = [content["summary"] for content in contents.values()]
    measured = [s for s in summaries if s["latency_ms"] is not None]
    where = {(s["latency_input"], s["latency_device"], s["latency_threads"]) for s in measured}
    notes = []
    if len(where) > 1:
        notes.append("latencies were measured under different conditions: do not compare them")
    elif len({s["latency_started"] for s in measured}) > 1:
        notes.append("latencies come from different runs: pass all files to test.py at once to interleave them")
    if not any(sum(c["statistics"]["crack"].get("pixels_label", [])) for c in contents.values()):
        notes.append("no crack is labeled in this set")
    return notes


def _scored(
    content: Mapping[str, Any], settings: CrackSettings, file: str, seed: int
) -> tuple[Statistics, dict[str, Interval]]:
    """The counts of an evaluation and its scores; a ``UserError`` names the file when they are not whole."""
    try:
        found = Statistics.from_json(content["statistics"], settings)
        return found, found.intervals(seed)
    except (KeyError, ValueError, TypeError, IndexError, OverflowError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else first_line(error)
        raise UserError(f"{file}: expected the counts of an evaluation, found damaged ones ({what})") from error


def compare_contents(
    contents: Mapping[str, Mapping[str, Any]], baseline: str, limits: VerdictLimits, seed: int
) -> Comparison:
    """Compare evaluations by file name with the one called ``baseline``.

    Raises:
        UserError: for other files, other versions, and evaluations of other data or under other conditions.
    """
    for file, content in contents.items():
        check_format(content, file)
    ordered = {baseline: contents[baseline]} | dict(contents)
    _refuse_mixed(ordered)
    settings = conditions_of(contents[baseline])
    scored = {file: _scored(content, settings, file, seed) for file, content in ordered.items()}
    names = [content["summary"]["model"] for content in ordered.values()]
    rows = []
    for (file, content), name in zip(ordered.items(), names, strict=True):
        statistics, scores = scored[file]
        against = {} if file == baseline else statistics.differences(scored[baseline][0], seed)
        word, clear = (BASELINE, None) if file == baseline else verdict(against, limits)
        shown = name if names.count(name) == 1 else file
        rows.append(Compared(shown, file, content["summary"], scores, against, word, clear))
    titles = {
        n: t for n, t in shown_scores(contents[baseline]["conditions"]).items() if all(n in r.scores for r in rows)
    }
    first = contents[baseline]
    return Comparison(rows, titles, first["conditions"], first["run"]["data"], limits, _notes(contents))
