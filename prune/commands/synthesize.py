"""``python -m prune synthesize``: S2DS-like photographs of all seven classes, drawn from a seed."""

from collections.abc import Sequence
from pathlib import Path

from prune.config import SynthesizeConfig, parse
from prune.data.synthetic import synthesize


def main(argv: Sequence[str] | None = None) -> None:
    """Parse the command line, draw, print the summary."""
    config = parse(SynthesizeConfig, "Draw S2DS-like images and labels.", argv, "python -m prune synthesize")
    print(synthesize(Path(str(config.output)), config.images, config.size, config.seed, force=config.force))
