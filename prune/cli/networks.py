"""``python -m prune networks``: every network on one data set: trained, pruned, fine-tuned, tested, exported, tabulated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prune.cli.verbs import call
from prune.errors import PartlyDone
from prune.studies.settings import NetworksSettings


@dataclass(frozen=True)
class NetworksOptions(NetworksSettings):
    """Options of ``python -m prune networks``."""


def run(options: NetworksOptions) -> None:
    """Run every network as one study and print the table.

    Raises:
        PartlyDone: when trials failed, among them INT8 exports that do not pass their gates; the others are done.
    """
    from prune.cli.defaults import data_folder
    from prune.studies.every_network import plan_of
    from prune.studies.run import study

    plan = plan_of(replace(options, data=options.data or str(data_folder())))
    found = study(plan, jobs=options.jobs, output=options.output, force=options.force)
    print(found)
    if found.failed:
        raise PartlyDone(f"{len(found.failed)} trials failed; run the same command again to try them again")


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and run the command."""
    call("networks", argv)
