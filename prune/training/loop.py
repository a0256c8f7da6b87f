"""Train for many epochs: validate, keep the best, stop early, and survive a kill at any moment."""

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader

from prune.data.dataset import checked
from prune.data.labels import ClassSet
from prune.errors import TrainingDiverged, UserError, first_line
from prune.evaluation.evaluate import Evaluation
from prune.models.checkpoint import not_finite, require_finite
from prune.models.torch_file import read_torch, write_torch
from prune.number_format import NumberFormat
from prune.progress import Bar, say
from prune.shapes import Many, Maybe, check_shape
from prune.training import ranks
from prune.training.history import Row, chosen_monitor, describe_row, history_row, monitored, write_history
from prune.training.parallel import share_buffers
from prune.training.schedule import Plateau, lr_factor
from prune.training.settings import MAY_DIFFER, TrainSettings
from prune.training.step import TrainingStep, make_optimizer, train_one_epoch

STATE = {
    "config": dict,
    "processes?": int,
    "progress": {"plateau": dict, "epoch": int, "best_epoch": int, "history": Many(dict), "seconds?": float},
    **dict.fromkeys(("model", "optimizer", "scaler"), dict),
}
"""What ``last.pth`` holds."""


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


@dataclass(frozen=True)
class RunFiles:
    """What a run writes.

    Args:
        checkpoint: Of the network of the best epoch; None = it is kept in memory only.
        folder: Of ``last.pth``, ``history.csv``, ``config.json`` and TensorBoard's events; None = they are not written, and the
            run cannot be resumed.
        record: What it was started with besides the settings, as ``last.pth`` and the lineage keep it.
    """

    checkpoint: Path | None = None
    folder: Path | None = None
    record: Mapping[str, Any] = field(default_factory=dict)

    @property
    def last(self) -> Path | None:
        """The file that holds the state after the last complete epoch."""
        return self.folder / "last.pth" if self.folder else None

    @property
    def resumable(self) -> bool:
        """Whether a complete epoch was kept."""
        return self.last is not None and self.last.is_file()


def stored_numbers(last: Path) -> tuple[NumberFormat, int] | None:
    """The number format and the CPU threads of the run whose state is in ``last``; None when none were stored."""
    content = read_torch(last)
    check_shape(content, {"number_format?": Maybe({"threads?": int})}, str(last))
    record = content.get("number_format")
    return (NumberFormat.recorded(record, last), record.get("threads", 0)) if record else None


class Run:
    """A training run: ``fit`` it, kill it, ``resume`` it.

    After every epoch ``last.pth`` holds everything needed to continue and ``history.csv`` the scores so far. Every random
    choice of an epoch is a function of (seed, epoch), so a resumed run gives the same result as an uninterrupted one.

    Args:
        config: Settings.
        step: Forward and backward pass.
        loader: Training batches; its sampler has an ``epoch`` attribute.
        validate: Scores the current network on the validation split.
        classes: Names the columns of the history.
        files: What is written.
    """

    def __init__(
        self,
        config: TrainSettings,
        step: TrainingStep,
        loader: DataLoader[Any],
        validate: Callable[[], Evaluation],
        classes: ClassSet,
        files: RunFiles,
    ) -> None:
        self.config, self.step, self.loader = config, step, loader
        self.validate, self.classes, self.files = validate, classes, files
        self.monitor = chosen_monitor(config.monitor, classes)
        self.optimizer = make_optimizer(step.model, config, step.projection)
        self.scaler = torch.amp.GradScaler(step.device.type, enabled=step.numbers.autocast == torch.float16)
        self.progress = Progress(Plateau(config.lr, config.plateau_patience, config.plateau_factor, config.min_lr))
        self.on_row: Callable[[Row, float], None] = lambda row, images_per_second: None

    def resume(self) -> None:
        """Continue from ``last.pth``; the settings that shape the result must be those of the first start."""
        last = self.files.last
        if last is None:
            raise UserError("--resume: expected the folder of the run to continue, found none")
        content = ranks.agreed(lambda: read_torch(last))
        check_shape(content, STATE, f"--resume: {last}")
        self._require_same(content["config"], last)
        before, now = int(content.get("processes", 1)), ranks.size()
        if before != now:
            said = f"{now} process{'es' if now > 1 else ''}, {before} before: the history differs in the last digits"
            say("WARNING", said)
        try:
            require_finite(content["model"], last)
            self.step.model.load_state_dict(content["model"])
            self.optimizer.load_state_dict(content["optimizer"])
            self.scaler.load_state_dict(content["scaler"])
            for name, part in self._beside().items():
                part.load_state_dict(content[name])
            saved = content["progress"]
            self.progress = Progress(**{**saved, "plateau": Plateau(**saved["plateau"])})
        except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:  # as PyTorch refuses each part
            raise UserError(
                f"--resume: {last}: expected the state of this run, found another ({first_line(error)})"
            ) from error

    def _require_same(self, stored: Mapping[str, Any], last: Path) -> None:
        """Raise ``UserError`` for a setting that is another than in ``last``; what an older version lacks had its default."""
        defaults = {item.name: item.default for item in dataclasses.fields(self.config)}
        for key, value in self._fixed_settings().items():
            before = stored.get(key, defaults.get(key))
            if before != value and not (key == "train_dir" and before is None):  # None was the default data
                raise UserError(f"--resume: --{key} was {before!r} when {last} was made, found {value!r}")

    def _fixed_settings(self) -> dict[str, Any]:
        settings = {**vars(self.config), **self.files.record}
        settings |= {"monitor": self.monitor, "warmup_epochs": self.config.warmup}
        return {key: value for key, value in settings.items() if key not in MAY_DIFFER}

    def _save(self) -> None:
        if self.files.folder is None or self.files.last is None or not ranks.is_first():
            return
        write_history(self.progress.history, self.files.folder / "history.csv")
        progress = vars(self.progress) | {"plateau": vars(self.progress.plateau)}
        content = {
            "config": self._fixed_settings(),
            "number_format": self.step.numbers.record(),
            "processes": ranks.size(),
            "progress": progress,
            "model": self.step.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
        }
        write_torch(content | {name: part.state_dict() for name, part in self._beside().items()}, self.files.last)

    def _beside(self) -> dict[str, Any]:
        """What this run keeps in ``last.pth`` beside what every run keeps."""
        parts = {"average": self.step.average, "projection": self.step.projection}
        return {name: part for name, part in parts.items() if part is not None}

    def fit(self, on_best: Callable[[Progress], None]) -> Progress:
        """Train until the last epoch or until patience ends; ``on_best`` keeps the network of a new best epoch.

        Raises:
            TrainingDiverged: when a loss or a weight is not finite; the best checkpoint and ``last.pth`` stay.
            KeyboardInterrupt: on Ctrl-C and SIGTERM, with a message saying how to continue.
        """
        steps = len(self.loader)
        done = self.progress.epoch
        with Bar(total=self.config.epochs * steps, initial=done * steps, unit="batch", smoothing=0.05) as bar:
            try:
                with ranks.signals_interrupt():
                    while self.progress.epoch < self.config.epochs and not self._out_of_patience():
                        self._epoch(bar, on_best)
            except KeyboardInterrupt:
                bar.close()
                raise KeyboardInterrupt(self._how_to_continue("interrupted")) from None
            except TrainingDiverged as error:
                bar.close()
                done = self.progress.epoch
                best = ", whose best is kept" if self.files.checkpoint else ""
                kept = f"after {done} complete epochs{best}" if done else "nothing saved"
                raise TrainingDiverged(f"epoch {done + 1}: {error.message}; stopped, {kept}") from None
        return self.progress

    def _out_of_patience(self) -> bool:
        return bool(self.config.patience) and self.progress.waited >= self.config.patience

    def _how_to_continue(self, what: str) -> str:
        if not self.progress.epoch:
            return f"{what} in the first epoch: nothing to keep yet"
        kept = f"kept in {self.files.last}: continue with --resume" if self.files.last else "not kept: no run folder"
        return f"{what} after {self.progress.epoch} complete epochs, {kept}"

    def _epoch(self, bar: Bar, on_best: Callable[[Progress], None]) -> None:
        epoch, started = self.progress.epoch, time.perf_counter()
        torch.manual_seed(
            self.config.seed * 1_000_003 + epoch + (ranks.rank() << 40)
        )  # dropout differs between processes
        self.loader.sampler.epoch = epoch  # type: ignore[attr-defined]
        self._set_lr(epoch, 0)

        def on_batch(number: int, loss: float) -> None:
            bar.update(1, f"epoch {epoch + 1}/{self.config.epochs}", loss=f"{loss:.3f}")
            self._set_lr(epoch, number + 1)

        lr = self.optimizer.param_groups[0]["lr"]
        loss = train_one_epoch(self.step, checked(self.loader), self.optimizer, self.scaler, self.config, on_batch)
        trained = time.perf_counter() - started
        with self.step.average.applied() if self.step.average else nullcontext():
            row = history_row(epoch + 1, lr, loss, self._validated(), self.classes)
            self._finish_epoch(row, time.perf_counter() - started, on_best)
        self._save()
        images = len(self.loader) * self.config.batch_size / trained
        self.on_row(row, images)
        bar.write(describe_row(row, self.config.epochs, images))

    def _validated(self) -> Evaluation:
        """Scores of the network after an epoch, which counts for nothing when weights or loss are not finite."""
        share_buffers(self.step.model)
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
        if row["val_loss"] is not None and self.config.scheduler == "plateau":
            progress.plateau.update(self.optimizer, float(row["val_loss"]))
        if self._is_best(score, row):
            progress.best, progress.best_epoch = score, progress.epoch
            on_best(progress)

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
