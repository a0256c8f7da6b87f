"""The processes that train one network together, started by ``torchrun``: their ranks, what they share, and who speaks.

``torchrun`` tells them by environment variables. Without these there is one process, rank 0 of 1, and nothing here does anything.
Only functions import PyTorch: the command line asks who speaks before PyTorch is needed.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, redirect_stderr, redirect_stdout
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from prune import errors, progress
from prune.errors import UserError
from prune.hardware import choose_device

if TYPE_CHECKING:
    import torch

Value = TypeVar("Value")
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
"""What ``torchrun`` sets."""
PATIENCE_S = 5.0
"""How long a process that lost the others waits for one of them to say why; less than torchrun's 30 s before it kills."""
TIMEOUT = timedelta(hours=2)
"""How long processes wait for each other: one of them reads all labels while the others wait."""


class ProcessLost(UserError):
    """Another process of the training ended and did not say why."""

    exit_code = 1


def started() -> int:
    """How many processes ``torchrun`` started together; 1 without it."""
    return _number("WORLD_SIZE") if all(name in os.environ for name in VARIABLES) else 1


def _number(name: str) -> int:
    try:
        return int(os.environ[name])
    except ValueError:
        raise UserError(f"{name}: expected the whole number torchrun sets, found {os.environ[name]!r}") from None


def _group() -> Any:
    """``torch.distributed`` once the processes have joined, else None."""
    found = sys.modules.get("torch.distributed")
    return found if found is not None and found.is_available() and found.is_initialized() else None


def size() -> int:
    """How many processes train together, 1 before they have joined."""
    group = _group()
    return int(group.get_world_size()) if group else 1


def rank() -> int:
    """The number of this process, 0…``size()`` − 1."""
    group = _group()
    if group:
        return int(group.get_rank())
    return _number("RANK") if started() > 1 else 0


def is_first() -> bool:
    """Whether this process is the one that prints and writes."""
    return rank() == 0


def share_of_threads() -> int:
    """CPU threads of one of several processes on this machine; 0 = there is one process, which decides as ever.

    ``torchrun`` sets OMP_NUM_THREADS to 1 where it is not set, so that 1 means nothing here; another number counts.
    """
    if started() == 1:
        return 0
    wished = os.environ.get("OMP_NUM_THREADS", "")
    if wished.isdigit() and int(wished) > 1:
        return int(wished)
    return max(1, (os.cpu_count() or 1) // max(1, _number("LOCAL_WORLD_SIZE")))


def own_device(text: str) -> torch.device:
    """``choose_device``, but of several processes each gets a CUDA device of its own.

    Raises:
        UserError: when there are too few, or when one device is named for all.
    """
    chosen = choose_device(text)
    if started() == 1 or chosen.type == "cpu":
        return chosen
    if chosen.type != "cuda" or chosen.index is not None:
        raise UserError(f"--device: expected auto, cpu or cuda for several processes, found {text}")
    import torch

    there, local = torch.cuda.device_count(), _number("LOCAL_RANK")
    if local >= there:
        found = _number("LOCAL_WORLD_SIZE")
        raise UserError(f"torchrun --nproc_per_node: expected at most {there}, one per CUDA device, found {found}")
    return torch.device("cuda", local)


@contextmanager
def joined(device: torch.device) -> Iterator[None]:
    """Let the processes find each other inside the block; all but the first show nothing.

    Gloo carries what lies on CPUs, NCCL what lies on GPUs. A group that is already there is used and left as it is.

    Raises:
        UserError: when they cannot.
    """
    if started() == 1 or _group():
        with progress.shown_or_not(progress.shown() and is_first()):
            yield
        return
    import torch

    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    try:
        torch.distributed.init_process_group(backend, timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        raise UserError(f"torchrun: the {started()} processes did not meet at {where} ({error})") from error
    try:
        with progress.shown_or_not(progress.shown() and is_first()):
            yield
    except BaseException:
        if device.type == "cpu":  # closes the connections; NCCL would wait for processes that no longer answer
            torch.distributed.destroy_process_group()
        raise
    torch.distributed.destroy_process_group()


def agreed(work: Callable[[], Value]) -> Value:
    """What ``work`` gives in the first process, handed to all; a ``UserError`` is raised in all."""
    group = _group()
    if size() == 1 or not group:
        return work()
    told: list[Any] = [None]
    if is_first():
        try:
            told = [(work(), None)]
        except UserError as error:
            told = [(None, error)]
    group.broadcast_object_list(told, src=0)
    value, failure = told[0]
    if failure is not None:
        raise failure
    return value


def gathered(value: Value) -> list[Value]:
    """The values of all processes in the order of their ranks, in every process."""
    group = _group()
    if size() == 1 or not group:
        return [value]
    values: list[Any] = [None] * size()
    group.all_gather_object(values, value)
    return values


@contextmanager
def first_goes_ahead() -> Iterator[None]:
    """The other processes enter the block when the first has left it: it downloads, they find the file."""
    group = _group()
    if size() > 1 and group and not is_first():
        group.barrier()
    try:
        yield
    finally:
        if size() > 1 and group and is_first():
            group.barrier()


def signals_interrupt() -> AbstractContextManager[None]:
    """See ``prune.errors.signals_interrupt``; of several processes each may get a signal twice."""
    return errors.signals_interrupt(several=started() > 1)


@contextmanager
def first_prints() -> Iterator[None]:
    """Inside the block, what the other processes print is dropped: all read the same command line and say the same of it."""
    if is_first():
        yield
        return
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        yield


@contextmanager
def one_message() -> Iterator[None]:
    """Of several processes that end with an error, let one report it and the others exit without a word.

    An error of one process ends the others, whose connections break: they wait for it to speak first.

    Raises:
        ProcessLost: when the connections broke and no process said why.
    """
    if started() == 1:
        yield
        return
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        broken = _is_broken_connection(error)
        if not _speaks(PATIENCE_S if broken else 0.0):
            code = 130 if isinstance(error, KeyboardInterrupt) else getattr(error, "exit_code", 1)
            raise SystemExit(code) from None
        if broken:
            raise ProcessLost(
                "another process of this training ended without a message, killed perhaps: continue with --resume"
            ) from None
        raise


def _is_broken_connection(error: BaseException) -> bool:
    """Whether an error says that another process is gone; torch has no class of its own for what Gloo reports."""
    signs = ("gloo", "nccl", "connection", "killed by signal", "broken pipe")
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in signs)


def _speaks(patience: float) -> bool:
    """Whether no other process has reported an error, after ``patience`` seconds; from then on this one has.

    The processes agree by torchrun's store, which outlives them.
    """
    from torch.distributed import TCPStore

    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    name = f"prune/{attempt}/ended"
    try:
        wait = timedelta(seconds=5)
        store = TCPStore(os.environ["MASTER_ADDR"], _number("MASTER_PORT"), is_master=False, timeout=wait)
        until = time.monotonic() + patience
        while time.monotonic() < until and store.add(name, 0) == 0:
            time.sleep(0.1)
        return store.add(name, 1) == 1
    except (RuntimeError, ValueError):  # no store, or it ended with the first process
        return is_first()
