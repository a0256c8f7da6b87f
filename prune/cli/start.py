"""Where the programs begin: from here on Ctrl-C and SIGTERM end them with one line, before anything else is imported."""

import importlib
import signal
from collections.abc import Callable
from typing import Any

from prune import errors


def script(name: str) -> int:
    """Run a verb as a program of its own and return the exit code, see ``prune.errors.run``."""
    return _process(lambda: _verbs().call(name))


def program(prog: str = "prune-crackseg") -> int:
    """The console program ``prune-crackseg``, also ``python -m prune``; returns the exit code."""
    return _process(lambda: _verbs().main(prog))


def _verbs() -> Any:
    return importlib.import_module("prune.cli.verbs")


def _process(main: Callable[[], object]) -> int:
    """Run ``main``; from then on nothing is left to clean up, and a signal ends the process without a word."""
    code = errors.run(main)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    return code
