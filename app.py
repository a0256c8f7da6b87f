"""Command line: see ``python app.py --help``."""

import sys

from prune.cli.start import script

if __name__ == "__main__":
    sys.exit(script("app"))
