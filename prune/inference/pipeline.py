"""Read, compute and write a sequence of items at the same time, in threads, with the results in order.

NumPy, Pillow's decoders and the runtimes release Python's lock while they work, so threads are enough.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")


@dataclass(frozen=True)
class Stage:
    """One step on the way of every item.

    Args:
        work: Gets the item, in later stages what the stage before gave.
        threads: How many items are in this stage at a time.
    """

    work: Callable[[Any], Any]
    threads: int = 1


@dataclass(frozen=True)
class Limits:
    """What may be under way at a time, between the start of an item's first stage and the use of its result.

    Args:
        items: Items.
        weight: Sum of what ``weigh`` says of them; one item may always be under way, however heavy.
        weigh: The weight of an item, such as its pixels; None = items weigh nothing.
    """

    items: int = 8
    weight: int = 0
    weigh: Callable[[Any], int] | None = None


@dataclass
class Gate(Generic[Item]):
    """Lends each of a few things to one thread at a time, and lets only so much work through at once.

    Args:
        things: What is lent, such as networks.
        weight: The sum of the weights of the work under way; one piece may always be, however heavy.
    """

    things: Sequence[Item]
    weight: int
    _under_way: int = 0
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def __post_init__(self) -> None:
        self._free = list(self.things)

    def _admits(self, weight: int) -> bool:
        return bool(self._free) and (not self._under_way or self._under_way + weight <= self.weight)

    @contextmanager
    def lent(self, weight: int) -> Iterator[Item]:
        """Wait for a free thing and for room for work of a weight of at least 1, and have the thing inside the block."""
        with self._changed:
            self._changed.wait_for(lambda: self._admits(weight))
            self._under_way += weight
            thing = self._free.pop()
        try:
            yield thing
        finally:
            with self._changed:
                self._under_way -= weight
                self._free.append(thing)
                self._changed.notify_all()


class Pipeline:
    """Threads that take items through stages; use it as a context manager.

    Leaving the block, by an exception such as Ctrl-C too, starts nothing new, waits for what is being worked on, and ends
    the threads. ``stopped`` says so to work that can be given up halfway.

    Args:
        stages: The steps, in their order.
        limits: What may be under way at a time.
    """

    def __init__(self, stages: Sequence[Stage], limits: Limits) -> None:
        self.stages = stages
        self.limits = limits
        self._stop = threading.Event()
        self._pools = [ThreadPoolExecutor(stage.threads) for stage in stages]

    def __enter__(self) -> "Pipeline":
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for pool in self._pools:
            pool.shutdown(wait=False, cancel_futures=True)
        for pool in self._pools:
            pool.shutdown()

    def stopped(self) -> bool:
        """Whether what is under way is no longer wanted."""
        return self._stop.is_set()

    def _step(self, work: Callable[[Any], Any], before: Future[Any]) -> Any:
        found = before.result()
        if self._stop.is_set():
            raise CancelledError
        return work(found)

    def _start(self, item: Any) -> Future[Any]:
        """Put an item into the queue of every stage; each stage has its own order of arrival, so none waits for a later one."""
        future: Future[Any] = Future()
        future.set_result(item)
        for stage, pool in zip(self.stages, self._pools, strict=True):
            future = pool.submit(self._step, stage.work, future)
        return future

    def __call__(self, items: Iterable[Any]) -> Iterator[Any]:
        """Results of the last stage, in the order of the items.

        An exception in a stage is raised in the place of its item's result.
        """
        under_way: deque[tuple[int, Future[Any]]] = deque()
        total = 0
        for item in items:
            weight = self.limits.weigh(item) if self.limits.weigh else 0
            while under_way and (len(under_way) >= self.limits.items or total + weight > self.limits.weight > 0):
                total -= under_way[0][0]
                yield under_way.popleft()[1].result()
            under_way.append((weight, self._start(item)))
            total += weight
        while under_way:
            yield under_way.popleft()[1].result()
