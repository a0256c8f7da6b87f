"""``python -m prune inspect``: any file of a network as a card a person can read, or port to another language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.options import CHECKPOINT_FLAGS, FACTORY, TRUST_PICKLE, check, option


@dataclass(frozen=True)
class InspectOptions:
    """Everything ``python -m prune inspect`` can be told."""

    file: str | None = option(
        None,
        "checkpoint or export, a path or a name in results/models; default: the newest",
        positional=True,
        aliases=CHECKPOINT_FLAGS,
    )
    layers: bool = option(False, "list the width of every layer of a checkpoint")
    classes: str | None = option(None, "of an export made by another tool", choices=CLASS_SETS)
    trust_pickle: bool = option(False, TRUST_PICKLE)
    factory: str | None = option(None, FACTORY)

    def __post_init__(self) -> None:
        check(self)


def run(options: InspectOptions) -> None:
    """Print the card of the file that is named, else of the newest checkpoint."""
    from prune.api.inspect import inspect
    from prune.cli.inference import network_file

    how: dict[str, Any] = {"layers": options.layers, "trust_pickle": options.trust_pickle, "factory": options.factory}
    print(inspect(network_file(options.file), classes=options.classes, **how))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("inspect", argv)
