"""``train.py``: a split folder in, a checkpoint out."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from prune.checkpoint import Network, load_checkpoint, new_stage, read_state_dict, require_classes, save_checkpoint
from prune.commands.defaults import data_folder
from prune.config import TrainConfig, parse
from prune.data.dataset import SegmentationDataset, class_pixels, training_loader, whole_images
from prune.data.labels import S2DS
from prune.data.layout import SPLITS, Split, find_split, usable_crop
from prune.data.transforms import Augmentation, training_transform
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


def _network(config: TrainConfig) -> Network:
    """The network to start from: a checkpoint whose structure is kept, or a fresh one."""
    if config.pruned_model:
        network = load_checkpoint(find_model(config.pruned_model), config.trust_pickle)
        require_classes(network, S2DS)
        print(f"network  {network.architecture} from {network.file}")
        return network
    network = Network(build_model(config.model, len(S2DS)), config.model)
    if config.load_pretrained_weights:
        file = find_model(config.load_pretrained_weights)
        fitted, total = load_matching(network.model, read_state_dict(file, config.trust_pickle))
        if not fitted:
            raise UserError(f"{file}: none of its tensors fits {config.model}; a pruned one goes to --pruned_model")
        print(f"network  {config.model}, {fitted} of {total} tensors from {file}")
    else:
        print(f"network  {config.model}, {initialize(network.model, config.model, config.weights)}")
    return network


def _splits(config: TrainConfig) -> tuple[Split, Split]:
    folders = [config.train_dir, config.val_dir]
    found = [find_split(Path(f) if f else data_folder() / name, S2DS) for f, name in zip(folders, SPLITS, strict=False)]
    for split, name in zip(found, SPLITS, strict=False):
        print(f"{name:8} {len(split.pairs)} images in {split.folder}")
    if len(found[0].pairs) < 2:
        raise UserError(f"{found[0].folder}: expected at least 2 images to train on, found {len(found[0].pairs)}")
    return found[0], found[1]


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
    train_split, val_split = _splits(config)
    model_file, folder = MODELS / f"{config.name}.pth", RUNS / config.name
    check_writable(folder)
    check_writable(MODELS)
    network = _network(config)
    pixels = class_pixels(SegmentationDataset(train_split))
    class_pixels(SegmentationDataset(val_split))
    weights = class_weights(config.class_weights, pixels, S2DS)
    crop = usable_crop(train_split, config.crop_size)
    scale = (config.scale_min, config.scale_max)
    transform = training_transform(Augmentation(crop, scale, preprocessing=network.preprocessing))
    dataset = SegmentationDataset(train_split, transform, config.seed, config.cache)
    val_dataset = SegmentationDataset(val_split, cache=config.cache)
    loader = training_loader(dataset, min(config.batch_size, len(dataset)), config.workers)
    if config.keep_feature_extract or (config.pruned_model and not config.train_pruned_fully):
        freeze(network.model.get_submodule("backbone"))
        print("backbone frozen, batch norm included")
    predictor = TorchPredictor(network, device, amp, config.channels_last)
    loss = make_loss(config.loss, None if weights is None else weights.to(device))
    step = Stepper(network.model, loss, device, amp, config.channels_last, config.aux_weight)
    number = "float32" if amp is None else str(amp).removeprefix("torch.")
    print(f"device   {device_name(device)}, {number}, crops of {crop} px, batches of {loader.batch_size}")

    def validate() -> Evaluation:
        return evaluate(predictor, whole_images(val_dataset, min(1, config.workers)), len(val_dataset), "validating")

    run = Run(config, step, loader, validate, S2DS, folder)
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
        scores = {"epochs": progress.epoch, "miou": row["val_miou"], "crack_iou": row["val_iou_Crack"]}
        network.lineage = [*earlier, new_stage(stage, asdict(config), scores)]
        save_checkpoint(network, model_file)

    progress = run.fit(save_best)
    training_curves(progress.history, folder / "curves.png", title=f"{config.name}, {train_split.folder}")
    return TrainResult(model_file, folder, progress, config.monitor)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line of ``train.py``, train, print the summary."""
    print(train(parse(TrainConfig, "Train or fine-tune a segmentation network.", argv, "train.py")))
