"""Errors that a user can fix, and how the command line turns them into one line and an exit code."""

import re
import sys
from collections.abc import Callable

FLAG = re.compile(r"(?<![\w-])--(?=[a-z])")
"""The dashes that make an argument's name a flag of the command line."""
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a terminal's cursor, change its colors or title, turn its text around, or are none."""


class UserError(Exception):
    """A mistake the user can fix: the message is one line saying what was expected and what was found.

    It is written with the flags of the command line, ``--lr: expected at least 0``; Python callers see the
    name of the argument, ``lr: expected at least 0``.
    """

    exit_code = 2

    @property
    def message(self) -> str:
        """The message as the command line prints it; use it to quote one error in another."""
        return " ".join(" ".join(map(str, self.args)).split())

    def __str__(self) -> str:
        return FLAG.sub("", self.message)


class TrainingDiverged(UserError):
    """The loss stopped being a number; the last good checkpoint is kept."""

    exit_code = 3


class PartlyDone(UserError):
    """Some of many files could not be processed; the others were."""

    exit_code = 1


def printable(text: str) -> str:
    """A text as it may be printed: characters that a terminal would obey are spelled out.

    Names of files and classes come from strangers.
    """
    return UNPRINTABLE.sub(lambda found: ascii(found[0])[1:-1], text)


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, at most 160 characters, or its type when it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def run(main: Callable[[], object]) -> int:
    """Call ``main`` and return the process's exit code: 0, 1 for a partly finished job, 2 for a user error, 130 for Ctrl-C.

    A user error is printed as one line on stderr, never as a traceback.
    """
    try:
        main()
    except UserError as error:
        print(f"error: {printable(error.message)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print(printable(str(interrupt)) or "interrupted", file=sys.stderr)
        return 130
    return 0
