"""How many channels each group keeps: the same share everywhere, or one ranking over the network or over like parts of it.

Widths chosen by measured times are in ``prune.pruning.latency_allocation``.
"""

import math
from collections.abc import Hashable, Sequence

import torch


def rounded(width: float, round_to: int, initial: int) -> int:
    """The multiple of ``round_to`` nearest to ``width``, at least one multiple, at most the initial width.

    A layer narrower than ``round_to`` keeps its width: rounding must never remove a layer. A tie goes to the wider
    multiple; Python's own ``round`` would send every second tie the other way.
    """
    # The small push keeps a tie that floating point placed just below the middle (20 * (1 - 0.4) / 8) a tie.
    nearest = math.floor(width / round_to + 0.5 + 1e-9) * round_to
    return min(initial, max(round_to, nearest))


def local_widths(initial: Sequence[int], ratio: float, round_to: int) -> list[int]:
    """Widths after removing the share ``ratio`` (0…1) of the initial channels of every group."""
    return [rounded(width * (1 - ratio), round_to, width) for width in initial]


def global_widths(
    scores: Sequence[torch.Tensor], initial: Sequence[int], ratio: float, round_to: int, max_layer_ratio: float
) -> list[int]:
    """Widths after removing the lowest-ranked channels of the whole network.

    Channels go in ascending order of score until ``ratio`` (0…1) of all initial channels are gone; a group that has
    lost ``max_layer_ratio`` of its own keeps the rest, so that no layer disappears.

    Args:
        scores: One tensor (current channels,) per group, comparable across groups.
        initial: Channels of each group before any pruning.
        ratio: Share of all initial channels to be gone.
        round_to: Widths become multiples of this.
        max_layer_ratio: Largest share (0…1) taken from one group.
    """
    widths = [len(s) for s in scores]
    floors = [max(1, round(width * (1 - max_layer_ratio))) for width in initial]
    owners = torch.cat([torch.full((len(s),), i) for i, s in enumerate(scores)])
    goal = sum(initial) * (1 - ratio)
    for owner in owners[torch.cat(list(scores)).argsort(stable=True)].tolist():
        if sum(widths) <= goal:
            break
        if widths[owner] > floors[owner]:
            widths[owner] -= 1
    return [
        min(len(s), rounded(width, round_to, start)) for s, width, start in zip(scores, widths, initial, strict=True)
    ]


def isomorphic_widths(
    scores: Sequence[torch.Tensor],
    kinds: Sequence[Hashable],
    initial: Sequence[int],
    ratio: float,
    round_to: int,
    max_layer_ratio: float,
) -> list[int]:
    """Widths after removing the lowest-ranked channels among the groups of every kind (Fang et al. 2024, Isomorphic Pruning).

    Scores of groups with different couplings are not comparable: a residual stage is read by many layers, the inside of a
    block by one. So each kind is ranked by itself, and loses the share ``ratio`` of its own channels.

    Args:
        scores: One tensor (current channels,) per group, comparable across groups of one kind.
        kinds: What groups that are ranked together have in common, see ``prune.pruning.group.topology``.
        initial: Channels of each group before any pruning.
        ratio: Share of the initial channels of every kind to be gone.
        round_to: Widths become multiples of this.
        max_layer_ratio: Largest share (0…1) taken from one group.
    """
    widths = [0] * len(scores)
    for kind in dict.fromkeys(kinds):
        members = [i for i, other in enumerate(kinds) if other == kind]
        own = global_widths(
            [scores[i] for i in members], [initial[i] for i in members], ratio, round_to, max_layer_ratio
        )
        for i, width in zip(members, own, strict=True):
            widths[i] = width
    return widths


def widths_on_the_way(initial: Sequence[int], final: Sequence[int], share: float, round_to: int) -> list[int]:
    """Widths after the share ``share`` (0…1) of what every group is to lose; the final ones exactly at 1."""
    if share >= 1:
        return list(final)
    pairs = zip(initial, final, strict=True)
    return [max(last, rounded(start - (start - last) * share, round_to, start)) for start, last in pairs]
