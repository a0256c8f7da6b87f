"""``python -m prune inspect``: a checkpoint as a card a person can read."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.options import option


@dataclass(frozen=True)
class InspectOptions:
    """Everything ``python -m prune inspect`` can be told."""

    file: str | None = option(None, "checkpoint, a path or a name in results/models; none: the newest", positional=True)
    layers: bool = option(False, "list the width of every layer")
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")


def run(options: InspectOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.inspect import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("inspect", argv)
