"""``python -m prune COMMAND``: everything that is not one of the four scripts."""

import sys

from prune.cli.verbs import VERBS, call
from prune.errors import UserError, run

COMMANDS = {name: verb.description for name, verb in VERBS.items() if not verb.script}
"""What each command does, by its name."""


def main() -> None:
    """Hand the rest of the command line to the named command.

    Raises:
        UserError: for an unknown command; the message lists the known ones.
    """
    name = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if name in ("-h", "--help"):
        print("usage: python -m prune COMMAND ...\n")
        print("\n".join(f"  {command:12} {text}" for command, text in COMMANDS.items()))
        return
    if name not in COMMANDS:
        raise UserError(f"unknown command {name!r}: expected one of {', '.join(COMMANDS)}")
    call(name, sys.argv[2:])


if __name__ == "__main__":
    sys.exit(run(main))
