"""``python -m prune benchmark``: the figures the project promises, measured on this machine."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.benchmark.settings import SUITES
from prune.cli.verbs import call
from prune.options import DEVICES, check, option


@dataclass(frozen=True)
class BenchmarkOptions:
    """Everything ``python -m prune benchmark`` can be told."""

    files: tuple[str, ...] = option(
        (),
        "networks to time, the first is the baseline of the others; none: the project's own figures",
        positional=True,
    )
    batch: int = option(1, "networks: images per pass", low=1)
    passes: int = option(20, "networks: timed passes of each", low=1)
    threads: int = option(0, "networks: CPU threads of every runtime, 0 = all cores", low=0)
    device: str = option("cpu", f"networks: {DEVICES}, of those PyTorch runs")
    suite: str = option(
        "all",
        "the project's own figures: which; all: all but networks; report: write the tables of all machines again",
        choices=SUITES,
    )
    models: str = option("all", "suite networks: networks separated by commas, or all")
    crop_size: int = option(256, "training: side of the crops in px", low=32)
    batch_size: int = option(4, "training: crops per step", low=2)
    repeats: int = option(5, "training: timed steps of each loop, interleaved; of the largest network 3 in 5", low=1)
    compiled: bool = option(
        True, "training: also time the loop under torch.compile where there is a C++ compiler: minutes"
    )
    size: int = option(512, "networks, pruning, evaluation, deploy: side of the images in px", low=64)
    images: int = option(6, "evaluation: test images", low=1)
    score_size: int = option(1024, "scores: side of the image in px", low=64)
    score_repeats: int = option(9, "scores: timed repeats", low=1)
    output: str | None = option(
        None,
        "file of the figures; default: bench.json, networks_bench.json or latency.json in the folder of this kind of CPU in "
        "results/benchmarks",
    )

    def __post_init__(self) -> None:
        check(self)


def run(options: BenchmarkOptions) -> None:
    """Do the work and print the summary."""
    from prune.benchmark.suites import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("benchmark", argv)
