"""``python -m prune networks``: every network on one data set: trained, pruned, fine-tuned, tested, exported, tabulated."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS, DataOptions
from prune.options import check, option


@dataclass(frozen=True)
class NetworksOptions(DataOptions):
    """Everything ``python -m prune networks`` can be told."""

    data: str | None = option(None, "data folder with splits; none: the default data", positional=True)
    name: str = option("networks", "prefix of every model", positional=True)
    models: str = option("all", "networks separated by commas, or all")
    classes: str = option("crack", "what to learn", choices=CLASS_SETS)
    weights: str = option("auto", "start from", choices=("auto", "coco", "imagenet", "none"))
    pruning_ratio: int = option(50, "percent of channels to remove by Taylor, 1 to 99", low=1)
    epochs: int = option(0, "of every network, 0 = as many as the budget allows", low=0)
    finetune_epochs: int = option(0, "of every pruned network, 0 = as many as of the dense one", low=0)
    budget: float = option(1.0, "tera-MACs a training may cost; each network gets 1 to 10 epochs", low=0)
    batch_size: int = option(4, "crops per step", low=2)
    crop_size: int = option(64, "side of the square crops in px", low=32)
    lr: float = option(1e-3, "peak learning rate of the dense networks", low=0)
    finetune_lr: float = option(1e-3, "peak learning rate of fine-tuning", low=0)
    val_images: int = option(20, "images the best epoch is chosen on, 0 = all", low=0)
    parity_images: int = option(16, "test images the float exports are compared on, 0 = all", low=0)
    int8_images: int = option(64, "test images the INT8 exports are compared on, 0 = all", low=0)
    latency_size: int = option(256, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes per network, interleaved", low=1)
    jobs: int = option(0, "networks at a time, sharing the cores; 0 = up to 4 on the CPU, 1 on a GPU", low=0)
    workers: int = option(0, "data loading processes of each job", low=0)
    seed: int = option(0, "seed of everything random", low=0)
    output: str | None = option(None, "folder of table and charts; none: results/networks")

    def __post_init__(self) -> None:
        check(self)


def run(options: NetworksOptions) -> None:
    """Do the work and print the summary."""
    from prune.studies.networks import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("networks", argv)
