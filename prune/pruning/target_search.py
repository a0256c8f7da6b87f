"""Pruning to a target: the channel ratio at which a network meets its budget, as functions of ``cost(ratio)``."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from prune.errors import UserError

CostAtRatio = Callable[[float], float]
"""What the network costs at a pruning ratio in percent."""

TOLERANCES = {"macs": 0.03, "params": 0.03, "latency_ms": 0.10}
"""How far from the target counts as hit, as a share of it."""
UNITS = {"macs": "MACs", "params": "parameters", "latency_ms": "ms"}
GRID = 100
"""Ratios searched per percent where the cost is exact."""
CLOSE = 0.001
"""Share of the target within which an exact cost ends the search."""
TRIES = 7
"""Bisections of a measured cost: the last tells ratios apart that differ by less than a percent."""
VERIFICATIONS = 3
"""How many ratios may be measured a second time before the best known is taken."""


@dataclass(frozen=True)
class CostTarget:
    """What a pruned network may cost.

    Args:
        quantity: A key of ``UNITS``.
        flag: What the user typed, for messages.
        value: MACs, parameters or ms.
    """

    quantity: str
    flag: str
    value: float

    @property
    def tolerance(self) -> float:
        """How far from it counts as hit, as a share of it."""
        return TOLERANCES[self.quantity]

    def spell(self, value: float) -> str:
        """``value`` with its unit, as ``12.5 G MACs``."""
        for unit, letter in ((1e12, "T "), (1e9, "G "), (1e6, "M "), (1e3, "k ")):
            if value >= unit and self.quantity != "latency_ms":
                return f"{value / unit:.4g} {letter}{UNITS[self.quantity]}"
        return f"{value:{'.4g' if value < 1000 else '.0f'}} {UNITS[self.quantity]}"


@dataclass(frozen=True)
class FoundRatio:
    """A pruning ratio in percent, what it costs, and every ratio that was tried, in order, with its cost."""

    ratio: float
    value: float
    tried: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class TargetSearchResult:
    """What was asked for and what was reached; ``limit`` says what kept the search from coming closer."""

    target: CostTarget
    reached: float
    ratio: float
    limit: str
    runtime: str | None = None
    tried: tuple[tuple[float, float], ...] = ()

    @property
    def miss_percent(self) -> float:
        """How far the reached value lies above (+) or below (−) the target."""
        return 100 * (self.reached / self.target.value - 1)

    @property
    def hit(self) -> bool:
        """Whether that is within the tolerance."""
        return abs(self.miss_percent) <= 100 * self.target.tolerance

    def sentence(self) -> str:
        """What was asked for and what was reached, in one line."""
        target, on = self.target, f" on {self.runtime}" if self.runtime else ""
        return (
            f"{target.flag} ({target.spell(target.value)}): reached {target.spell(self.reached)}{on}, "
            f"{self.miss_percent:+.1f}%, at pruning ratio {self.ratio:g}%"
        )

    def __str__(self) -> str:
        return f"target   {self.sentence()}"

    def notes(self) -> list[str]:
        """A sentence when the target was missed, else none."""
        if self.hit:
            return []
        target = self.target
        return [
            f"target missed by {self.miss_percent:+.1f}%: {target.spell(self.reached)} is the closest to "
            f"{target.spell(target.value)} {self.limit}"
        ]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        return {
            **asdict(self.target),
            "reached": self.reached,
            "miss_percent": round(self.miss_percent, 3),
            "hit": self.hit,
            "tolerance_percent": 100 * self.target.tolerance,
            "ratio": self.ratio,
            "runtime": self.runtime,
            "tried": [{"ratio": ratio, "value": value} for ratio, value in self.tried],
        }


def first_ratio(reached: Callable[[float], bool], top: float) -> float | None:
    """The smallest ratio on the grid, 0 to ``top``, for which the monotone condition ``reached`` holds; None: none."""
    low, high = -1, round(top * GRID)
    if not reached(high / GRID):
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if reached(middle / GRID) else (middle, high)
    return high / GRID


def _check_below(target: CostTarget, dense: float) -> None:
    if target.value >= dense:
        raise UserError(
            f"{target.flag}: expected less than the unpruned network's {target.spell(dense)}, "
            f"found {target.spell(target.value)}: nothing to prune"
        )


def _check_reachable(target: CostTarget, least: float, dense: float, bound: str, limit: str) -> None:
    if least > target.value * (1 + target.tolerance):
        raise UserError(
            f"{target.flag}: expected at least {target.spell(least)} ({least / dense:.1%} of the unpruned network), the "
            f"smallest that {bound} reaches{limit}, found {target.spell(target.value)}"
        )


def search(cost: CostAtRatio, target: CostTarget, top: float, limit: str = "") -> FoundRatio:
    """The ratio whose exact cost is closest to the target, or within ``CLOSE`` of it.

    Halving alternates with a guess that the cost is quadratic in the kept share, which saves most evaluations.

    Args:
        cost: Never rises with the ratio; it may be a staircase.
        target: What is wanted.
        top: Largest ratio to take, in percent.
        limit: What else bounds the cost, for the message, as " with --round_to 8".

    Raises:
        UserError: when the target is not below the cost at ratio 0, or cannot be reached.
    """
    known: dict[float, float] = {}

    def look(ratio: float) -> float:
        if ratio not in known:
            known[ratio] = cost(ratio)
        return known[ratio]

    dense = look(0)
    _check_below(target, dense)
    _check_reachable(target, look(round(top * GRID) / GRID), dense, f"--max_pruning_ratio {top:g}", limit)
    low, high, halve = 0, round(top * GRID), False
    while look(high / GRID) < target.value < look(low / GRID) and high - low > 1:
        middle = (low + high) // 2 if halve else _interpolated(look, target, low, high)
        low, high = (low, middle) if look(middle / GRID) <= target.value else (middle, high)
        halve = not halve
        if abs(look(middle / GRID) / target.value - 1) <= CLOSE and look(middle / GRID) < dense:
            break
    shrinking = [ratio for ratio in known if known[ratio] < dense]
    best = min(shrinking, key=lambda ratio: (abs(known[ratio] - target.value), ratio))
    return FoundRatio(best, known[best], tuple(known.items()))


def _interpolated(look: CostAtRatio, target: CostTarget, low: int, high: int) -> int:
    """The grid point between ``low`` and ``high`` where a cost that is a square of the kept share meets the target."""
    above, goal, below = (math.sqrt(value) for value in (look(low / GRID), target.value, look(high / GRID)))
    middle = round(low + (high - low) * (above - goal) / (above - below))
    return min(max(middle, low + 1), high - 1)


class _Measurements:
    """Measured costs by ratio: the median of all that were taken of it."""

    def __init__(self, cost: CostAtRatio, target: CostTarget) -> None:
        self.cost, self.target = cost, target
        self.values: dict[float, list[float]] = {}
        self.order: list[tuple[float, float]] = []

    def take(self, ratio: float) -> float:
        """Measure once more; returns the median."""
        value = self.cost(ratio)
        self.order.append((ratio, value))
        self.values.setdefault(ratio, []).append(value)
        return self.median(ratio)

    def median(self, ratio: float) -> float:
        return statistics.median(self.values[ratio])

    def miss(self, ratio: float) -> float:
        return abs(self.median(ratio) / self.target.value - 1)


def _bisect(seen: _Measurements, low: float, high: float) -> None:
    """Measure ratios between ``low`` and ``high`` until one is close to the target in two measurements."""
    target = seen.target
    for _ in range(TRIES):
        ratio = round((low + high) / 2, 2)
        if ratio in seen.values:
            return
        value, close = seen.take(ratio), target.tolerance / 2
        if seen.miss(ratio) <= close:
            value = seen.take(ratio)
            if seen.miss(ratio) <= close:
                return
        low, high = (ratio, high) if value > target.value else (low, ratio)


def search_measured(
    cost: CostAtRatio, target: CostTarget, bottom: float, top: float, limit: str = "", bound: str = ""
) -> FoundRatio:
    """The ratio whose measured cost is closest to the target, with few measurements.

    A measurement is noisy and need not fall with the ratio everywhere, so bisection only proposes ratios: the best of
    all measured is measured again, and given up for the next best when the second measurement disagrees.

    Args:
        cost: Measures; called up to 4 + 2 * ``TRIES`` + ``VERIFICATIONS`` times, mostly half of that.
        target: What is wanted.
        bottom: Smallest ratio that removes anything, in percent.
        top: Largest ratio to take, in percent.
        limit: What else bounds the cost, for the message.
        bound: The setting that ``top`` follows from, empty = ``--max_pruning_ratio``.

    Raises:
        UserError: when the target is not below the cost at ratio 0, or cannot be reached, by the median of two.
    """
    dense, seen = cost(0), _Measurements(cost, target)
    if target.value >= dense:
        dense = statistics.median((dense, cost(0)))
    _check_below(target, dense)
    if seen.take(top) > target.value * (1 + target.tolerance):
        seen.take(top)
    _check_reachable(target, seen.median(top), dense, bound or f"--max_pruning_ratio {top:g}", limit)
    _bisect(seen, bottom, top)
    for _ in range(VERIFICATIONS):
        best = min(seen.values, key=seen.miss)
        if len(seen.values[best]) > 1:
            break
        seen.take(best)
    best = min((ratio for ratio, values in seen.values.items() if len(values) > 1), key=seen.miss)
    return FoundRatio(best, seen.median(best), ((0.0, dense), *seen.order))


def medians_in_turns(measures: Mapping[int, Callable[[], float]], rounds: int = 3) -> dict[int, float]:
    """Median of ``rounds`` calls of every measure, measured in interleaved runs, so that noise affects all of them alike."""
    times: dict[int, list[float]] = {key: [] for key in measures}
    for _ in range(rounds):
        for key, measure in measures.items():
            times[key].append(measure())
    return {key: statistics.median(values) for key, values in times.items()}


@dataclass(frozen=True)
class DivisorTiming:
    """Divisors of ``--round_to`` that give the same widths, and what those cost."""

    divisors: tuple[int, ...]
    macs: int
    latency_ms: float

    def cells(self) -> tuple[str, str, str]:
        """Divisors, MACs in G and ms, as the table shows them."""
        return ", ".join(map(str, self.divisors)), f"{self.macs / 1e9:.3f}", f"{self.latency_ms:.2f}"


@dataclass(frozen=True)
class DivisorTable:
    """What ``--round_to auto`` measured."""

    runtime: str
    ratio: float
    rows: Sequence[DivisorTiming]

    @property
    def fastest(self) -> int:
        """The smallest divisor of the fastest row: it forbids least."""
        return min(min(self.rows, key=lambda row: row.latency_ms).divisors)

    def text(self) -> str:
        """Runtime, table and choice, several lines."""
        lines = [f"{self.runtime} at pruning ratio {self.ratio:g}%, medians of interleaved runs"]
        cells = [("round_to", "MACs G", "ms"), *(row.cells() for row in self.rows)]
        widths = [max(len(row[i]) for row in cells) for i in range(3)]
        lines += ["  ".join(text.rjust(width) for text, width in zip(row, widths, strict=True)) for row in cells]
        return "\n".join([*lines, f"chosen: --round_to {self.fastest}"])

    def __str__(self) -> str:
        return f"round_to auto: {self.text()}"

    def to_json(self) -> dict[str, Any]:
        """Everything as plain values."""
        rows = [asdict(row) for row in self.rows]
        return {"runtime": self.runtime, "ratio": self.ratio, "fastest": self.fastest, "rows": rows}
