"""``python -m prune demo``: the whole journey on synthetic images, through the command lines a user would type."""

from collections.abc import Sequence

from prune.cli.study import StudyOptions
from prune.cli.verbs import call
from prune.options import with_defaults

DemoOptions = with_defaults(
    StudyOptions,
    "DemoOptions",
    data="data/demo",
    name="demo",
    criteria="Taylor",
    epochs=6,
    finetune_epochs=18,
    batch_size=4,
    crop_size=96,
    class_weights="sqrt_inverse",
    lr=1e-3,
    finetune_lr=1e-3,
    latency_size=128,
    latency_repeats=3,
    figures=4,
    workers=0,
)
"""What ``python -m prune demo`` can be told: a study sized for ten minutes on two cores, nothing meant for real data."""


def run(options: StudyOptions) -> None:
    """Do the work and print the summary."""
    from prune.studies.demo import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("demo", argv)
