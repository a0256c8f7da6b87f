"""How cracks are measured; light enough for ``--help``."""

from dataclasses import dataclass

from prune.options import check, option

WIDTH_METHODS = ("auto", "mask", "profile")
"""How widths are measured: from the mask, from the probability across the line, or from the latter where it can be."""


@dataclass(frozen=True)
class MeasureSettings:
    """What counts as a crack, and how its width is measured."""

    min_length: float = option(10.0, "shorter cracks are left out, in px", low=0)
    width: str = option("auto", "auto: from the probability where it is known and falls off", choices=WIDTH_METHODS)

    def __post_init__(self) -> None:
        check(self)
