"""``python -m prune prepare``: any known layout in, the documented one out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from prune.cli.verbs import call
from prune.errors import UserError
from prune.options import option


@dataclass(frozen=True)
class PrepareOptions:
    """Options of ``python -m prune prepare``."""

    source: str | None = option(None, "folder with train/, val/, test/, or one split folder", positional=True)
    output: str | None = option(None, "folder to write the converted data to", positional=True, metavar="DIR")
    force: bool = option(False, "write into a folder that already contains files")

    def __post_init__(self) -> None:
        if not self.source or not self.output:
            raise UserError("prepare: expected two folders, SOURCE and OUTPUT")


def run(options: PrepareOptions) -> None:
    """Do the work and print the summary."""
    from prune.data.prepare import prepare

    print(prepare(Path(str(options.source)), Path(str(options.output)), force=options.force))


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("prepare", argv)
