"""Command line: see ``python torchvision_pruning.py --help``."""

import sys

from prune.cli.verbs import script

if __name__ == "__main__":
    sys.exit(script("prune"))
