"""``python -m prune models``: the networks that can be trained, and what one of them consists of."""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.errors import UserError
from prune.options import check, option
from prune.progress import progress


@dataclass(frozen=True)
class ModelsOptions:
    """Options of ``python -m prune models``."""

    name: str | None = option(None, "one network; default: all", positional=True)
    summary: bool = option(False, "for one network: list every layer with output shape, parameters and MACs")
    json: bool = option(False, "print the list as JSON")
    classes: str = option("crack", "classes of the network", choices=CLASS_SETS)
    size: int = option(0, "with --summary: side of the input in px, 0 = as in its recipe", low=0)

    def __post_init__(self) -> None:
        check(self)
        if self.summary and not self.name:
            raise UserError("--summary: expected the name of one network, python -m prune models lists them")


def run(options: ModelsOptions) -> None:
    """Do the work and print the summary."""
    from prune.data.mask_files import classes_called
    from prune.models import ARCHITECTURES, architecture
    from prune.models.summary import describe, layer_table, network_table

    number = len(classes_called(options.classes))
    known = architecture(options.name) if options.name else None
    if known and options.summary:
        print(layer_table(str(options.name), number, options.size or known.size))
        return
    names = [options.name] if options.name else list(ARCHITECTURES)
    rows = [describe(name, number) for name in progress(names, "counting", "network")]
    print(json.dumps(rows, indent=1) if options.json else network_table(rows))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("models", argv)
