"""``python -m prune inspect``: any network file as a summary card for readers, and for porting to another language."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from prune.cli.verbs import call
from prune.data.settings import CLASS_SETS
from prune.options import CHECKPOINT_FLAGS, FACTORY, TRUST_PICKLE, check, option


@dataclass(frozen=True)
class InspectOptions:
    """Options of ``python -m prune inspect``."""

    file: str | None = option(
        None,
        "checkpoint or export, a path or a name in results/models; default: the newest",
        positional=True,
        aliases=CHECKPOINT_FLAGS,
    )
    layers: bool = option(False, "list the width of every layer of a checkpoint")
    classes: str | None = option(None, "classes of an export made by another tool", choices=CLASS_SETS)
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
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("inspect", argv)
