"""``python -m prune compare``: evaluations of several networks in, one table with differences and a verdict out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.outputs import FORCE, check_workbook_name, require_same_networks
from prune.cli.verbs import call
from prune.errors import UserError
from prune.evaluation.settings import CompareSettings
from prune.files import METRICS
from prune.options import fields_of, option


@dataclass(frozen=True)
class CompareOptions(CompareSettings):
    """Options of ``python -m prune compare``."""

    files: tuple[str, ...] = option(
        (), "evaluations to compare: .json files written by test.py or score", positional=True
    )
    baseline: str | None = option(
        None, "the evaluation that the others are compared with; default: the first", metavar="FILE"
    )
    output: str = option(
        "results/metrics/comparison.xlsx",
        "workbook to write, FILE.xlsx; .json and .png files are written beside it",
        metavar="FILE",
    )
    force: bool = option(False, FORCE)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_workbook_name(self)
        if len(self.files) < 2:
            raise UserError(f"compare: expected at least two .json files, found {len(self.files)}")


def find_evaluation(name: str) -> Path:
    """The JSON file of an evaluation: a path, or a bare name looked up in ``results/metrics``.

    Raises:
        UserError: when no such file exists.
    """
    candidates = [Path(name), METRICS / name, METRICS / f"{name}.json"]
    found = next((path for path in candidates if path.is_file()), None)
    if found is None:
        raise UserError(f"evaluation {name} not found (looked for {', '.join(map(str, candidates))})")
    return found.with_suffix(".json") if found.suffix == ".xlsx" else found


def run(options: CompareOptions) -> None:
    """Compare and print the table."""
    from prune.api.compare import compare

    files = [find_evaluation(name) for name in options.files]
    baseline = find_evaluation(options.baseline) if options.baseline else None
    if not options.force:
        require_same_networks(Path(options.output), files)
    settings = fields_of(CompareSettings, options)
    print(compare(files, baseline=baseline, workbook=options.output, **settings))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("compare", argv)
