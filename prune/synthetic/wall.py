"""The wall while it is being drawn: what color and how high each point is, and what it is labeled."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import S2DS
from prune.synthetic.noise import Field, Noise, Rng

Mask = NDArray[np.bool_]
"""bool (H, W)."""
Color = NDArray[np.float32]
"""RGB in 0…1, float32 (H, W, 3), or (3,) for one color."""
Center = tuple[float, float]
"""Row and column as fractions of the image side."""


def rgb(red: float, green: float, blue: float) -> Color:
    """One color, each channel in 0…1."""
    return np.array([red, green, blue], dtype=np.float32)


@dataclass(frozen=True)
class Wall:
    """A wall, or a rectangular part of one that shares its arrays: painting a part paints the wall.

    Color and height are kept apart and lit only at the end, so that everything on a wall is lit from one side.

    Args:
        rng: Source of everything random.
        noise: Bank of noise fields.
        side: Side of the whole image in px, the measure of every size, also in a part.
        origin: Row and column in px of the part's first pixel.
        albedo: Color without light, float32 (H, W, 3), RGB in 0…1.
        height: Height above the bare wall in px, float32 (H, W).
        label: Class ids, uint8 (H, W).
    """

    rng: Rng
    noise: Noise
    side: int
    origin: tuple[int, int]
    albedo: Color
    height: Field
    label: NDArray[np.uint8]

    @classmethod
    def blank(cls, rng: Rng, side: int) -> "Wall":
        """A flat white wall of ``side`` px without anything on it."""
        shape = (side, side)
        albedo = np.ones((*shape, 3), dtype=np.float32)
        height, label = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.uint8)
        return cls(rng, Noise(rng, side), side, (0, 0), albedo, height, label)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of this part in px."""
        return self.height.shape[0], self.height.shape[1]

    def part(self, center: Center, reach: float, below: float = 0.0) -> "Wall":
        """The part within ``reach`` of ``center``, and ``below`` further down; both are fractions of the side."""
        top, bottom = (center[0] - reach) * self.side, (center[0] + reach + below) * self.side
        left, right = (center[1] - reach) * self.side, (center[1] + reach) * self.side
        top, left = max(0, int(top)), max(0, int(left))
        view = np.s_[top : max(top + 4, int(bottom) + 1), left : max(left + 4, int(right) + 1)]
        arrays = self.albedo[view], self.height[view], self.label[view]
        return Wall(self.rng, self.noise, self.side, (top, left), *arrays)

    def offsets(self, center: Center) -> tuple[Field, Field]:
        """Rows below and columns right of ``center`` of every pixel, as fractions of the side."""
        rows, columns = np.indices(self.shape, dtype=np.float32)
        down: Field = (rows + np.float32(self.origin[0])) / np.float32(self.side) - np.float32(center[0])
        right: Field = (columns + np.float32(self.origin[1])) / np.float32(self.side) - np.float32(center[1])
        return down, right

    def blob(self, center: Center, radius: float, wildness: float, stretch: float = 1.0) -> Field:
        """An irregular patch, float32 (H, W): 1 at its center, 0 on its outline, negative outside.

        It ends within twice the radius, so that a part of that reach holds all of it.

        Args:
            center: Where it is.
            radius: Mean radius as a fraction of the side.
            wildness: How far the outline strays, 0 for an ellipse.
            stretch: Width over height.
        """
        down, right = self.offsets(center)
        beyond = np.clip(np.hypot(down, right) / radius - 1.5, 0, None)
        down, right = down * np.float32(stretch**0.5), right / np.float32(stretch**0.5)
        angle = np.arctan2(down, right)
        reach = np.ones_like(down)
        for lobes in range(2, 6):
            swing, phase = wildness / lobes * self.rng.uniform(0.3, 1), self.rng.uniform(0, 2 * np.pi)
            reach += np.float32(swing) * np.cos(lobes * angle + np.float32(phase))
        ragged = 0.32 * wildness * self.noise.local(1.5, self.shape)
        return (1 - np.hypot(down, right) / (radius * reach) + ragged - 3 * beyond).astype(np.float32)

    def paint(self, color: Color, alpha: Field) -> None:
        """Cover with ``color``, opacity ``alpha`` float32 (H, W) in 0…1."""
        self.albedo[...] += alpha[..., None] * (color - self.albedo)

    def stain(self, tint: Color, alpha: Field) -> None:
        """Multiply by ``tint`` as a glaze does: what is underneath still shows."""
        self.albedo[...] *= 1 + alpha[..., None] * (tint - 1)

    def mark(self, mask: Mask, class_name: str) -> None:
        """Label the pixels of ``mask``."""
        self.label[mask] = S2DS.classes.index(class_name)
