"""Some of many, evenly spread: neighboring files tend to show the same place."""

import numpy as np


def evenly_spread(count: int, most: int) -> list[int]:
    """At most ``most`` of the numbers 0 to ``count`` - 1, evenly spread, the first and the last among them."""
    if most >= count:
        return list(range(count))
    return [int(i) for i in np.linspace(0, count - 1, most).round()]
