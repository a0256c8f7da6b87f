"""What an evaluation says, as plain values: the one content of the workbook and of the JSON file beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.evaluation.settings import ScoringSettings
from prune.metrics.bootstrap import COVERAGE, DRAWS, Interval
from prune.metrics.calibration import KINDS, reliability
from prune.metrics.confusion import Scores, blank
from prune.metrics.crack import CrackSettings
from prune.metrics.crack_scores import nested
from prune.metrics.statistics import MEANS, Statistics
from prune.shapes import Many, Maybe, check_shape

FORMAT, VERSION = "prune-evaluation", 2
"""Name and version of the JSON file; another version is refused."""
SHAPE = {
    "summary": {
        "model": str,
        **dict.fromkeys(("parameters", "macs", "latency_threads"), Maybe(int)),
        **dict.fromkeys(("file_mib", "latency_ms"), Maybe(float)),
        **dict.fromkeys(("latency_input", "latency_device", "latency_started"), object),
    },
    "conditions": {
        "protocol": str,
        "images": str,
        "tolerances": Many(int),
        "f1_tolerances": Many(int),
        "boundary_px": float,
        "mm_per_pixel": str,
    },
    "confusion": {"classes": Many(str)},
    "statistics": {"images": Many(str), "matrix": list, "crack_id": Maybe(int), "crack": dict, "boundary": dict},
    "run": {"data": dict},
}
"""What a comparison needs of the JSON file."""


@dataclass(frozen=True)
class Scored:
    """One scored image besides its counts: size in px and cross entropy per labeled pixel (NaN = unknown)."""

    stem: str
    height: int
    width: int
    loss: float


@dataclass(frozen=True)
class Conditions:
    """Under what conditions a set was scored; results under different ones are not comparable.

    Args:
        settings: Protocol and tolerances.
        images: How images were scored: ``whole images``, or what was asked for instead.
        mm_per_pixel: Scale as given, empty = none.
        seed: Of the bootstrap.
    """

    settings: CrackSettings
    images: str = "whole images"
    mm_per_pixel: str = ""
    seed: int = 0

    def to_json(self) -> dict[str, Any]:
        """Plain values under the names of the flags."""
        settings = {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self.settings).items()}
        plain = {"images": self.images, "mm_per_pixel": self.mm_per_pixel, "seed": self.seed}
        return settings | plain | {"draws": DRAWS, "coverage": COVERAGE}


def _pair(found: Interval | None) -> list[float | None]:
    return [None, None] if found is None else [blank(found.low), blank(found.high)]


def _per_class(scores: Scores, found: Mapping[str, Interval], classes: ClassSet) -> list[dict[str, Any]]:
    rows = scores.per_class(classes.classes)
    for i, row in enumerate(rows):
        extra = {name: found.get(f"class {i} {name}") for name in ("boundary_f1", "boundary_iou")}
        row |= {name: None if value is None else blank(value.value) for name, value in extra.items()}
        row["intervals"] = {n: _pair(found.get(f"class {i} {n}")) for n in ("iou", "f1", "boundary_f1", "boundary_iou")}
    return rows


def _crack_block(found: Mapping[str, Interval], statistics: Statistics) -> dict[str, Any]:
    """The scores of the crack class, each with value, low and high; counts of images beside them."""
    own = {n: v.to_json() for n, v in found.items() if not n.startswith("class ") and n not in MEANS}
    free = statistics.crack["crack_free"]
    images = {
        "images": len(free),
        "crack_free_images": int(free.sum()),
        "alarms": int(statistics.crack["alarms"].sum()),
    }
    return nested(own) | {"counts": images}


def _image_row(image: Scored, matrix: Any, crack: Mapping[str, float], classes: ClassSet) -> dict[str, Any]:
    scores = Scores.of(matrix)
    row = {
        "image": image.stem,
        "width": image.width,
        "height": image.height,
        "pixel_accuracy": blank(scores.pixel_accuracy),
        "miou": blank(scores.miou),
        "loss": blank(image.loss),
    }
    # "iou" is taken: it holds the IoU of every class, the crack's among them.
    own = nested({name: blank(value) for name, value in crack.items() if name != "iou"})
    return row | own | {"iou": {name: blank(scores.iou[i]) for i, name in enumerate(classes.classes)}}


def evaluation_content(
    images: Sequence[Scored],
    statistics: Statistics,
    classes: ClassSet,
    conditions: Conditions,
    *,
    summary: Mapping[str, Any],
    run: Mapping[str, Any],
    loss: float = float("nan"),
) -> dict[str, Any]:
    """Everything the workbook and the JSON file say; None is blank.

    Args:
        images: The scored images, in the order of ``statistics``.
        statistics: Their counts.
        classes: Names and colors of the classes.
        conditions: Under which they were scored.
        summary: What was scored: model, cost (see ``prune.report.workbook``).
        run: Provenance.
        loss: Cross entropy per labeled pixel over the set, NaN = unknown.
    """
    found = statistics.intervals(conditions.seed)
    scores = Scores.of(statistics.matrix.sum(axis=0).astype("int64"))
    crack = statistics.crack_id is not None
    shown = {name: name for name in MEANS}
    shown |= {"crack_iou": "iou", "crack_lt_iou_4": "lt_iou@4", "crack_cl_dice": "cl_dice"} if crack else {}
    content: dict[str, Any] = {
        "format": FORMAT,
        "version": VERSION,
        "summary": dict(summary)
        | {"images": len(images), "crack_iou": None, "crack_lt_iou_4": None, "crack_cl_dice": None}
        | {key: blank(found[name].value) for key, name in shown.items() if name in found}
        | {"loss": blank(loss), "intervals": {k: _pair(found[n]) for k, n in shown.items() if n in found}},
        "conditions": conditions.to_json(),
        "per_class": _per_class(scores, found, classes),
        "confusion": {
            "classes": list(classes.classes),
            "counts": scores.matrix.tolist(),
            "row_normalized": scores.row_normalized(),
        },
        "crack": _crack_block(found, statistics) if crack else None,
        "per_image": [
            _image_row(image, matrix, row, classes)
            for image, matrix, row in zip(images, statistics.matrix, statistics.per_image(), strict=True)
        ],
        "statistics": statistics.to_json(),
        "run": dict(run),
    }
    pooled = statistics.pooled()
    kinds = [kind for kind in KINDS if f"calibration_{kind}_pixels" in pooled]
    return content | ({"calibration": {kind: reliability(pooled, kind) for kind in kinds}} if kinds else {})


def described(conditions: Mapping[str, Any]) -> str:
    """Under what conditions was scored, as one line for the screen."""
    scale = f", {conditions['mm_per_pixel']} mm per px" if conditions["mm_per_pixel"] else ""
    return f"{conditions['images']}, protocol {conditions['protocol']}{scale}"


def crack_settings(settings: ScoringSettings) -> CrackSettings:
    """What is counted."""
    return CrackSettings(settings.tolerances, settings.f1_tolerances, settings.boundary_px, settings.protocol)


def conditions(settings: ScoringSettings, images: str) -> Conditions:
    """Under what conditions is scored; ``images`` says what part of them."""
    return Conditions(crack_settings(settings), images, settings.mm_per_pixel or "", settings.seed)


def conditions_of(content: Mapping[str, Any]) -> CrackSettings:
    """The settings an evaluation was made with, from its stored content."""
    stored = content["conditions"]
    return CrackSettings(
        tuple(stored["tolerances"]), tuple(stored["f1_tolerances"]), stored["boundary_px"], stored["protocol"]
    )


def check_format(content: Any, file: str) -> None:
    """Refuse what is no evaluation of this version.

    Raises:
        UserError: naming the file, what was expected and what was found.
    """
    name = content.get("format") if isinstance(content, Mapping) else None
    if name != FORMAT and not (isinstance(content, Mapping) and {"summary", "per_class"} <= content.keys()):
        raise UserError(f"{file}: expected an evaluation written by test.py or score, found another JSON file")
    version = content.get("version", 1)
    if version != VERSION:
        raise UserError(f"{file}: expected format version {VERSION}, found {version}: evaluate the network again")
    check_shape(content, SHAPE, file)
