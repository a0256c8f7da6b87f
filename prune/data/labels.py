"""Class sets: names, ids and colors of what is segmented, and the two ways a label file can spell them."""

from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.data.settings import PALETTES
from prune.errors import UserError
from prune.shapes import Many, check_shape

IGNORE_INDEX = 255
"""The id of pixels that count for nothing: neither loss nor score."""

STORED = {"name": str, "classes": Many(str), "colors": Many(Many(int)), "ignored_ids": Many(int)}
"""What ``ClassSet.to_dict`` gives."""
Color = tuple[int, int, int]
"""RGB, 0 to 255."""
WHITE = (255, 255, 255)
VIVID = ((255, 0, 200), (255, 128, 0), (0, 200, 255))
"""What replaces white on photographs, best first: white is hard to tell from concrete. Magenta occurs on no wall."""
APART = 120
"""Euclidean distance in RGB at which two colors count as different enough for ``VIVID``."""
OKABE_ITO: dict[str, Color] = {
    "crack": (240, 228, 66),  # yellow, the one farthest from every gray
    "spalling": (0, 114, 178),  # blue
    "corrosion": (213, 94, 0),  # vermillion
    "efflorescence": (86, 180, 233),  # sky blue
    "vegetation": (0, 158, 115),  # bluish green
    "control point": (230, 159, 0),  # orange
    "": (204, 121, 167),  # reddish purple
}
"""Colors of the palette ``colorblind`` by class name; other classes take those left over, in this order.

Source: M. Okabe and K. Ito, Color Universal Design, 2008 (https://jfly.uni-koeln.de/color/). Black is the background.
"""


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

    def recolored(self, palette: str, *, on_photograph: bool) -> "ClassSet":
        """The set with the colors it is drawn in; the only place that decides about them.

        ``standard`` keeps the set's own colors, and on photographs replaces white, which is hard to tell from concrete,
        by magenta. ``colorblind`` gives every class a color of Okabe and Ito, on photographs and in color masks alike;
        when there are more classes than colors the rest keep their own.

        Args:
            palette: One of ``prune.data.settings.PALETTES``.
            on_photograph: Whether the classes are drawn over a photograph, or else on the black of a color mask.

        Raises:
            TypeError, UserError: for anything but the name of a palette.
        """
        if not isinstance(palette, str):
            found = f"{palette!r} ({type(palette).__name__})"
            raise TypeError(f"palette: expected one of {', '.join(PALETTES)}, found {found}")
        if palette not in PALETTES:
            raise UserError(f"--palette: expected one of {', '.join(PALETTES)}, found {palette!r}")
        return _recolored(self, palette, on_photograph)

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
        """The inverse of ``to_dict``.

        Raises:
            UserError: for anything else.
        """
        check_shape(stored, STORED, "classes")
        names, colors = tuple(stored["classes"]), [tuple(color) for color in stored["colors"]]
        if not 1 <= len(names) < IGNORE_INDEX or len(set(names)) < len(names) or len(colors) != len(names):
            raise UserError(f"classes: expected 1 to 254 different names with a color each, found {len(names)}")
        if any(len(color) != 3 or not all(0 <= level <= 255 for level in color) for color in colors):
            raise UserError("classes: expected colors of three numbers from 0 to 255, found others")
        ignored = tuple(stored["ignored_ids"])
        if any(not 0 <= number <= 255 for number in ignored):
            raise UserError(f"classes: expected ignored ids from 0 to 255, found {ignored}")
        return cls(stored["name"], names, tuple((r, g, b) for r, g, b in colors), ignored)


@lru_cache(maxsize=64)
def _recolored(classes: ClassSet, palette: str, on_photograph: bool) -> ClassSet:
    if palette == "colorblind":
        named = {name.lower() for name in classes.classes}
        left = [color for name, color in OKABE_ITO.items() if name not in named]
        drawn = list(classes.colors)
        for number in classes.defect_ids:
            own = OKABE_ITO.get(classes.classes[number].lower())
            drawn[number] = own or (left.pop(0) if left else drawn[number])
        return replace(classes, colors=tuple(drawn))
    if not on_photograph or WHITE not in classes.colors[1:]:
        return classes
    others = [color for color in classes.colors[1:] if color != WHITE]
    vivid = next((color for color in VIVID if all(_distance(color, other) >= APART for other in others)), VIVID[0])
    return replace(
        classes, colors=(classes.colors[0], *(vivid if color == WHITE else color for color in classes.colors[1:]))
    )


def _distance(first: Color, second: Color) -> float:
    return float(np.linalg.norm(np.subtract(first, second)))


S2DS = ClassSet(
    name="s2ds",
    classes=("Background", "Control Point", "Vegetation", "Efflorescence", "Corrosion", "Spalling", "Crack"),
    colors=((0, 0, 0), (0, 0, 255), (0, 255, 0), (0, 255, 255), (255, 255, 0), (255, 0, 0), (255, 255, 255)),
    ignored_ids=(7, IGNORE_INDEX),
)
"""Structural Defects Dataset (Benz & Rodehorst, GCPR 2022)."""

CRACK = ClassSet("crack", ("Background", "Crack"), ((0, 0, 0), (255, 255, 255)))
"""Cracks and nothing else."""
