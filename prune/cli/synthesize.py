"""``python -m prune synthesize``: photographs of damaged concrete or asphalt with labels, drawn from a seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from prune.cli.verbs import call
from prune.errors import UserError
from prune.options import SURFACES, check, option


@dataclass(frozen=True)
class SynthesizeOptions:
    """Options of ``python -m prune synthesize``."""

    output: str | None = option(None, "folder for the images", positional=True, metavar="DIR")
    images: int = option(60, "total number of images in all splits")
    size: int = option(192, "side of the square images in px")
    seed: int = option(0, "random seed; the same seed gives the same bytes", low=0)
    surface: str = option("concrete", "what the damage is on; asphalt has cracks only", choices=SURFACES)
    force: bool = option(False, "overwrite an earlier set")

    def __post_init__(self) -> None:
        check(self)
        if not self.output:
            raise UserError("synthesize: expected a folder to write to, found none")


def run(options: SynthesizeOptions) -> None:
    """Do the work and print the summary."""
    from prune.api.synthesize import synthesize

    result = synthesize(
        str(options.output),
        images=options.images,
        size=options.size,
        seed=options.seed,
        surface=options.surface,
        force=options.force,
    )
    print(result)


def main(argv: Sequence[str] | None = None) -> None:
    """Parse ``argv`` (None = the process's own arguments) and run the command."""
    call("synthesize", argv)
