"""Command line: see ``python inference.py --help``."""

import sys

from prune.commands.inference import main
from prune.errors import run

if __name__ == "__main__":
    sys.exit(run(main))
