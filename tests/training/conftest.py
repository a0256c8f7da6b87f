from collections.abc import Callable, Iterator

import pytest

from prune import progress
from prune.training import loop as fit


@pytest.fixture
def shown() -> Iterator[None]:
    """What library functions tell is printed, as on the command line."""
    progress.show()
    yield
    progress.show(False)


@pytest.fixture
def stop_in_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Ctrl-C in the epoch of that number, counted from the next one; 0 = never again."""
    real, left = fit.train_one_epoch, [0]

    def interrupted(*arguments: object) -> float:
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(*arguments)  # type: ignore[arg-type]

    def stop(number: int) -> None:
        left[0] = number

    monkeypatch.setattr(fit, "train_one_epoch", interrupted)
    return stop
