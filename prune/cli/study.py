"""``python -m prune study``: one dense network, pruned by several criteria, each fine-tuned with the same budget, tested."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prune.cli.verbs import call, run_command
from prune.studies.settings import StudySettings


@dataclass(frozen=True)
class StudyOptions(StudySettings):
    """Everything ``python -m prune study`` can be told."""


def run(options: StudyOptions) -> None:
    """Run the study and print the tables."""
    from prune.cli.defaults import data_folder
    from prune.studies.study import study

    print(study(replace(options, data=options.data or str(data_folder())), run_command))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("study", argv)
