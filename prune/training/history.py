"""The rows of ``history.csv``: what an epoch scored, which of the scores chooses the best one, and how it is shown."""

import math
from pathlib import Path

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.evaluation.evaluate import Evaluation
from prune.metrics.confusion import blank
from prune.metrics.image import VALIDATION_TOLERANCE
from prune.tables import write_csv

Row = dict[str, float | int | None]
"""Column names and values, None = absent."""


def history_row(epoch: int, lr: float, train_loss: float, result: Evaluation, classes: ClassSet) -> Row:
    """One line of ``history.csv``: epoch, learning rate, losses and validation scores (0…1, None = absent class)."""
    scores = result.scores
    row: Row = {"epoch": epoch, "lr": lr, "train_loss": train_loss, "val_loss": blank(result.loss)}
    row |= {f"val_{name}": blank(getattr(scores, name)) for name in ("miou", "miou_defects", "pixel_accuracy")}
    if classes.index("crack") is not None:
        row["val_crack_lt_iou_4"] = blank(result.lt_iou(VALIDATION_TOLERANCE))
    return row | {f"val_iou_{name}": blank(scores.iou[i]) for i, name in enumerate(classes.classes)}


def chosen_monitor(monitor: str, classes: ClassSet) -> str:
    """The score ``--monitor`` means for these classes: ``auto`` is ``miou_crack`` where there is a crack, else ``miou``.

    Raises:
        UserError: when a crack score is asked for and no class is called crack.
    """
    crack = classes.index("crack") is not None
    if monitor == "auto":
        return "miou_crack" if crack else "miou"
    if "crack" in monitor and not crack:
        raise UserError(f"--monitor {monitor}: expected a class crack, found {', '.join(classes.classes)}")
    return monitor


def monitored(row: Row, monitor: str) -> float:
    """The score that chooses the best epoch, larger = better; an absent one is minus infinity.

    ``miou_crack`` is the mean of mIoU and crack ltIoU@4: mIoU alone hardly notices a class of 0.1% of the pixels. It
    is the mIoU where the ltIoU is absent, because no crack is labeled or predicted. It is computed from the two columns,
    so that the history keeps those it had.
    """
    if monitor == "miou_crack":
        parts = [row.get("val_miou"), row.get("val_crack_lt_iou_4")]
        known = [float(part) for part in parts if part is not None]
        return -math.inf if parts[0] is None else sum(known) / len(known)
    key = {"crack_iou": "val_iou_Crack"}.get(monitor, f"val_{monitor}")
    value = row.get(key)
    if value is None:
        return -math.inf
    return -float(value) if monitor == "loss" else float(value)


def write_history(rows: list[Row], path: Path) -> Path:
    """Write ``history.csv``, a line per epoch; what is absent is empty."""
    header = list(rows[0]) if rows else []
    return write_csv(header, [[row[name] for name in header] for row in rows], path)


def describe_row(row: Row, epochs: int, images_per_second: float) -> str:
    """An epoch as one line on the screen; the losses differ: that of training is ``--loss``, validation takes cross entropy."""
    shown = {"training loss": "train_loss", "validation CE": "val_loss", "mIoU": "val_miou"}
    shown |= {"crack IoU": "val_iou_Crack", "ltIoU@4": "val_crack_lt_iou_4"}
    parts = [f"{label} {value:.3f}" for label, key in shown.items() if (value := row.get(key)) is not None]
    return f"epoch {row['epoch']}/{epochs}  " + "  ".join(parts) + f"  {images_per_second:.1f} crops/s"
