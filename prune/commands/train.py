"""``train.py``: a split folder in, a checkpoint out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from prune.checkpoint import Network, load_checkpoint, new_stage, read_state_dict, require_architecture, save_checkpoint
from prune.commands.defaults import open_split
from prune.config import DEFAULT_MODEL, TrainConfig, parse
from prune.data.dataset import SegmentationDataset, class_pixels, spread, training_loader, whole_images
from prune.data.labels import ClassSet
from prune.data.layout import Split, hold_out, usable_crop
from prune.data.masks import classes_called
from prune.data.transforms import augmentation, training_transform
from prune.engine.evaluation import Evaluation, evaluate
from prune.engine.fit import Progress, Row, Run
from prune.engine.training import Stepper
from prune.errors import UserError
from prune.files import MODELS, RUNS, check_writable, find_model, write_json
from prune.hardware import autocast_type, choose_device, device_name, set_threads
from prune.losses import class_weights, make_loss
from prune.models import build_model
from prune.models.freezing import freeze
from prune.models.pretrained import initialize, load_matching
from prune.predict_torch import TorchPredictor
from prune.report.charts import training_curves


@dataclass(frozen=True)
class TrainResult:
    """Where a run ended and what it left."""

    model: Path
    folder: Path
    progress: Progress
    monitor: str

    def __str__(self) -> str:
        best = self.progress.best if self.progress.best is not None else float("nan")
        shown = abs(best) if self.monitor == "loss" else best
        return (
            f"best epoch {self.progress.best_epoch} of {self.progress.epoch}: {self.monitor} {shown:.4f}, "
            f"{self.progress.seconds / 60:.1f} min\nmodel    {self.model}\nhistory  {self.folder / 'history.csv'}, curves.png"
        )


def _pruned_network(config: TrainConfig) -> Network | None:
    """The checkpoint to fine-tune, whose structure is kept, if one is named."""
    if not config.pruned_model:
        return None
    network = load_checkpoint(find_model(config.pruned_model), config.trust_pickle)
    require_architecture(network, config.model)
    print(f"network  {network.architecture} from {network.file}")
    return network


def _fresh_network(config: TrainConfig, classes: ClassSet) -> Network:
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


def _splits(config: TrainConfig, classes: ClassSet | None) -> tuple[Split, Split]:
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


def _prepared(config: TrainConfig) -> tuple[Network, Split, Split]:
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
            print("TensorBoard is not installed, no events are written: pip install prune[tensorboard]")
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


def train(config: TrainConfig) -> TrainResult:
    """Train or fine-tune as ``config`` says.

    Writes results/models/NAME.pth (best epoch) and results/runs/NAME/ (config.json, history.csv, curves.png, last.pth,
    events).

    Raises:
        UserError: for anything the user can fix, before anything is written.
    """
    set_threads(config.threads)
    torch.manual_seed(config.seed)
    device = choose_device(config.device)
    amp = autocast_type(config.amp, device)
    model_file, folder = MODELS / f"{config.name}.pth", RUNS / config.name
    network, train_split, val_split = _prepared(config)
    classes = network.classes
    pixels = class_pixels(SegmentationDataset(train_split))
    class_pixels(SegmentationDataset(val_split))
    weights = class_weights(config.class_weights, pixels, classes)
    crop = usable_crop(train_split, config.crop_size)
    scale = (config.scale_min, config.scale_max)
    transform = training_transform(augmentation(config.augment, crop, scale, network.preprocessing))
    dataset = SegmentationDataset(train_split, transform, config.seed, config.cache)
    val_dataset = SegmentationDataset(spread(val_split, config.val_images), cache=config.cache)
    loader = training_loader(dataset, min(config.batch_size, len(dataset)), config.workers)
    if config.keep_feature_extract or (config.pruned_model and not config.train_pruned_fully):
        freeze(network.model.get_submodule("backbone"))
        print("backbone frozen, batch norm included")
    predictor = TorchPredictor(network, device, amp, config.channels_last)
    loss = make_loss(config.loss, None if weights is None else weights.to(device), config.focal_gamma)
    step = Stepper(network.model, loss, device, amp, config.channels_last, config.aux_weight)
    number = "float32" if amp is None else str(amp).removeprefix("torch.")
    print(f"device   {device_name(device)}, {number}, crops of {crop} px, batches of {loader.batch_size}")

    def validate() -> Evaluation:
        return evaluate(predictor, whole_images(val_dataset, min(1, config.workers)), len(val_dataset), "validating")

    run = Run(config, step, loader, validate, classes, folder)
    if config.resume and run.last.exists():
        run.resume()
        print(f"resumed  after epoch {run.progress.epoch} of {run.last}")
    elif config.resume:
        print(f"resumed  from the start: {run.last} does not exist yet")
    write_json(folder / "config.json", asdict(config))
    run.on_row = _Tensorboard(folder)
    stage = "fine-tune" if config.pruned_model else "train"
    earlier = list(network.lineage)

    def save_best(progress: Progress) -> None:
        row = progress.history[-1]
        scores = {"epochs": progress.epoch, "miou": row["val_miou"], "crack_iou": row.get("val_iou_Crack")}
        network.lineage = [*earlier, new_stage(stage, asdict(config), scores)]
        save_checkpoint(network, model_file)

    progress = run.fit(save_best)
    training_curves(progress.history, folder / "curves.png", title=f"{config.name}, {train_split.folder}")
    return TrainResult(model_file, folder, progress, config.monitor)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line of ``train.py``, train, print the summary."""
    print(train(parse(TrainConfig, "Train or fine-tune a segmentation network.", argv, "train.py")))
