"""Errors that a user can fix, what ends a program early, and how the command line says either in one line."""

import errno
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

FLAG = re.compile(r"(?<![\w-])--(?=[a-z])")
"""The dashes that make an argument's name a flag of the command line."""
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that move a terminal's cursor, change its colors or title, turn its text around, or are none."""
DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
"""What a disk answers that takes or gives no more: full, quota used up, read-only, broken."""
NOBODY_READS = 128 + 13
"""Exit code of a program whose output no one reads any more: what a shell says of one that SIGPIPE ended."""
INTERRUPTED = 130
"""Exit code of a program that Ctrl-C or SIGTERM ended."""
AGAIN_S = 0.02
"""Seconds after which an interrupt that was lost is raised again."""


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


class CannotWrite(UserError):
    """A file or folder cannot be written: the disk is full, read-only, or it is not allowed."""


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


class _Stop:
    """What a signal does where ``signals_interrupt`` took it: it raises ``KeyboardInterrupt``, as Ctrl-C does.

    Args:
        ignored: Signals that have no effect after this one.
    """

    def __init__(self, ignored: Iterable[int]) -> None:
        self.owner, self.ignored, self.struck = os.getpid(), tuple(ignored), False

    def __call__(self, number: int, frame: object) -> None:
        if os.getpid() != self.owner:  # a worker forked inside the block
            if number == signal.SIGINT:  # the process that started it ends it; it may hold the lock of a queue now
                return
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self.struck = True
        for one in self.ignored:
            signal.signal(one, signal.SIG_IGN)
        raise KeyboardInterrupt


@contextmanager
def signals_interrupt(several: bool = False) -> Iterator[None]:
    """SIGTERM, which clusters send, raises ``KeyboardInterrupt`` inside the block, as Ctrl-C does.

    A program's own handler is left alone, and so are threads, which get no signals.

    Args:
        several: This is one of several processes, which may get a signal twice, from the terminal and from torchrun: those
            that follow the first are ignored.
    """
    import threading

    default = {signal.SIGTERM: signal.SIG_DFL} | ({signal.SIGINT: signal.default_int_handler} if several else {})
    taken: dict[int, Any] = {}
    if threading.current_thread() is threading.main_thread():
        found = {number: signal.getsignal(number) for number in default}
        taken = {n: h for n, h in found.items() if h == default[n] or isinstance(h, _Stop)}
    stop = _Stop(taken)
    for number in taken:
        signal.signal(number, stop)
    try:
        yield
    except BaseException:
        for number, handler in taken.items():
            if several:
                signal.signal(number, signal.SIG_IGN)
            elif stop.struck or signal.getsignal(number) is stop:  # else an inner block has it ignored until the end
                signal.signal(number, handler)
        raise
    for number, handler in taken.items():
        signal.signal(number, handler)


@contextmanager
def ctrl_c_later() -> Iterator[None]:
    """A Ctrl-C inside the block is raised after it, and processes that are started in it get none: their parent ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def signals_later() -> Iterator[None]:
    """A Ctrl-C or SIGTERM inside the block has its effect after it: for a moment in which things belong together.

    Blocking signals would not do: another thread takes them, and Python acts on them in the main one. Handlers of the system,
    which end the process at once, are left alone.
    """
    import threading

    if threading.current_thread() is not threading.main_thread():  # gets no signals
        yield
        return
    struck: list[int] = []
    found = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    handlers: dict[int, Any] = {number: handler for number, handler in found.items() if callable(handler)}
    try:
        for number in handlers:
            signal.signal(number, lambda number, _: struck.append(number))
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if struck:
            handlers[struck[0]](struck[0], None)


@contextmanager
def nothing_ignored() -> Iterator[None]:
    """Inside the block, a Ctrl-C that Python would drop is raised again, and nothing is printed about it.

    Python prints and drops an exception in what it calls by itself, such as ``__del__`` and the clean-up of an import.
    """
    before, again = sys.unraisablehook, []

    def hook(dropped: "sys.UnraisableHookArgs") -> None:
        if not issubclass(dropped.exc_type, KeyboardInterrupt):
            before(dropped)
            return
        import threading

        again.append(threading.Timer(AGAIN_S, os.kill, (os.getpid(), signal.SIGINT)))
        again[-1].start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for timer in again:  # one that fired after the block would end the process
            timer.cancel()
            timer.join()


def run(main: Callable[[], object]) -> int:
    """Call ``main`` and return the process's exit code: 0, 1 for a partly finished job, 2 for a user error, 130 for Ctrl-C.

    SIGTERM counts as Ctrl-C. A user error is printed as one line on stderr, never as a traceback, and so is a disk that takes
    no more. When no one reads the output any more (``… | head -1``), the program ends without a word, with 141.
    """
    try:
        try:
            return _code_of(main)
        finally:  # else Python finds out after the end, and says so
            if sys.stdout:
                sys.stdout.flush()
    except OSError as error:
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return NOBODY_READS
        if error.errno not in DISK:
            raise
        if sys.stdout and not error.filename:
            _nowhere(sys.stdout)
        return _ended(f"error: cannot write {error.filename or 'a file'}: {error.strerror}", UserError.exit_code)


def _code_of(main: Callable[[], object]) -> int:
    try:
        with signals_interrupt(), nothing_ignored():
            main()
    except UserError as error:
        return _ended(f"error: {error.message}", error.exit_code)
    except KeyboardInterrupt as interrupt:
        return _ended(str(interrupt) or "interrupted", INTERRUPTED)
    except OSError:
        raise
    except Exception as error:
        if not _was_interrupted(error):
            raise
        return _ended("interrupted", INTERRUPTED)
    return 0


def _was_interrupted(error: BaseException) -> bool:
    """Whether an error was made of a Ctrl-C: libraries that catch everything, such as openpyxl, raise another one instead."""
    context = error.__context__
    return context is not None and (isinstance(context, KeyboardInterrupt) or _was_interrupted(context))


def _nobody_reads() -> bool:
    """Whether what reads the output has gone; the rest of it goes nowhere then."""
    import select

    gone = False
    for stream in filter(None, (sys.stdout, sys.stderr)):
        with suppress(OSError, ValueError, AttributeError):  # a stream without a file, as in a notebook; Windows
            look = select.poll()
            look.register(stream.fileno(), select.POLLOUT)
            if any(state & select.POLLERR for _, state in look.poll(0)):
                gone = True
                _nowhere(stream)
    return gone


def _nowhere(stream: Any) -> None:
    """Send what is still printed to a stream nowhere."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def _ended(line: str, code: int) -> int:
    """Say why the program ends and return its exit code."""
    print(printable(line), file=sys.stderr)
    return code
