"""Train a network on opened splits: everything between the splits and the network of the best epoch."""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray

from prune.data.dataset import SegmentationDataset, class_pixels, spread, whole_images
from prune.data.split import Split, usable_crop
from prune.errors import UserError
from prune.evaluation.evaluate import Evaluation, evaluate
from prune.files import check_writable, visible, write_json
from prune.hardware import device_name, set_threads
from prune.inference.torch import TorchPredictor
from prune.models.checkpoint import Network, new_stage, require_factory, save_checkpoint
from prune.models.freezing import freeze, unfreeze
from prune.models.torch_file import read_torch
from prune.number_format import NumberFormat, number_format
from prune.progress import say
from prune.training import ranks
from prune.training.averaging import AveragedWeights
from prune.training.distillation import Distillation, SharedFeatures, require_fitting_teacher
from prune.training.history import chosen_monitor
from prune.training.loop import Progress, Run, RunFiles, stored_numbers
from prune.training.losses import class_weights, make_loss
from prune.training.parallel import data_parallel
from prune.training.prepare import no_crack_warning, training_batches
from prune.training.settings import TrainSettings
from prune.training.step import TrainingStep
from prune.training.tensorboard import Tensorboard

if TYPE_CHECKING:  # it imports torch-pruning, which few trainings need
    from prune.training.group_lasso import GroupLasso

FILES_OF_A_RUN = ("last.pth", "history.csv", "curves.png", "config.json", "events.out.tfevents.*")


@dataclass(frozen=True)
class Material:
    """The inputs of a training.

    Args:
        network: Learns; it is changed.
        train: Images it learns from, labels in its classes.
        val: Images the best epoch is chosen on.
        fine_tuned: Whether it was trained before, so that this is a stage of its own in the lineage.
        teacher: Network to distill from; it stays as it is, but for the device it lies on.
    """

    network: Network
    train: Split
    val: Split
    fine_tuned: bool = False
    teacher: Network | None = None


@dataclass(frozen=True)
class Trained:
    """Where a training ended; its network has the weights of the best epoch.

    Args:
        progress: History and best epoch.
        monitor: The score that chose it.
        warning: What is wrong with it, empty = nothing.
    """

    progress: Progress
    monitor: str
    warning: str = ""


def require_unused(files: RunFiles, resume: bool, force: bool) -> None:
    """Refuse to replace what an earlier training left under these names, unless told to continue or to replace it.

    A run that was stopped before its first epoch was complete left nothing worth keeping.

    Raises:
        UserError: naming the file that is there.
    """
    known = [file for file in (files.checkpoint, files.last) if file is not None]
    found = next((file for file in known if file.exists()), None)
    if found is None or force or (resume and (files.resumable or _of_first_epoch(files))):
        return
    if resume:
        raise UserError(
            f"--resume: {found} exists and {files.last} does not: choose another NAME or replace it with --force"
        )
    raise UserError(f"{found} exists: choose another NAME, continue that run with --resume, or replace it with --force")


def _of_first_epoch(files: RunFiles) -> bool:
    """Whether the checkpoint is of the first epoch of the run in the folder, which was stopped before it kept its state."""
    if files.checkpoint is None or files.folder is None:
        return False
    try:
        started = json.loads((files.folder / "config.json").read_text(encoding="utf-8"))
        stage = read_torch(files.checkpoint)["lineage"][-1]
        settings = json.loads(json.dumps(stage["settings"], default=str))
        return bool(stage["scores"]["epochs"] == 1 and settings == started)
    except (OSError, ValueError, LookupError, TypeError, UserError):
        return False


def run_numbers(settings: TrainSettings, files: RunFiles, resume: bool) -> NumberFormat:
    """What the run computes in: what was stored when it was started, else what is asked for or measured now.

    A run that is resumed also gets the threads it had, as far as there are cores, unless ``settings`` say otherwise; other
    threads are warned of, because sums of float32 numbers depend on them in the last digits.
    """
    device = ranks.own_device(settings.device)
    stored = ranks.agreed(lambda: stored_numbers(files.last) if resume and files.last and files.resumable else None)
    if stored is None:
        numbers = ranks.agreed(lambda: number_format(settings.amp, settings.channels_last, device))
        say("numbers", numbers)
        return numbers
    numbers, threads = stored
    if not settings.threads:
        set_threads(min(threads, ranks.share_of_threads() or os.cpu_count() or 1))
    say("numbers", f"{numbers}; repeated from {files.last}")
    if threads and torch.get_num_threads() != threads:
        say(
            "WARNING",
            f"{torch.get_num_threads()} CPU threads, {threads} before: the history differs in the last digits",
        )
    return numbers


def train_network(
    material: Material, settings: TrainSettings, files: RunFiles, numbers: NumberFormat, resume: bool = False
) -> Trained:
    """Train or fine-tune ``material.network`` and leave it on the CPU with the weights and the lineage of the best epoch.

    A checkpoint of that name is replaced when the first epoch is complete, not before.

    Args:
        material: Network and images.
        settings: How to train.
        files: What to write.
        numbers: What to compute in, see ``run_numbers``.
        resume: Continue where the run in ``files.folder`` stopped, if a complete epoch was kept.

    Raises:
        UserError: for settings that do not fit the network or the classes, and for a run of other settings.
        TrainingDiverged: when a loss or a weight stops being finite.
    """
    for folder in (files.folder, files.checkpoint and files.checkpoint.parent):
        if folder is not None:
            ranks.agreed(partial(check_writable, folder))
    if files.checkpoint is not None:
        require_factory(material.network)
    labeled = ranks.agreed(lambda: class_pixels(SegmentationDataset(material.val)))
    best = _Best(material, settings, files, numbers, labeled)
    run = _run(material, settings, files, numbers)
    _resume_or_clear(run, resume)
    if files.folder is not None and ranks.is_first():
        write_json(files.folder / "config.json", best.record)
        run.on_row = Tensorboard(files.folder)
    step = run.step
    with data_parallel(step.model, step.device, settings.sync_batchnorm) as step.forward:
        progress = run.fit(best.keep)
    step.forward = None
    best.restore()
    warning = no_crack_warning(progress.history[progress.best_epoch - 1], material.network.classes, labeled)
    return Trained(progress, run.monitor, warning)


def _run(material: Material, settings: TrainSettings, files: RunFiles, numbers: NumberFormat) -> Run:
    """The run, ready to start: batches, loss, step and validation."""
    network, device = material.network, ranks.own_device(settings.device)
    chosen_monitor(settings.monitor, network.classes)
    pixels = ranks.agreed(lambda: class_pixels(SegmentationDataset(material.train)))
    if not pixels.any():
        raise UserError(f"{material.train.folder}: expected labeled pixels to train on, found only ignored ones")
    weights = class_weights(settings.class_weights, pixels, network.classes)
    crop = usable_crop(material.train, settings.crop_size)
    loader = training_batches(settings, material.train, crop, network.preprocessing)
    val = spread(material.val, settings.val_images)
    own = replace(val, pairs=val.pairs[ranks.rank() :: ranks.size()])
    val_dataset = SegmentationDataset(own, cache=settings.cache)
    if settings.keep_feature_extract or (material.fine_tuned and not settings.train_pruned_fully):
        _freeze_backbone(network)
    predictor = TorchPredictor(network, device, numbers.autocast, numbers.channels_last)
    loss = make_loss(settings.loss, None if weights is None else weights.to(device), settings.focal_gamma)
    distillation = _distillation(material, settings, device, numbers)
    step = TrainingStep(network.model, loss, device, numbers, settings.aux_weight, distillation)
    step.sparsity = _sparsity(network, settings.sparsity) if settings.sparsity else None
    step.average = AveragedWeights(network.model, settings.ema) if settings.ema else None
    where = f"{device_name(device)}, {torch.get_num_threads()} threads"
    several = f" in each of {ranks.size()} processes" if ranks.size() > 1 else ""
    say("device", f"{where}, crops of {crop} px, batches of {loader.batch_size}{several}")

    def validate() -> Evaluation:
        images = whole_images(val_dataset, min(1, settings.workers))
        return _of_all(evaluate(predictor, images, len(val_dataset), "validating"))

    return Run(settings, step, loader, validate, network.classes, files)


def _of_all(own: Evaluation) -> Evaluation:
    """What the processes found on their images, in the order of the split; every process gets it."""
    parts = ranks.gathered(own.images)
    number = sum(len(part) for part in parts)
    return Evaluation([parts[i % len(parts)][i // len(parts)] for i in range(number)], own.seconds)


def _freeze_backbone(network: Network) -> None:
    backbone = getattr(network.model, "backbone", None)
    if not isinstance(backbone, torch.nn.Module):
        raise UserError(
            f"--keep_feature_extract: expected a network with a backbone, found none in {network.architecture}"
        )
    freeze(backbone)
    say("backbone", "frozen, batch norm included")


def _distillation(
    material: Material, settings: TrainSettings, device: torch.device, numbers: NumberFormat
) -> Distillation | None:
    if material.teacher is None:
        return None
    teacher = material.teacher
    require_fitting_teacher(teacher, material.network)
    told = f"{settings.distill_loss} weight {settings.distill_weight:g}"
    model = teacher.model.to(device).to(memory_format=numbers.memory_format)  # type: ignore[call-overload]
    features = None
    if settings.distill_features:
        features = SharedFeatures(material.network.model, model, settings.distill_features, settings.seed)
        told += f", features weight {settings.distill_features:g}"
    say("teacher", f"{teacher.file or teacher.architecture}, {told}")
    return Distillation(model, settings.distill_weight, settings.distill_temperature, settings.distill_loss, features)


def _sparsity(network: Network, weight: float) -> "GroupLasso":
    from prune.training.group_lasso import GroupLasso

    found = GroupLasso(network.model, weight)
    say(
        "sparsity",
        f"group lasso on {sum(map(len, found.root_sizes))} channels of {len(found.names)} groups, weight {weight:g}",
    )
    return found


def _resume_or_clear(run: Run, resume: bool) -> None:
    """Continue the run where it stopped, or remove what an earlier run left in its folder."""
    files = run.files
    if resume and ranks.agreed(lambda: files.resumable):
        run.resume()
        say("resumed", f"after epoch {run.progress.epoch} of {files.last}")
        if run.progress.best_epoch and not ranks.agreed(lambda: files.checkpoint and files.checkpoint.exists()):
            raise UserError(f"--resume: {files.checkpoint}, the best epoch so far, is gone: start over with --force")
        return
    if resume:
        say("resumed", f"from the start: {files.last} does not exist yet")
    for name in FILES_OF_A_RUN if files.folder and ranks.is_first() else ():
        for file in visible(Path(files.folder or ""), name):
            file.unlink()


@dataclass
class _Best:
    """The network of the best epoch: in a checkpoint with its lineage, or in memory."""

    material: Material
    settings: TrainSettings
    files: RunFiles
    numbers: NumberFormat
    labeled: NDArray[np.int64]
    state: dict[str, torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.earlier = list(self.material.network.lineage)

    @property
    def record(self) -> Mapping[str, Any]:
        """The settings as plain values, with what the run computes in."""
        return {**asdict(self.settings), **self.files.record, "number_format": self.numbers.record()}

    def keep(self, progress: Progress) -> None:
        """Take note of the last epoch as the best one."""
        row, network = progress.history[-1], self.material.network
        scores = {"epochs": progress.epoch, "miou": row["val_miou"], "crack_iou": row.get("val_iou_Crack")}
        scores |= {"crack_lt_iou_4": row.get("val_crack_lt_iou_4")}
        blind = no_crack_warning(row, network.classes, self.labeled)
        warning = {"warning": "finds no crack"} if blind else {}
        stage = "fine-tune" if self.material.fine_tuned else "train"
        network.lineage = [*self.earlier, new_stage(stage, self.record, scores | warning)]
        if self.files.checkpoint is not None:
            if ranks.is_first():
                save_checkpoint(network, self.files.checkpoint)
        else:
            self.state = {name: value.detach().cpu().clone() for name, value in network.model.state_dict().items()}

    def restore(self) -> None:
        """Give the network the weights and the lineage of the best epoch."""
        network = self.material.network
        backbone = getattr(network.model, "backbone", None)
        if isinstance(backbone, torch.nn.Module):
            unfreeze(backbone)
        network.model.cpu()
        checkpoint = self.files.checkpoint
        if checkpoint is not None:
            content = ranks.agreed(lambda: read_torch(checkpoint))
            self.state, network.lineage = content["state_dict"], content["lineage"]
        network.model.load_state_dict(self.state)
        network.file = self.files.checkpoint
        network.model.eval()
