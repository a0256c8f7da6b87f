"""``python -m prune synthesize``: S2DS-like photographs of all seven classes, drawn from a seed."""

from collections.abc import Sequence
from pathlib import Path

from prune.cli.verbs import call
from prune.config import SynthesizeConfig
from prune.synthetic import synthesize


def run(config: SynthesizeConfig) -> None:
    """Draw and print the summary."""
    print(synthesize(Path(str(config.output)), config.images, config.size, config.seed, force=config.force))


def main(argv: Sequence[str] | None = None) -> None:
    """Read the command line ``argv``, None = the process's own, and do what it says."""
    call("synthesize", argv)
