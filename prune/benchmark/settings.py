"""Settings of the measurements; light enough for ``--help``."""

from dataclasses import dataclass

from prune.options import DEVICES, check, option

SUITES = (
    "all",
    "training",
    "pruning",
    "evaluation",
    "scores",
    "measuring",
    "deploy",
    "folder",
    "survey",
    "page",
    "networks",
    "studies",
    "report",
)
"""Of ``python -m prune benchmark``; report measures nothing, it rewrites the tables of all machines."""


@dataclass(frozen=True)
class TimingSettings:
    """How named networks are timed against each other."""

    batch: int = option(1, "networks: images per pass", low=1)
    passes: int = option(20, "networks: timed passes of each", low=1)
    threads: int = option(0, "networks: CPU threads of every runtime, 0 = all cores", low=0)
    device: str = option("cpu", f"networks that PyTorch runs: {DEVICES}")
    size: int = option(512, "networks, pruning, evaluation, deploy: side of the images in px", low=64)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SuiteSettings(TimingSettings):
    """How the project's own figures are measured."""

    suite: str = option(
        "all",
        "which of the project's own figures to measure; all: all but networks and studies; report: rewrite the tables of all machines",
        choices=SUITES,
    )
    models: str = option("all", "suite networks: networks separated by commas, or all")
    crop_size: int = option(256, "training: side of the crops in px", low=32)
    batch_size: int = option(4, "training: crops per step", low=2)
    repeats: int = option(
        5, "training: timed steps of each loop, interleaved; 3 in 5 of them for the largest network", low=1
    )
    compiled: bool = option(
        True, "training: also time the loop under torch.compile if there is a C++ compiler (takes minutes)"
    )
    images: int = option(6, "evaluation: test images", low=1)
    score_size: int = option(1024, "scores: side of the image in px", low=64)
    score_repeats: int = option(9, "scores: timed repeats", low=1)
