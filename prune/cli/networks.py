"""``python -m prune networks``: every network on one data set: trained, pruned, fine-tuned, tested, exported, tabulated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from prune.cli.verbs import call, run_command
from prune.studies.settings import NetworksSettings


@dataclass(frozen=True)
class NetworksOptions(NetworksSettings):
    """Options of ``python -m prune networks``."""


def run(options: NetworksOptions) -> None:
    """Run every network and print the tables."""
    from prune.cli.defaults import data_folder
    from prune.studies.networks import networks

    print(networks(replace(options, data=options.data or str(data_folder())), run_command))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and run the command."""
    call("networks", argv)
