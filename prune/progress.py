"""Messages and progress bars, shown by the command line and silent in a library call.

``show(True)`` turns them on for everything that follows, in a notebook for example. Bars appear on terminals only and where
tqdm is installed; an edge device does without.
"""

import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from prune.errors import printable

Item = TypeVar("Item")
_shown = False


def show(on: bool = True) -> None:
    """Turn messages and progress bars of library functions on or off."""
    global _shown
    _shown = on


@contextmanager
def shown_or_not(on: bool) -> Iterator[None]:
    """Turn messages and progress bars on or off inside the block."""
    before = _shown
    show(on)
    try:
        yield
    finally:
        show(before)


def shown() -> bool:
    """Whether anything is shown."""
    return _shown


def say(label: str, text: object) -> None:
    """Print ``label`` and ``text`` as one line, when shown; an empty label continues the line before."""
    if _shown:
        print(printable(f"{label:8} {text}".rstrip()), flush=True)


def tell(text: str) -> None:
    """Print ``text`` as it is, when shown."""
    if _shown:
        print(printable(text), flush=True)


def progress(items: Iterable[Item], label: str, unit: str = "image", total: int | None = None) -> Iterable[Item]:
    """Yield the items with a progress bar; ``total`` = their number, where ``items`` has no length."""
    if not _bars():
        return items
    from tqdm import tqdm

    return tqdm(items, desc=label, unit=unit, total=total, leave=False)


class Bar:
    """A progress bar that is advanced by hand, with the few methods of tqdm that are needed; does nothing when none is shown."""

    def __init__(self, **options: Any) -> None:
        self._bar: Any = None
        if _bars():
            from tqdm import tqdm

            self._bar = tqdm(**options)

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def update(self, number: int = 1, description: str = "", **values: Any) -> None:
        """Move it on; ``values`` are shown behind it."""
        if self._bar is not None:
            self._bar.update(number)
            if description:
                self._bar.set_description(description, refresh=False)
            if values:
                self._bar.set_postfix(refresh=False, **values)

    def write(self, text: str) -> None:
        """Print a line above the bar, when anything is shown."""
        if self._bar is not None:
            self._bar.write(printable(text))
        else:
            tell(text)

    def close(self) -> None:
        """Remove it."""
        if self._bar is not None:
            self._bar.close()


def _bars() -> bool:
    if not _shown or not sys.stderr.isatty():
        return False
    try:
        import tqdm  # noqa: F401
    except ImportError:
        return False
    return True
