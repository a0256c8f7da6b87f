"""Command line: see ``python train.py --help``."""

import sys

from prune.commands.train import main
from prune.errors import run

if __name__ == "__main__":
    sys.exit(run(main))
