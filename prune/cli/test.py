"""``test.py``: checkpoints and a test split in, a workbook and the same numbers as JSON out for each, and a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.outputs import check_workbook_name
from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS, DataOptions
from prune.evaluation.settings import ScoringSettings
from prune.options import AMPS, DEVICES, SWITCH, option


@dataclass(frozen=True)
class TestOptions(ScoringSettings, DataOptions):
    """Everything ``test.py`` can be told."""

    __test__ = False  # pytest would take the name for a test class

    test_dir: str | None = option(
        None, "split folder, list of names or data folder to score; none: the default data", positional=True
    )
    weights: tuple[str, ...] = option((), "checkpoints or exports to score, several are compared; none: the newest")
    classes: str | None = option(None, "of an export made by another tool", choices=CLASS_SETS)
    pruned_model: tuple[str, ...] = option((), "the same, for pruned checkpoints")
    use_pruned: bool = option(False, "without a file name: take the newest pruned checkpoint")
    output: str | None = option(None, "workbook to write, FILE.xlsx; the .json goes beside it")
    resize: int = option(
        0, "scale images to this longer side in px before the network, 0 = whole images as they are", low=0
    )
    crop: int = option(0, "score only the central square of this side in px, 0 = whole images", low=0)
    calibration: bool = option(False, "count confidences: expected calibration error and reliability diagram")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")
    latency_size: int = option(512, "side of the square input whose latency is measured, in px", low=32)
    latency_repeats: int = option(5, "timed forward passes, 0 = do not measure", low=0)
    amp: str = option("off", "autocast; auto: as train.py", choices=AMPS)
    channels_last: bool | str = option(
        "auto", "memory format channels_last; auto: yes, measured only with --amp auto", choices=SWITCH
    )
    device: str = option("auto", DEVICES)
    threads: int = option(0, "CPU threads, 0 = all cores", low=0)
    workers: int = option(1, "processes that read, and as many that score; 0 = none", low=0)
    networks: int = option(
        0,
        "copies of an export that share the threads, 0 = one, or one per thread if that is measured to be faster",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        check_workbook_name(self)
        for name in ("weights", "pruned_model"):
            files = getattr(self, name)
            # A flag that takes several files also takes the folder typed behind them.
            if self.test_dir is None and len(files) > 1 and Path(files[-1]).is_dir():
                object.__setattr__(self, "test_dir", files[-1])
                object.__setattr__(self, name, files[:-1])


def run(options: TestOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.evaluate import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("test", argv)
