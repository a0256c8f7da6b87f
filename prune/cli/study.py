"""``python -m prune study``: one dense network, pruned by several criteria, each fine-tuned with the same budget, tested."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS, DataOptions
from prune.errors import UserError
from prune.evaluation.settings import VerdictLimits
from prune.options import check, option
from prune.pruning.settings import CRITERIA
from prune.training.settings import DEFAULT_MODEL


@dataclass(frozen=True)
class StudyOptions(VerdictLimits, DataOptions):
    """Everything ``python -m prune study`` can be told."""

    data: str | None = option(None, "data folder with splits; none: the default data", positional=True)
    name: str = option("study", "prefix of every model, and name of the results", positional=True)
    criteria: str = option(",".join(CRITERIA), "importance criteria to compare")
    pruning_ratio: int = option(50, "percent of channels to remove, 1 to 99", low=1)
    iterative_steps: int = option(1, "pruning steps", low=1)
    dense: str | None = option(None, "start from this checkpoint instead of training one")
    model: str = option(DEFAULT_MODEL, "network to train")
    classes: str = option("auto", "what to learn; auto: what the labels hold", choices=("auto", *CLASS_SETS))
    weights: str = option("auto", "start from", choices=("auto", "coco", "imagenet", "none"))
    epochs: int = option(100, "of the dense network", low=1)
    finetune_epochs: int = option(30, "of every pruned network", low=1)
    batch_size: int = option(8, "crops per step", low=2)
    crop_size: int = option(512, "side of the square crops in px", low=32)
    class_weights: str = option("none", "none, inverse, sqrt_inverse, crack=2 or one number per class")
    lr: float = option(5e-4, "peak learning rate of the dense network", low=0)
    finetune_lr: float = option(2e-4, "peak learning rate of fine-tuning", low=0)
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes per network, interleaved", low=1)
    figures: int = option(6, "test images on the comparison sheet", low=0)
    workers: int = option(1, "data loading processes", low=0)
    cache: bool = option(True, "keep decoded images in RAM")
    seed: int = option(0, "seed of everything random", low=0)
    output: str | None = option(None, "folder of table and charts; none: results/studies/NAME")

    def __post_init__(self) -> None:
        check(self)
        unknown = [c for c in self.criteria.split(",") if c not in CRITERIA]
        if unknown:
            raise UserError(f"--criteria: expected some of {','.join(CRITERIA)}, found {','.join(unknown)}")


def run(options: StudyOptions) -> None:
    """Do the work and print the summary."""
    from prune.studies.study import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("study", argv)
