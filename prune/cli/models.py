"""``python -m prune models``: the networks that can be trained, and what one of them consists of."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.errors import UserError
from prune.options import check, option


@dataclass(frozen=True)
class ModelsOptions:
    """Everything ``python -m prune models`` can be told."""

    name: str | None = option(None, "one network; none: all", positional=True)
    summary: bool = option(False, "of one network: every layer with output shape, parameters and MACs")
    json: bool = option(False, "print the list for programs")
    classes: str = option("crack", "what the network shall tell apart", choices=CLASS_SETS)
    size: int = option(0, "of the summary: side of the input in px, 0 = of its recipe", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.summary and not self.name:
            raise UserError("--summary: expected the name of one network, python -m prune models lists them")


def run(options: ModelsOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.models import run as work

    work(options)


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("models", argv)
