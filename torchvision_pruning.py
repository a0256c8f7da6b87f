"""Command line: see ``python torchvision_pruning.py --help``."""

import sys

from prune.commands.prune import main
from prune.errors import run

if __name__ == "__main__":
    sys.exit(run(main))
