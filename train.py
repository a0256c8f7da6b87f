"""Command line: see ``python train.py --help``."""

import sys

from prune.cli.start import script

if __name__ == "__main__":
    sys.exit(script("train"))
