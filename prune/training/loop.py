"""Train for many epochs: validate, keep the best, stop early, and survive a kill at any moment."""

import csv
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from tqdm import tqdm

from prune.data.dataset import checked
from prune.data.labels import ClassSet
from prune.errors import TrainingDiverged, UserError
from prune.evaluation.evaluate import Evaluation
from prune.files import write_text
from prune.metrics.confusion import blank
from prune.metrics.image import VALIDATION_TOLERANCE
from prune.models.checkpoint import not_finite, require_finite
from prune.models.torch_file import read_torch, write_torch
from prune.number_format import NumberFormat
from prune.training.schedule import Plateau, lr_factor
from prune.training.settings import TrainSettings
from prune.training.step import Stepper, make_optimizer, train_one_epoch

Row = dict[str, float | int | None]


@dataclass
class Progress:
    """How far a run is: all that must survive besides tensors."""

    plateau: Plateau
    epoch: int = 0
    best: float | None = None
    best_epoch: int = 0
    history: list[Row] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def waited(self) -> int:
        """Epochs since the best one."""
        return self.epoch - self.best_epoch


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

    ``miou_crack`` is the mean of mIoU and crack ltIoU@4: mIoU alone hardly notices a class of 0.1 % of the pixels. It
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


def csv_text(rows: list[Row]) -> str:
    """Rows as CSV with a header; None is empty."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return buffer.getvalue()


def stored_numbers(last: Path) -> tuple[NumberFormat, int] | None:
    """The number format and the CPU threads of the run whose state is in ``last``; None when none were stored."""
    record = read_torch(last).get("number_format")
    return (NumberFormat.recorded(record, last), int(record.get("threads", 0))) if record else None


class Run:
    """A training run: ``fit`` it, kill it, ``resume`` it.

    After every epoch ``folder/last.pth`` holds everything needed to go on and ``folder/history.csv`` the scores so
    far. Every random choice of an epoch is a function of (seed, epoch), so a resumed run repeats what an uninterrupted
    one would have done.

    Args:
        config: Settings.
        step: Forward and backward pass.
        loader: Training batches; its sampler has an ``epoch`` attribute.
        validate: Scores the current network on the validation split.
        classes: Names the columns of the history.
        folder: Where the run's files go.
    """

    def __init__(
        self,
        config: TrainSettings,
        step: Stepper,
        loader: DataLoader[Any],
        validate: Callable[[], Evaluation],
        classes: ClassSet,
        folder: Path,
    ) -> None:
        self.config, self.step, self.loader = config, step, loader
        self.validate, self.classes, self.folder = validate, classes, folder
        self.monitor = chosen_monitor(config.monitor, classes)
        self.optimizer = make_optimizer(step.model, config)
        self.scaler = torch.amp.GradScaler(step.device.type, enabled=step.numbers.autocast == torch.float16)
        self.progress = Progress(Plateau(config.lr, config.plateau_patience, config.plateau_factor, config.min_lr))
        self.on_row: Callable[[Row, float], None] = lambda row, images_per_second: None

    @property
    def last(self) -> Path:
        """The file that holds the state after the last complete epoch."""
        return self.folder / "last.pth"

    def resume(self) -> None:
        """Continue from ``last.pth``; the settings that shape the result must be those of the first start."""
        content = read_torch(self.last)
        stored, now = content["config"], self._fixed_settings()
        for key, value in now.items():
            if stored.get(key) != value:
                raise UserError(f"--resume: --{key} was {stored.get(key)!r} when {self.last} was made, found {value!r}")
        require_finite(content["model"], self.last)
        self.step.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        saved = content["progress"]
        self.progress = Progress(**{**saved, "plateau": Plateau(**saved["plateau"])})

    def _fixed_settings(self) -> dict[str, Any]:
        free = ("resume", "force", "workers", "cache", "threads", "device", "trust_pickle")
        settings = vars(self.config) | {"monitor": self.monitor, "warmup_epochs": self.config.warmup}
        return {key: value for key, value in settings.items() if key not in free}

    def _save(self) -> None:
        write_text(self.folder / "history.csv", csv_text(self.progress.history))
        progress = vars(self.progress) | {"plateau": vars(self.progress.plateau)}
        content = {
            "config": self._fixed_settings(),
            "number_format": self.step.numbers.record(),
            "progress": progress,
            "model": self.step.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        write_torch(content, self.last)

    def fit(self, on_best: Callable[[Progress], None]) -> Progress:
        """Train until the last epoch or until patience ends; ``on_best`` saves the network of a new best epoch.

        Raises:
            TrainingDiverged: when a loss or a weight is not finite; the best checkpoint and ``last.pth`` stay.
            KeyboardInterrupt: on Ctrl-C, with a message saying how to continue.
        """
        steps = len(self.loader)
        done = self.progress.epoch
        with tqdm(total=self.config.epochs * steps, initial=done * steps, unit="batch", smoothing=0.05) as bar:
            try:
                while self.progress.epoch < self.config.epochs and not self._out_of_patience():
                    self._epoch(bar, on_best)
            except KeyboardInterrupt:
                bar.close()
                raise KeyboardInterrupt(self._how_to_continue("interrupted")) from None
            except TrainingDiverged as error:
                bar.close()
                kept = (
                    f"after {done} complete epochs, whose best is kept"
                    if (done := self.progress.epoch)
                    else "nothing saved"
                )
                raise TrainingDiverged(f"epoch {done + 1}: {error.message}; stopped, {kept}") from None
        return self.progress

    def _out_of_patience(self) -> bool:
        return bool(self.config.patience) and self.progress.waited >= self.config.patience

    def _how_to_continue(self, what: str) -> str:
        if not self.progress.epoch:
            return f"{what} in the first epoch: nothing to keep yet"
        return f"{what} after {self.progress.epoch} complete epochs, kept in {self.last}: continue with --resume"

    def _epoch(self, bar: "tqdm[Any]", on_best: Callable[[Progress], None]) -> None:
        epoch, started = self.progress.epoch, time.perf_counter()
        torch.manual_seed(self.config.seed * 1_000_003 + epoch)
        self.loader.sampler.epoch = epoch  # type: ignore[attr-defined]
        self._set_lr(epoch, 0)

        def on_batch(number: int, loss: float) -> None:
            bar.update()
            bar.set_description(f"epoch {epoch + 1}/{self.config.epochs}")
            bar.set_postfix(loss=f"{loss:.3f}", refresh=False)
            self._set_lr(epoch, number + 1)

        lr = self.optimizer.param_groups[0]["lr"]
        loss = train_one_epoch(self.step, checked(self.loader), self.optimizer, self.scaler, self.config, on_batch)
        trained = time.perf_counter() - started
        row = history_row(epoch + 1, lr, loss, self._validated(), self.classes)
        self._finish_epoch(row, time.perf_counter() - started, on_best)
        images = len(self.loader) * self.config.batch_size / trained
        self.on_row(row, images)
        bar.write(describe_row(row, self.config.epochs, images))

    def _validated(self) -> Evaluation:
        """Scores of the network after an epoch, which counts for nothing when weights or loss are not finite."""
        name = not_finite(self.step.model.state_dict())
        if name is not None:
            raise TrainingDiverged(f"{name} holds NaN or infinity: try a smaller --lr or --amp off")
        result = self.validate()
        labeled = any(image.matrix.any() for image in result.images)
        if labeled and not math.isfinite(result.loss):
            raise TrainingDiverged(f"the validation loss became {result.loss}: try a smaller --lr or --amp off")
        return result

    def _finish_epoch(self, row: Row, seconds: float, on_best: Callable[[Progress], None]) -> None:
        progress = self.progress
        score = monitored(row, self.monitor)
        progress.epoch += 1
        progress.seconds += seconds
        progress.history.append(row)
        if row["val_loss"] is not None:
            progress.plateau.update(float(row["val_loss"]))
        if self._is_best(score, row):
            progress.best, progress.best_epoch = score, progress.epoch
            on_best(progress)
        self._save()

    def _is_best(self, score: float, row: Row) -> bool:
        """Whether an epoch beats the best so far; between equal scores (a class not found yet) the lower loss decides."""
        progress = self.progress
        if progress.best is None or score > progress.best:
            return True
        losses = row["val_loss"], progress.history[progress.best_epoch - 1]["val_loss"]
        return score == progress.best and losses[0] is not None and losses[1] is not None and losses[0] < losses[1]

    def _set_lr(self, epoch: int, number: int) -> None:
        steps, config = len(self.loader), self.config
        warmup = round(config.warmup * steps)
        step, total = epoch * steps + number, config.epochs * steps
        peak = self.progress.plateau.lr if config.scheduler == "plateau" else config.lr
        for group in self.optimizer.param_groups:
            group["lr"] = peak * lr_factor(config.scheduler, step, total, warmup, config.poly_power)


def describe_row(row: Row, epochs: int, images_per_second: float) -> str:
    """An epoch as one line on the screen."""
    shown = {"loss": "train_loss", "val loss": "val_loss", "mIoU": "val_miou", "crack IoU": "val_iou_Crack"}
    shown |= {"ltIoU@4": "val_crack_lt_iou_4"}
    parts = [f"{label} {value:.3f}" for label, key in shown.items() if (value := row.get(key)) is not None]
    return f"epoch {row['epoch']}/{epochs}  " + "  ".join(parts) + f"  {images_per_second:.1f} crops/s"
