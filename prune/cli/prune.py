"""``torchvision_pruning.py``: a checkpoint in, a smaller one and a report of what was removed out."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.options import option
from prune.pruning.settings import PruneSettings


@dataclass(frozen=True)
class PruneOptions(PruneSettings):
    """Everything ``torchvision_pruning.py`` can be told."""

    model_name: str | None = option(None, "name of the pruned model; none: <model>_<criterion>_<ratio or target>")
    state_dict: str | None = option(None, "checkpoint to prune; none: the newest unpruned one in results/models")
    model: str | None = option(None, "network the checkpoint must hold; without any checkpoint: the one to build")
    data_dir: str | None = option(
        None, "data folder, or its training split; default: what the checkpoint was trained on, else the default data"
    )
    trust_pickle: bool = option(False, "read whole-module pickles; only for files you trust: they can run code")


def run(options: PruneOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.prune import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("prune", argv)
