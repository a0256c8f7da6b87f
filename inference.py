"""Command line: see ``python inference.py --help``."""

import sys

from prune.cli.start import script

if __name__ == "__main__":
    sys.exit(script("inference"))
