"""``python -m prune VERB``, the same as ``prune-crackseg VERB``."""

import sys

from prune.cli.start import program

if __name__ == "__main__":
    sys.exit(program("python -m prune"))
