from collections.abc import Iterator

import pytest

from prune import progress


@pytest.fixture
def shown() -> Iterator[None]:
    """What library functions tell is printed, as on the command line."""
    progress.show()
    yield
    progress.show(False)
