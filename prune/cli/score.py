"""``python -m prune score``: masks of any program and labels in, the same workbook and JSON as ``test.py`` out."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.outputs import check_workbook_name
from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS, DataOptions
from prune.errors import UserError
from prune.evaluation.settings import ScoringSettings
from prune.options import option


@dataclass(frozen=True)
class ScoreOptions(ScoringSettings, DataOptions):
    """Everything ``python -m prune score`` can be told."""

    pred_dir: str | None = option(None, "folder of predicted masks", positional=True)
    label_dir: str | None = option(None, "folder of labels, or a split folder", positional=True)
    classes: str = option(
        "auto",
        "what is scored: all classes, or crack and background; auto: crack unless both sides hold classes of S2DS",
        choices=("auto", *CLASS_SETS),
    )
    probabilities: str | None = option(None, "folder of crack probabilities (.npy or gray images): adds calibration")
    output: str | None = option(None, "workbook to write, FILE.xlsx; the .json goes beside it")
    workers: int = option(1, "processes that score, 0 = none", low=0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_workbook_name(self)
        if not self.pred_dir or not self.label_dir:
            raise UserError("score: expected two folders, PRED_DIR and LABEL_DIR")


def run(options: ScoreOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.score import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("score", argv)
