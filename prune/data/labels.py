"""Class sets: names, ids and colors of what is segmented, and the two ways a label file can spell them."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

IGNORE_INDEX = 255
"""The id of pixels that count for nothing: neither loss nor score."""


@dataclass(frozen=True)
class ClassSet:
    """An ordered set of classes; the position of a class is its id in every array of this project.

    Args:
        name: What the set is called, for example ``s2ds``.
        classes: Class names, index = id.
        colors: One RGB triple (0-255) per class, for color labels and drawings.
        ignored_ids: Ids a label file may contain that mean "do not score"; all become ``IGNORE_INDEX``.
    """

    name: str
    classes: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    ignored_ids: tuple[int, ...] = (IGNORE_INDEX,)

    def __len__(self) -> int:
        return len(self.classes)

    @cached_property
    def palette(self) -> NDArray[np.uint8]:
        """Colors as uint8 (C, 3), RGB."""
        return np.array(self.colors, dtype=np.uint8)

    @cached_property
    def defect_ids(self) -> tuple[int, ...]:
        """Ids of everything that is not background (id 0)."""
        return tuple(range(1, len(self)))

    def index(self, name: str) -> int | None:
        """The id of the class called ``name`` (case is ignored), or None when the set has no such class."""
        lowered = [c.lower() for c in self.classes]
        return lowered.index(name.lower()) if name.lower() in lowered else None

    def colorize(self, class_map: NDArray[np.integer]) -> NDArray[np.uint8]:
        """Turn a class map (H, W) into its RGB picture uint8 (H, W, 3); ignored pixels become mid gray."""
        table = np.full((256, 3), 128, dtype=np.uint8)
        table[: len(self)] = self.palette
        return table.take(class_map, axis=0)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists and strings, as stored in a checkpoint."""
        return {
            "name": self.name,
            "classes": list(self.classes),
            "colors": [list(c) for c in self.colors],
            "ignored_ids": list(self.ignored_ids),
        }

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "ClassSet":
        """The inverse of ``to_dict``."""
        return cls(
            name=stored["name"],
            classes=tuple(stored["classes"]),
            colors=tuple((int(r), int(g), int(b)) for r, g, b in stored["colors"]),
            ignored_ids=tuple(stored["ignored_ids"]),
        )


S2DS = ClassSet(
    name="s2ds",
    classes=("Background", "Control Point", "Vegetation", "Efflorescence", "Corrosion", "Spalling", "Crack"),
    colors=((0, 0, 0), (0, 0, 255), (0, 255, 0), (0, 255, 255), (255, 255, 0), (255, 0, 0), (255, 255, 255)),
    ignored_ids=(7, IGNORE_INDEX),
)
"""Structural Defects Dataset (Benz & Rodehorst, GCPR 2022)."""

CRACK = ClassSet("crack", ("Background", "Crack"), ((0, 0, 0), (255, 255, 255)))
"""Cracks and nothing else."""
