"""What goes wrong on the user's side, and the one place that turns it into a line and an exit code."""

import sys
from collections.abc import Callable


class UserError(Exception):
    """A mistake the user can fix: the message is one line saying what was expected and what was found."""

    exit_code = 2


class TrainingDiverged(UserError):
    """The loss stopped being a number; the last good checkpoint is kept."""

    exit_code = 3


class PartlyDone(UserError):
    """Some of many files could not be done; the others were."""

    exit_code = 1


def first_line(error: BaseException) -> str:
    """The first line of an exception's message, at most 160 characters, or its type when it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:160]


def run(main: Callable[[], object]) -> int:
    """Call ``main`` and return the process's exit code: 0, 1 for a job partly done, 2 for a user's mistake, 130 for Ctrl-C.

    A user's mistake is printed as one line on stderr, never as a traceback.
    """
    try:
        main()
    except UserError as error:
        message = " ".join(str(error).split())
        print(f"error: {message}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as interrupt:
        print(str(interrupt) or "interrupted", file=sys.stderr)
        return 130
    return 0
