"""Many photographs on their way through networks: read, segmented and finished, all at the same time."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Protocol, TypeVar

from prune.data.images import image_size
from prune.errors import UserError
from prune.inference.pipeline import Gate, Limits, Pipeline, Stage
from prune.inference.predictor import WHOLE_SIDE, Predictor
from prune.inference.replicas import Replicas

Item = TypeVar("Item")
SMALL_PIXELS = 2**20
"""Photographs of up to so many pixels keep every network busy; of larger ones fewer go through networks at a time, but
always two that go through in one piece. What is cut into tiles goes through alone."""


def gate_of(replicas: Replicas) -> Gate[Predictor]:
    """Lends the networks by the pixels of the photographs that are to go through them."""
    count = len(replicas.predictors)
    return Gate(replicas.predictors, max(2 * WHOLE_SIDE**2, count * SMALL_PIXELS))


def header_pixels(file: Path) -> int:
    """Pixels of a photograph by its header; a damaged one has none."""
    try:
        height, width = image_size(file)
    except UserError:
        return 0
    return height * width


class Steps(Protocol[Item]):
    """What happens to every item."""

    def read(self, one: Item, /) -> Item:
        """The first step: decode it."""

    def segment(self, one: Item, /) -> Item:
        """Run a network, which is borrowed from ``gate_of`` the replicas."""

    def finish(self, one: Item, /) -> Item:
        """The last step: measure, draw, write."""


def through_networks(
    items: Iterable[Item], steps: Steps[Item], replicas: Replicas, pixels: Callable[[Item], int], limit: int
) -> Iterator[Item]:
    """The items, done, in their order; reading, networks and finishing overlap.

    What comes out does not depend on the number of networks and threads, as far as the runtime's own results do not.

    Args:
        items: Photographs.
        steps: What happens to each.
        replicas: The networks.
        pixels: Of an item.
        limit: Pixels of the items that are read and not yet finished; one may be larger.
    """
    count = len(replicas.predictors)
    helpers = max(2, replicas.threads * count)
    stages = Stage(steps.read, helpers), Stage(steps.segment, count), Stage(steps.finish, helpers)
    try:
        with Pipeline(stages, Limits(count + 2 * helpers, limit, pixels)) as pipeline:
            for predictor in replicas.predictors:
                predictor.stopped = pipeline.stopped
            yield from pipeline(items)
    finally:
        for predictor in replicas.predictors:
            predictor.stopped = None  # the caller's network may be used again
