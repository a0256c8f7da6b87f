"""The evaluation transform of a network, as a value that travels with it; needs NumPy only."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prune.errors import UserError
from prune.shapes import Many, check_shape

STRIP = 64
"""Rows normalized at a time: few enough to stay in the cache from one step to the next."""


@dataclass(frozen=True)
class Preprocessing:
    """Pixels / 255, then (x − mean) / std per RGB channel; images are never resized."""

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)

    def to_dict(self) -> dict[str, Any]:
        """Plain lists, as stored in a checkpoint."""
        return {"color_order": "RGB", "range": [0.0, 1.0], "mean": list(self.mean), "std": list(self.std)}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> "Preprocessing":
        """The inverse of ``to_dict``.

        Raises:
            UserError: for anything else.
        """
        check_shape(stored, {"mean": Many(float), "std": Many(float)}, "preprocessing")
        if len(stored["mean"]) != 3 or len(stored["std"]) != 3 or min(stored["std"]) <= 0:
            raise UserError("preprocessing: expected a mean and a positive deviation of three channels, found others")
        mean, std = ((float(a), float(b), float(c)) for a, b, c in (stored["mean"], stored["std"]))
        return cls(mean, std)

    def normalize(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Turn a photograph uint8 (H, W, 3), RGB, into a batch float32 (1, 3, H, W).

        One multiplication and one addition per value: x · 1/(255 std) − mean/std.
        """
        scale = (1 / (255 * np.array(self.std))).astype(np.float32)
        shift = (np.array(self.mean) / np.array(self.std)).astype(np.float32)
        batch = np.empty((1, 3, *image.shape[:2]), dtype=np.float32)
        for top in range(0, len(image), STRIP):
            part = image[top : top + STRIP]
            for channel in range(3):
                out = batch[0, channel, top : top + STRIP]
                out[...] = part[..., channel]
                out *= scale[channel]
                out -= shift[channel]
        return batch
