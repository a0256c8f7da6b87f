"""What a network would be at any pruning ratio, known from its couplings alone: nothing is scored, nothing is lost."""

import copy

from torch import nn

from prune.models.cost import count, shapes_of
from prune.pruning.allocation import local_widths
from prune.pruning.graph import cut_to_ratio, group_channels
from prune.pruning.report import WidthRow, layer_widths


class WidthEstimate:
    """Copies of one network, cut by local allocation, and what they cost.

    Local allocation gives the same widths whatever the criterion and however many the steps.

    Args:
        model: The network; it stays as it is.
        size: Height and width in px of the input MACs are counted on.
    """

    def __init__(self, model: nn.Module, size: tuple[int, int]) -> None:
        self.model, self.size = model, size
        self.channels = group_channels(shapes_of(model))
        self._seen: dict[tuple[int, ...], tuple[tuple[int, int], list[WidthRow]]] = {}

    def widths(self, ratio: float, round_to: int) -> tuple[int, ...]:
        """Channels every group keeps at ``ratio`` percent."""
        return tuple(local_widths(self.channels, ratio / 100, round_to))

    def shrinks(self, ratio: float, round_to: int) -> bool:
        """Whether anything is removed at ``ratio`` percent."""
        return self.widths(ratio, round_to) != tuple(self.channels)

    def _known(self, ratio: float, round_to: int) -> tuple[tuple[int, int], list[WidthRow]]:
        widths = self.widths(ratio, round_to)
        if widths not in self._seen:
            shapes = shapes_of(self.model)
            if self.shrinks(ratio, round_to):
                cut_to_ratio(shapes, ratio, round_to)
            self._seen[widths] = count(shapes, self.size), layer_widths(shapes)
        return self._seen[widths]

    def counts(self, ratio: float, round_to: int) -> tuple[int, int]:
        """Parameters and MACs at ``ratio`` percent, as ``prune.models.cost.count`` gives them."""
        return self._known(ratio, round_to)[0]

    def layers(self, ratio: float, round_to: int) -> list[WidthRow]:
        """Widths of every layer at ``ratio`` percent."""
        return self._known(ratio, round_to)[1]

    def network(self, ratio: float, round_to: int) -> nn.Module:
        """A copy with weights at ``ratio`` percent, for timing; which channels are left is arbitrary."""
        model = copy.deepcopy(self.model)
        cut_to_ratio(model, ratio, round_to)
        return model
