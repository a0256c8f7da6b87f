"""Command line: see ``python test.py --help``."""

import sys

from prune.cli.verbs import script

if __name__ == "__main__":
    sys.exit(script("test"))
