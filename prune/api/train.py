"""``train.py``: a split folder in, a checkpoint out."""

import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader

from prune.api.defaults import open_split
from prune.cli.train import TrainOptions
from prune.data.dataset import SegmentationDataset, class_pixels, spread, training_loader, whole_images
from prune.data.find_split import Split, default_data, hold_out, usable_crop
from prune.data.labels import ClassSet
from prune.data.mask_files import classes_called
from prune.data.preprocessing import Preprocessing
from prune.data.transforms import augmentation, training_transform
from prune.errors import UserError
from prune.evaluation.evaluate import Evaluation, evaluate
from prune.files import MODELS, RUNS, check_writable, find_model, locked, visible, write_json
from prune.hardware import choose_device, device_name, set_threads
from prune.inference.torch import TorchPredictor
from prune.models import build_model
from prune.models.checkpoint import (
    Network,
    load_checkpoint,
    new_stage,
    read_state_dict,
    require_architecture,
    save_checkpoint,
)
from prune.models.freezing import freeze
from prune.models.pretrained import initialize, load_matching
from prune.number_format import NumberFormat, number_format
from prune.report.charts import training_curves
from prune.training.loop import Progress, Row, Run, chosen_monitor, stored_numbers
from prune.training.losses import class_weights, make_loss
from prune.training.settings import DEFAULT_MODEL
from prune.training.step import Stepper


@dataclass(frozen=True)
class TrainResult:
    """Where a run ended and what it left."""

    model: Path
    folder: Path
    progress: Progress
    monitor: str
    warning: str = ""

    def __str__(self) -> str:
        best = self.progress.best if self.progress.best is not None else float("nan")
        shown = abs(best) if self.monitor == "loss" else best
        return (
            f"best epoch {self.progress.best_epoch} of {self.progress.epoch}: {self.monitor} {shown:.4f}, "
            f"{self.progress.seconds / 60:.1f} min\nmodel    {self.model}\nhistory  {self.folder / 'history.csv'}, curves.png"
            + (f"\nWARNING  {self.warning}" if self.warning else "")
        )


def _pruned_network(config: TrainOptions) -> Network | None:
    """The checkpoint to fine-tune, whose structure is kept, if one is named."""
    if not config.pruned_model:
        return None
    network = load_checkpoint(find_model(config.pruned_model), config.trust_pickle)
    require_architecture(network, config.model)
    print(f"network  {network.architecture} from {network.file}")
    return network


def _fresh_network(config: TrainOptions, classes: ClassSet) -> Network:
    """A network for the classes of the data, from pretrained weights, a file's matching ones, or random ones."""
    name = config.model or DEFAULT_MODEL
    network = Network(build_model(name, len(classes)), name, classes)
    if config.load_pretrained_weights:
        file = find_model(config.load_pretrained_weights)
        fitted, total = load_matching(network.model, read_state_dict(file, config.trust_pickle))
        if 2 * fitted < total:
            raise UserError(
                f"{file}: {fitted} of the {total} tensors of {name} fit, expected at least half of them: it holds another "
                "network (--model), or a pruned one, which goes to --pruned_model"
            )
        print(f"network  {name}, {fitted} of {total} tensors from {file}")
    else:
        print(f"network  {name}, {initialize(network.model, name, config.weights)}")
    return network


def _splits(config: TrainOptions, classes: ClassSet | None) -> tuple[Split, Split]:
    """Training and validation images, with labels of ``classes``, None = of what they hold.

    When both are the same images, because the folder has no splits, a tenth is held out.
    """
    train = open_split(config, config.train_dir, "train", classes)
    val = open_split(config, config.val_dir or config.train_dir, "val", train.classes)
    if {pair.image for pair in train.pairs} == {pair.image for pair in val.pairs} and len(train.pairs) > 1:
        train, val = hold_out(train)
        print(f"         no validation images there: {len(val.pairs)} of them are held out of training")
    if len(train.pairs) < 2:
        raise UserError(f"{train.folder}: expected at least 2 images to train on, found {len(train.pairs)}")
    return train, val


def _prepared(config: TrainOptions) -> tuple[Network, Split, Split]:
    """The network to start from and what it learns from: the labels are read as the classes of the network."""
    named = None if config.classes == "auto" else classes_called(config.classes)
    network = _pruned_network(config)
    if network and named and network.classes.classes != named.classes:
        raise UserError(
            f"--classes {config.classes}: {network.file} has the classes {', '.join(network.classes.classes)}"
        )
    train, val = _splits(config, network.classes if network else named)
    check_writable(RUNS / config.name)
    check_writable(MODELS)
    return network or _fresh_network(config, train.classes), train, val


class _Tensorboard:
    """Writes history rows as TensorBoard events; without the package it says so once and does nothing."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            print("TensorBoard is not installed, no events are written: pip install prune-crackseg[tensorboard]")
            self.writer: Any = None
            return
        self.writer = SummaryWriter(str(folder))

    def __call__(self, row: Row, images_per_second: float) -> None:
        if self.writer is None:
            return
        for key, value in {**row, "crops_per_second": images_per_second}.items():
            if key != "epoch" and value is not None:
                self.writer.add_scalar(key, value, row["epoch"])
        self.writer.flush()


def _model_file(config: TrainOptions) -> Path:
    return MODELS / f"{config.name}.pth"


def _require_unused(config: TrainOptions) -> None:
    """Refuse to replace what an earlier command left under the name, unless told to continue or to replace it.

    A run that was stopped before its first epoch was complete left nothing worth keeping.
    """
    model, last = _model_file(config), RUNS / config.name / "last.pth"
    found = next((file for file in (model, last) if file.exists()), None)
    if found is None or config.force or (config.resume and last.exists()):
        return
    if config.resume:
        raise UserError(f"--resume: {model} exists and {last} does not: choose another NAME or replace it with --force")
    raise UserError(f"{found} exists: choose another NAME, continue that run with --resume, or replace it with --force")


def _resume_or_clear(run: Run, config: TrainOptions) -> None:
    """Continue the run where it stopped, or remove what an earlier run left in its folder."""
    if config.resume and run.last.exists():
        run.resume()
        print(f"resumed  after epoch {run.progress.epoch} of {run.last}")
        if run.progress.best_epoch and not _model_file(config).exists():
            raise UserError(f"--resume: {_model_file(config)}, the best epoch so far, is gone: start anew with --force")
        return
    if config.resume:
        print(f"resumed  from the start: {run.last} does not exist yet")
    for name in ("last.pth", "history.csv", "curves.png", "config.json", "events.out.tfevents.*"):
        for file in visible(run.folder, name):
            file.unlink()


def _batches(config: TrainOptions, split: Split, crop: int, preprocessing: Preprocessing) -> DataLoader[Any]:
    """Training batches of varied square crops of ``crop`` px."""
    scale = (config.scale_min, config.scale_max)
    transform = training_transform(augmentation(config.augment, crop, scale, preprocessing))
    dataset = SegmentationDataset(split, transform, config.seed, config.cache)
    return training_loader(dataset, min(config.batch_size, len(dataset)), config.workers)


def _warning(row: Row, classes: ClassSet, labeled: NDArray[np.int64]) -> str:
    """What is wrong with an epoch that finds none of the labeled crack pixels of the validation images, else empty."""
    crack = classes.index("crack")
    if crack is None or not labeled[crack] or row[f"val_iou_{classes.classes[crack]}"] != 0:
        return ""
    return (
        f"the best epoch finds no crack, none of {labeled[crack]:,} labeled pixels: train longer, or give the class "
        "more weight, --class_weights crack=10"
    )


def _best_saver(
    config: TrainOptions, network: Network, labeled: NDArray[np.int64], numbers: NumberFormat
) -> Callable[[Progress], None]:
    """What saves the network of the last epoch of a ``Progress`` as the best one, with its lineage."""
    stage = "fine-tune" if config.pruned_model else "train"
    earlier = list(network.lineage)
    settings = asdict(config) | {"train_dir": config.train_dir or str(default_data())}
    settings |= {"number_format": numbers.record()}

    def save(progress: Progress) -> None:
        row = progress.history[-1]
        scores = {"epochs": progress.epoch, "miou": row["val_miou"], "crack_iou": row.get("val_iou_Crack")}
        scores |= {"crack_lt_iou_4": row.get("val_crack_lt_iou_4")}
        warning = {"warning": "finds no crack"} if _warning(row, network.classes, labeled) else {}
        network.lineage = [*earlier, new_stage(stage, settings, scores | warning)]
        save_checkpoint(network, _model_file(config))

    return save


def train(config: TrainOptions) -> TrainResult:
    """Train or fine-tune as ``config`` says.

    Writes results/models/NAME.pth (best epoch) and results/runs/NAME/ (config.json, history.csv, curves.png, last.pth,
    events). A model of that name is replaced when the first epoch is complete, not before.

    Raises:
        UserError: for anything the user can fix, before anything is written; also when another process trains NAME and
            when NAME was used before and neither ``resume`` nor ``force`` is set.
        TrainingDiverged: when a loss or a weight stops being finite.
    """
    with locked(_model_file(config)):
        _require_unused(config)
        return _train(config)


def _numbers(config: TrainOptions, device: torch.device) -> NumberFormat:
    """What the run computes in: what was stored when it was started, else what is asked for or measured now.

    A run that is resumed also gets the threads it had, as far as there are cores, unless ``config`` says otherwise.
    """
    last = RUNS / config.name / "last.pth"
    stored = stored_numbers(last) if config.resume and last.exists() else None
    if stored is None:
        numbers = number_format(config.amp, config.channels_last, device)
        print(f"numbers  {numbers}")
        return numbers
    numbers, threads = stored
    if not config.threads:
        set_threads(min(threads, os.cpu_count() or 1))
    print(f"numbers  {numbers}; repeated from {last}")
    return numbers


def _train(config: TrainOptions) -> TrainResult:
    set_threads(config.threads)
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    numbers = _numbers(config, device)
    folder = RUNS / config.name
    network, train_split, val_split = _prepared(config)
    classes = network.classes
    monitor = chosen_monitor(config.monitor, classes)
    pixels = class_pixels(SegmentationDataset(train_split))
    labeled = class_pixels(SegmentationDataset(val_split))
    weights = class_weights(config.class_weights, pixels, classes)
    crop = usable_crop(train_split, config.crop_size)
    loader = _batches(config, train_split, crop, network.preprocessing)
    val_dataset = SegmentationDataset(spread(val_split, config.val_images), cache=config.cache)
    if config.keep_feature_extract or (config.pruned_model and not config.train_pruned_fully):
        freeze(network.model.get_submodule("backbone"))
        print("backbone frozen, batch norm included")
    predictor = TorchPredictor(network, device, numbers.autocast, numbers.channels_last)
    loss = make_loss(config.loss, None if weights is None else weights.to(device), config.focal_gamma)
    step = Stepper(network.model, loss, device, numbers, config.aux_weight)
    where = f"{device_name(device)}, {torch.get_num_threads()} threads"
    print(f"device   {where}, crops of {crop} px, batches of {loader.batch_size}")

    def validate() -> Evaluation:
        return evaluate(predictor, whole_images(val_dataset, min(1, config.workers)), len(val_dataset), "validating")

    run = Run(config, step, loader, validate, classes, folder)
    _resume_or_clear(run, config)
    write_json(folder / "config.json", asdict(config) | {"number_format": numbers.record()})
    run.on_row = _Tensorboard(folder)
    progress = run.fit(_best_saver(config, network, labeled, numbers))
    training_curves(progress.history, folder / "curves.png", title=f"{config.name}, {train_split.folder}")
    warning = _warning(progress.history[progress.best_epoch - 1], classes, labeled)
    return TrainResult(_model_file(config), folder, progress, monitor, warning)


def run(config: TrainOptions) -> None:
    """Train and print the summary."""
    print(train(config))
