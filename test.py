"""Command line: see ``python test.py --help``."""

import sys

from prune.commands.test import main
from prune.errors import run

if __name__ == "__main__":
    sys.exit(run(main))
