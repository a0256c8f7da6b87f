"""``python -m prune synthesize``: S2DS-like photographs of all seven classes, drawn from a seed."""

from pathlib import Path

from prune.cli.synthesize import SynthesizeOptions
from prune.synthetic import synthesize


def run(config: SynthesizeOptions) -> None:
    """Draw and print the summary."""
    print(synthesize(Path(str(config.output)), config.images, config.size, config.seed, force=config.force))
