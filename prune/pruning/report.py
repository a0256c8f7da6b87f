"""The result of pruning, as a table for readers and plain values for programs."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from torch import nn

from prune.pruning.target_search import DivisorTable, TargetSearchResult
from prune.tables import write_csv

WidthRow = tuple[str, str, int, int]


def layer_widths(model: nn.Module) -> list[WidthRow]:
    """Name, kind, input and output channels of every convolution and linear layer, in the network's order."""
    rows = []
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            kind = ("conv " if isinstance(module, nn.Conv2d) else "transposed conv ") + "x".join(
                map(str, module.kernel_size)
            )
            rows.append((name, kind, module.in_channels, module.out_channels))
        elif isinstance(module, nn.Linear):
            rows.append((name, "linear", module.in_features, module.out_features))
    return rows


@dataclass(frozen=True)
class LayerWidth:
    """Channels of one layer before and after."""

    name: str
    kind: str
    in_before: int
    in_after: int
    out_before: int
    out_after: int

    @classmethod
    def between(cls, before: WidthRow, after: WidthRow) -> "LayerWidth":
        """Join the rows of ``layer_widths`` of the same layer before and after."""
        return cls(before[0], before[1], before[2], after[2], before[3], after[3])

    @classmethod
    def unchanged(cls, name: str, kind: str, inputs: int, outputs: int) -> "LayerWidth":
        """A layer that kept its width."""
        return cls(name, kind, inputs, inputs, outputs, outputs)

    @property
    def shrank(self) -> bool:
        """Whether it lost input or output channels."""
        return (self.in_after, self.out_after) != (self.in_before, self.out_before)


@dataclass(frozen=True)
class NetworkCost:
    """Size and speed of a network at inference: counts without auxiliary head, file size with it.

    ``channels`` is the sum of the output channels of all layers; ``latency_ms`` is None when it was not measured.
    """

    channels: int
    parameters: int
    macs: int
    file_mib: float
    latency_ms: float | None


@dataclass
class PruningReport:
    """The pruning of one network."""

    settings: dict[str, Any]
    before: NetworkCost
    after: NetworkCost
    layers: list[LayerWidth]
    cost_size: tuple[int, int]
    latency_conditions: str = ""
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    budget: TargetSearchResult | None = None
    divisors: DivisorTable | None = None

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Quantity, before, after and change in percent."""
        quantities: Sequence[tuple[str, str, float, str]] = (
            ("channels", "channels", 1, ",.0f"),
            ("parameters M", "parameters", 1e6, ".2f"),
            (f"MACs G at {self.cost_size[1]}x{self.cost_size[0]}", "macs", 1e9, ".2f"),
            ("file MiB", "file_mib", 1, ".1f"),
            ("latency ms", "latency_ms", 1, ".0f"),
        )
        rows = []
        for title, name, unit, style in quantities:
            old, new = getattr(self.before, name), getattr(self.after, name)
            if old is not None and new is not None:
                rows.append((title, format(old / unit, style), format(new / unit, style), f"{new / old - 1:+.1%}"))
        return rows

    def headline(self) -> str:
        """Criterion, ratio, allocation, steps and rounding in one line."""
        settings = self.settings
        return (
            f"{settings['criterion']}, pruning ratio {settings['pruning_ratio']:g}% of channels, "
            f"{settings['allocation']}, {settings['iterative_steps']} step(s), widths in multiples of {settings['round_to']}"
        )

    def __str__(self) -> str:
        rows = [("", "before", "after", "change"), *self.rows()]
        widths = [max(len(row[i]) for row in rows) for i in range(4)]
        lines = ["  ".join([r[0].ljust(widths[0]), *(r[i].rjust(widths[i]) for i in (1, 2, 3))]) for r in rows]
        shrunk = sum(layer.shrank for layer in self.layers)
        tail = f"{shrunk} of {len(self.layers)} layers shrank, {self.seconds:.0f} s"
        target = [str(self.budget)] if self.budget else []
        conditions = [self.latency_conditions] if self.latency_conditions else []
        return "\n".join([self.headline(), *target, *lines, *conditions, tail, *self.notes])

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        found = {
            name: value and value.to_json() for name, value in (("budget", self.budget), ("divisors", self.divisors))
        }
        return asdict(self) | found

    def write_csv(self, path: Path) -> Path:
        """Write the width of every layer before and after, one line each."""
        names = [field.name for field in fields(LayerWidth)]
        return write_csv(names, [[getattr(layer, name) for name in names] for layer in self.layers], path)
