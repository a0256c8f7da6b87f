"""Trials in processes of this machine that stay alive; each keeps to its share of the cores, or to a GPU of its own."""

import os
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process

from prune.errors import ctrl_c_later, first_line
from prune.studies.kinds import Task, Work
from prune.studies.work import Outcome, perform

MOST_JOBS = 4
"""Processes by default: training one network may take 3 GiB."""
DIED = "its process was killed (out of memory?)"


def default_jobs() -> int:
    """One process per GPU, else one per core, at most ``MOST_JOBS``."""
    import torch

    return torch.cuda.device_count() or min(len(_cores()), MOST_JOBS)


def _cores() -> list[int]:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


@dataclass
class _Slot:
    """A process and what it is doing."""

    number: int
    pool: ProcessPoolExecutor
    name: str = ""
    future: "Future[Outcome] | None" = None


class LocalExecutor:
    """Runs trials in ``jobs`` processes, started when they are first needed.

    A process that dies fails the trial it was at and is replaced. Every process ends when this one does, also by kill -9.

    Args:
        jobs: Processes, 0 = ``default_jobs``.
        work: Computes the result of a task; a function of a module, because other processes import it.
    """

    def __init__(self, jobs: int, work: Work) -> None:
        self.jobs, self.work = jobs or default_jobs(), work
        self.slots: list[_Slot] = []

    def __str__(self) -> str:
        return f"{self.jobs} {'processes' if self.jobs > 1 else 'process'} on this machine"

    def room(self) -> int:
        """How many more trials it takes at the moment."""
        return self.jobs - sum(slot.future is not None for slot in self.slots)

    def submit(self, task: Task) -> None:
        """Start a trial; call it only while there is room."""
        slot = next((slot for slot in self.slots if slot.future is None), None)
        if slot is None:
            number = len(self.slots)
            slot = _Slot(number, self._process(number))
            self.slots.append(slot)
        slot.name = task["name"]
        with ctrl_c_later():  # the process starts now
            try:
                slot.future = slot.pool.submit(perform, task, self.work)
            except BrokenProcessPool:  # it died while it had nothing to do
                slot.pool = self._process(slot.number)
                slot.future = slot.pool.submit(perform, task, self.work)

    def _process(self, number: int) -> ProcessPoolExecutor:
        # Forking a process whose libraries have started threads can hang.
        return ProcessPoolExecutor(1, get_context("spawn"), _settle, (number, self.jobs))

    def wait(self, seconds: float) -> list[Outcome]:
        """Trials that ended, after at most so many seconds."""
        busy = {slot.future: slot for slot in self.slots if slot.future is not None}
        done, _ = wait(busy, seconds, FIRST_COMPLETED)
        return [self._ended(busy[future]) for future in done]

    def _ended(self, slot: _Slot) -> Outcome:
        assert slot.future is not None
        try:
            outcome = slot.future.result()
        except BrokenProcessPool:
            outcome = Outcome(slot.name, DIED)
            slot.pool.shutdown(wait=False)
            slot.pool = self._process(slot.number)
        except Exception as error:  # a result or a task that cannot be sent
            outcome = Outcome(slot.name, f"{type(error).__name__}: {first_line(error)}")
        slot.future = None
        return outcome

    def close(self) -> None:
        """End the processes; a trial in one of them is interrupted."""
        for slot in self.slots:
            processes = list((slot.pool._processes or {}).values())
            slot.pool.shutdown(wait=False, cancel_futures=True)
            if slot.future is not None:
                for process in processes:
                    process.terminate()


def _settle(number: int, jobs: int) -> None:
    """Take a share of the cores or a GPU, leave Ctrl-C to the parent, and end with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    share = _cores()[number % len(_cores()) :: jobs] or _cores()
    wished = os.environ.get("OMP_NUM_THREADS", "")
    os.environ["OMP_NUM_THREADS"] = str(
        min(len(share), int(wished)) if wished.isdigit() and int(wished) else len(share)
    )
    if jobs > 1 and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, share)
    gpus = _gpus()
    if gpus:
        os.environ["CUDA_VISIBLE_DEVICES"] = gpus[number % len(gpus)]


def _gpus() -> Sequence[str]:
    """The GPUs this process may use, as CUDA_VISIBLE_DEVICES names them; nothing of CUDA is set up."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name for name in named.split(",") if name.strip()]
    if not os.path.exists("/dev/nvidiactl"):  # noqa: PTH110 - PyTorch takes seconds to import
        return []
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
