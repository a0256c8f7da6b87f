"""What the command lines of studies can be told in place of a plan."""

from dataclasses import dataclass

from prune.data.settings import CLASS_SETS, PALETTE, PALETTES, DataOptions
from prune.errors import UserError
from prune.evaluation.settings import VerdictLimits
from prune.options import WEIGHTS, check, option
from prune.training.settings import DEFAULT_MODEL

EXECUTORS = ("local", "ray")

CRITERIA = ("L1", "L2", "Taylor", "Random")
"""What is compared unless something else is named: magnitude with p = 1 and 2, first-order Taylor, and the control."""


@dataclass(frozen=True)
class RunSettings:
    """Where and how the trials of a study run."""

    executor: str = option("local", "where trials run: processes of this machine, or a Ray cluster", choices=EXECUTORS)
    jobs: int = option(
        0, "local: processes, each with its share of the cores or a GPU; 0 = one per GPU, else per core up to 4", low=0
    )
    address: str | None = option(
        None, "ray: auto, host:port or ray://host:port; default: start Ray on this machine", metavar="ADDRESS"
    )
    cpus: float = option(1.0, "ray: cores of a trial", low=0)
    gpus: float | None = option(None, "ray: GPUs of a trial; default: 1 where the cluster has some", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.address and self.executor != "ray":
            raise UserError(f"--address {self.address}: expected --executor ray beside it, found {self.executor}")


@dataclass(frozen=True)
class StudySettings(VerdictLimits, DataOptions):
    """The plan of one data folder as flags: a dense network, pruned by several criteria, each fine-tuned and tested."""

    data: str | None = option(
        None,
        "data folder with splits; default: data/S2DS, else the demo data",
        positional=True,
    )
    name: str = option("study", "name of the results, and prefix of the networks", positional=True)
    criteria: str = option(",".join(CRITERIA), "importance criteria to compare", metavar="NAME,NAME")
    pruning_ratio: int = option(50, "percent of channels to remove, 1 to 99", low=1)
    iterative_steps: int = option(1, "pruning steps", low=1)
    dense: str | None = option(None, "start from this checkpoint instead of training one", metavar="FILE")
    model: str = option(DEFAULT_MODEL, "network to train")
    classes: str = option("auto", "what to learn; auto: what the labels hold", choices=("auto", *CLASS_SETS))
    weights: str = option("auto", "start from", choices=WEIGHTS)
    epochs: int = option(100, "of the dense network", low=1)
    finetune_epochs: int = option(30, "of every pruned network", low=1)
    batch_size: int = option(8, "crops per step", low=2)
    crop_size: int = option(512, "side of the square crops in px", low=32)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    lr: float = option(5e-4, "peak learning rate of the dense network", low=0)
    finetune_lr: float = option(2e-4, "peak learning rate of fine-tuning", low=0)
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes per network, interleaved", low=1)
    figures: int = option(6, "test images on the comparison sheets, 0 = no sheets", low=0)
    palette: str = option("standard", PALETTE, choices=PALETTES)
    workers: int = option(1, "data loading processes", low=0)
    cache: bool = option(True, "keep decoded images in RAM")
    seed: int = option(0, "seed of everything random", low=0)
    force: bool = option(False, "replace networks of the same names, and a study of other data in the same folder")
    output: str | None = option(None, "folder of the study; default: results/studies/NAME", metavar="DIR")

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class NetworksSettings(DataOptions):
    """Every network trained, pruned, fine-tuned, tested and exported on one data set."""

    data: str | None = option(
        None,
        "data folder with splits; default: data/S2DS, else the demo data",
        positional=True,
    )
    name: str = option("networks", "name of the results", positional=True)
    models: str = option("all", "networks separated by commas, or all")
    classes: str = option("crack", "what to learn", choices=CLASS_SETS)
    weights: str = option("auto", "start from", choices=WEIGHTS)
    pruning_ratio: int = option(50, "percent of channels to remove by Taylor, 1 to 99", low=1)
    epochs: int = option(0, "of every network, 0 = as many as the budget allows", low=0)
    finetune_epochs: int = option(0, "of every pruned network, 0 = as many as of the dense one", low=0)
    budget: float = option(1.0, "tera-MACs a training may cost; each network gets 1 to 10 epochs", low=0)
    batch_size: int = option(4, "crops per step", low=2)
    crop_size: int = option(64, "side of the square crops in px", low=32)
    lr: float = option(1e-3, "peak learning rate of the dense networks", low=0)
    finetune_lr: float = option(1e-3, "peak learning rate of fine-tuning", low=0)
    val_images: int = option(20, "images the best epoch is chosen on, 0 = all", low=0)
    parity_images: int = option(16, "without effect: float exports are timed and no longer compared", low=0)
    int8_images: int = option(64, "test images the INT8 exports are compared on, 0 = all", low=0)
    latency_size: int = option(256, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes per network, interleaved", low=1)
    jobs: int = option(0, "networks at a time, sharing the cores; 0 = up to 4 on the CPU, 1 on a GPU", low=0)
    workers: int = option(0, "data loading processes of each job", low=0)
    seed: int = option(0, "seed of everything random", low=0)
    force: bool = option(False, "replace a study of other data in the same folder")
    output: str | None = option(None, "folder of the study; default: results/studies/NAME", metavar="DIR")

    def __post_init__(self) -> None:
        check(self)
