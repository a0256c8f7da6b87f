"""One damaged file after the other is read under a time and a memory limit; only ``UserError`` may come out."""

import os
import resource
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from prune.errors import UserError, first_line
from tests.fuzz.mutations import mutated
from tests.fuzz.readers import FORMATS

SECONDS = 20
"""of CPU time a case may take; a busy machine must not fail it."""
MEMORY = 2 << 30
"""Bytes a case may take beyond what the process had."""
READ, REFUSED, FAILED = "read", "refused", "failed"


@dataclass(frozen=True)
class Case:
    """What became of a damaged file: ``read``, ``refused`` with a sentence, or ``failed`` with the exception."""

    number: int
    outcome: str
    said: str = ""


class TooLong(BaseException):
    """A case took more than its time; no ``except Exception`` may hide it."""


@contextmanager
def limited() -> Iterator[None]:
    """Stop the block after ``SECONDS`` and refuse it more than ``MEMORY``."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooLong

    held = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    before = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(resource.RLIMIT_AS, (held + MEMORY, before[1]))
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, before)
        signal.signal(signal.SIGPROF, handler)


class Damaged:
    """Damaged copies of the valid file of a format.

    Args:
        name: Of the format.
        folder: To work in.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self.format = FORMATS[name]
        self.whole, self.copy = folder / "whole", folder / "copy"
        self.whole.mkdir(parents=True)
        made = self.format.make(self.whole)
        self.file, self.content = made.relative_to(self.whole), made.read_bytes()

    def check_whole(self) -> None:
        """The valid file must be read, else the cases say nothing."""
        self._read(lambda content: content)

    def _read(self, damage: Callable[[bytes], bytes]) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.whole, self.copy)
        (self.copy / self.file).write_bytes(damage(self.content))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.format.read(self.copy / self.file)

    def repaired(self, content: bytes, number: int) -> bytes:
        """Damaged content with its checksums set right, in two of three cases."""
        return self.format.repair(content) if self.format.repair and number % 3 else content

    def case(self, number: int) -> Case:
        """Read the damaged file of a case."""
        try:
            with limited():
                self._read(lambda content: self.repaired(mutated(content, number), number))
        except UserError as error:
            return Case(number, REFUSED, error.message)
        except TooLong:
            return Case(number, FAILED, f"took more than {SECONDS} s of CPU time")
        except Exception as error:
            return Case(number, FAILED, f"{type(error).__name__}: {first_line(error)} ({_place(error)})")
        return Case(number, READ)


def _place(error: BaseException) -> str:
    """Where in this program an exception came out: file and line."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}prune{os.sep}" in frame.filename] or frames
    return f"{Path(own[-1].filename).name}:{own[-1].lineno}"
