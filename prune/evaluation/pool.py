"""Worker processes that count while others read or predict; needs no PyTorch."""

import multiprocessing
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

from prune.errors import ctrl_c_later
from prune.metrics.image import ImageCounts


@contextmanager
def scoring_pool(workers: int) -> Iterator[Callable[..., "Future[ImageCounts]"]]:
    """Yield a ``submit(function, *arguments)`` that runs in worker processes; with 0 workers it runs at once, here.

    The processes are forked where the platform can: they only need NumPy and SciPy, which are loaded already.
    """
    if not workers:
        yield _at_once
        return
    start = "fork" if sys.platform == "linux" else "spawn"
    with ProcessPoolExecutor(workers, multiprocessing.get_context(start), _leave_ctrl_c_to_the_parent) as pool:
        try:
            with ctrl_c_later():
                pool.submit(int).result()  # forks now, before the network's threads are busy
            yield pool.submit
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def _leave_ctrl_c_to_the_parent() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _at_once(function: Callable[..., Any], *arguments: Any) -> "Future[Any]":
    future: Future[Any] = Future()
    future.set_result(function(*arguments))
    return future
