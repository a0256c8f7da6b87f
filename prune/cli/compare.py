"""``python -m prune compare``: evaluations of several networks in, one table with differences and a verdict out."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.outputs import check_workbook_name
from prune.cli.verbs import call
from prune.errors import UserError
from prune.evaluation.settings import VerdictLimits
from prune.options import check, option


@dataclass(frozen=True)
class CompareOptions(VerdictLimits):
    """Everything ``python -m prune compare`` can be told."""

    files: tuple[str, ...] = option((), "evaluations to compare, the .json files of test.py or score", positional=True)
    baseline: str | None = option(None, "the one of them the others are compared with; none: the first")
    output: str = option("results/metrics/comparison.xlsx", "workbook to write, FILE.xlsx; .json and .png go beside it")
    seed: int = option(0, "seed of the bootstrap", low=0)

    def __post_init__(self) -> None:
        check(self)
        check_workbook_name(self)
        if len(self.files) < 2:
            raise UserError(f"compare: expected at least two .json files, found {len(self.files)}")


def run(options: CompareOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.compare import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("compare", argv)
