"""Settings of a training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prune.data.settings import CLASS_SETS, DataOptions
from prune.errors import UserError
from prune.options import (
    AMPS,
    AUGMENTATIONS,
    DEVICES,
    LOSSES,
    SWITCH,
    TRUST_PICKLE,
    WEIGHTS,
    check,
    option,
    require_types,
)
from prune.shapes import check_shape, load_json

MONITORS = ("auto", "miou_crack", "miou", "miou_defects", "crack_iou", "crack_lt_iou_4", "loss")
DISTILL_LOSSES = ("kl", "cwd", "kl+cwd")
"""Of ``prune.training.distillation``; light enough for ``--help``."""
DEFAULT_MODEL = "deeplabv3_resnet101"
ONE_START = ("resume", "force", "trust_pickle", "factory")
"""Settings that must be given at every start: the last two let code run, which no stored setting may permit."""
MAY_DIFFER = (*ONE_START, "workers", "cache", "threads", "device")
"""Settings that may change on resume: where and how fast the training runs."""


@dataclass(frozen=True)
class TrainSettings(DataOptions):
    """How a network is trained."""

    model: str | None = option(None, f"network, see python -m prune models; default: {DEFAULT_MODEL}")
    classes: str = option("auto", "classes to learn; auto: the classes in the labels", choices=("auto", *CLASS_SETS))
    weights: str = option("auto", "weights to start from", choices=WEIGHTS)
    load_pretrained_weights: str | None = option(None, "start a fresh network from the matching weights of this file")
    trust_pickle: bool = option(False, TRUST_PICKLE)
    train_pruned_fully: bool = option(True, "with --pruned_model: train all layers; False: train the heads only")
    keep_feature_extract: bool = option(False, "freeze the backbone, batch norm included")
    epochs: int = option(100, "passes over the training data", low=1)
    batch_size: int = option(8, "crops per step", low=2)
    crop_size: int = option(512, "side of the square training crops in px", low=32)
    scale_min: float = option(0.5, "smallest random zoom", low=0.05)
    scale_max: float = option(2.0, "largest random zoom", low=0.05)
    augment: str = option("full", "augmentation of the crops besides zoom", choices=AUGMENTATIONS)
    voids: float = option(
        0.0, "share (0 to 1) of the crops on which air voids and chipped spots are drawn, labeled as background", low=0
    )
    loss: str = option("ce_dice", "training loss", choices=LOSSES)
    focal_gamma: float = option(2.0, "focal losses: larger values down-weight pixels that are already right", low=0)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    aux_weight: float = option(0.4, "weight of the auxiliary head's loss", low=0)
    distill_weight: float = option(1.0, "with --teacher: weight of the distillation loss", low=0)
    distill_temperature: float = option(2.0, "with --teacher: larger = softer class probabilities", low=0.01)
    distill_loss: str = option(
        "kl",
        "with --teacher: loss on the logits; kl: class probabilities of every pixel; cwd: where in the image each class lies",
        choices=DISTILL_LOSSES,
    )
    distill_features: float = option(
        0.0, "with --teacher: weight of the cwd loss on the features that the last layer reads, 0 = off", low=0
    )
    sparsity: float = option(
        0.0, "weight of the group lasso that makes whole channels small before pruning, such as 1e-4; 0 = off", low=0
    )
    optimizer: str = option("adamw", "optimizer", choices=("adam", "adamw", "sgd"))
    lr: float = option(5e-4, "peak learning rate", low=0)
    weight_decay: float = option(1e-4, "weight decay", low=0)
    momentum: float = option(0.9, "momentum of sgd", low=0)
    scheduler: str = option("poly", "learning rate over time", choices=("plateau", "poly", "cosine", "constant"))
    poly_power: float = option(0.9, "poly: exponent of the remaining share of steps", low=0)
    plateau_patience: int = option(5, "plateau: epochs without a lower validation loss before a cut", low=0)
    plateau_factor: float = option(0.1, "plateau: factor by which a cut multiplies the learning rate", low=0)
    min_lr: float = option(1e-8, "plateau: lowest learning rate", low=0)
    warmup_epochs: float | None = option(
        None, "epochs of linear warm-up; default: 1, or a tenth of --epochs if there are fewer than 10", low=0
    )
    accumulate: int = option(1, "batches per optimizer step", low=1)
    clip: float = option(5.0, "largest gradient norm, 0 = no clipping", low=0)
    ema: float = option(
        0.0, "decay of the moving average of the weights that is validated and kept, such as 0.999; 0 = off", low=0
    )
    monitor: str = option(
        "auto",
        "validation score that chooses the best epoch; miou_crack: mean of miou and crack_lt_iou_4, or miou alone if no crack is "
        "labeled or predicted; auto: miou_crack if there is a crack class, else miou",
        choices=MONITORS,
    )
    patience: int = option(30, "stop after this many epochs without a better score, 0 = never", low=0)
    val_images: int = option(0, "validation images used to choose the best epoch, evenly spread; 0 = all", low=0)
    amp: str = option("auto", "autocast; auto: the fastest as measured on CPUs, bf16 or fp16 on GPUs", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: measure which is faster", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    workers: int = option(2, "data loading processes, 0 = none", low=0)
    cache: bool = option(False, "keep decoded images in RAM")
    seed: int = option(0, "random seed", low=0)
    sync_batchnorm: bool = option(
        True, "under torchrun: batch norm over the batch of all processes, else over that of each"
    )

    def __post_init__(self) -> None:
        check(self)
        if self.warmup_epochs and self.warmup_epochs >= self.epochs:
            raise UserError(f"--warmup_epochs: expected less than --epochs {self.epochs}, found {self.warmup_epochs:g}")
        if self.scale_max < self.scale_min:
            raise UserError(f"--scale_max: expected at least --scale_min {self.scale_min}, found {self.scale_max}")
        if self.voids > 1:
            raise UserError(f"--voids: expected at most 1, found {self.voids:g}")
        for name in ("plateau_factor", "ema"):
            if getattr(self, name) >= 1:
                raise UserError(f"--{name}: expected less than 1, found {getattr(self, name):g}")

    @property
    def warmup(self) -> float:
        """Epochs of warm-up: as given, else 1, and of a training of fewer than 10 epochs a tenth."""
        return min(1.0, self.epochs / 10) if self.warmup_epochs is None else self.warmup_epochs


def stored_settings(run: Path, kind: type = TrainSettings) -> dict[str, Any]:
    """The settings that a run was started with; empty when it has no complete epoch that could be resumed.

    Args:
        run: Its folder.
        kind: The dataclass they are for; other settings are passed on as they are.

    Raises:
        UserError: when they cannot be read, and for one of another type.
    """
    config = run / "config.json"
    if not (run / "last.pth").is_file() or not config.is_file():
        return {}
    try:
        stored = load_json(config, "the settings of the run as JSON")
        check_shape(stored, dict, str(config))
        require_types(kind, stored, str(config))
    except UserError as error:
        raise UserError(f"--resume: {error.message}") from error
    return {name: value for name, value in stored.items() if name not in ONE_START}
