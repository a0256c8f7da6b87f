"""What a network sees on one photograph, as an object to look at, measure and write."""

import html
import io
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.api.views import chosen_class, class_pixels
from prune.data.images import read_image
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.predictor import Predictor
from prune.inference.probability import class_probability, require_logits
from prune.report.figures import Picture, overlay, save_mask, side_by_side

Photo = str | os.PathLike[str] | NDArray[np.uint8]
"""A file, or pixels uint8 (H, W, 3), RGB, or (H, W), gray."""
NOTEBOOK_SIDE = 1024
"""px: larger pictures are shrunk for notebooks."""


@dataclass(frozen=True)
class CrackMeasurement:
    """How long and wide the regions of one class are, see ``prune.metrics.measurement``.

    Lengths and widths of a photograph without that class: length 0, widths and orientation NaN, for there is nothing to
    measure.

    Args:
        class_name: What was measured.
        length_px: Length of the center lines, all branches summed.
        width_mean_px: Mean width along them.
        width_max_px: Largest width.
        area_px: Pixels of the class.
        area_share: Their share (0…1) of the photograph.
        components: Pieces that do not touch.
        orientation: Mean direction in degrees, 0 = horizontal, 45 = rising to the right, 90 = vertical.
        mm_per_pixel: Side of a pixel on the surface, None = unknown.
    """

    class_name: str
    length_px: float
    width_mean_px: float
    width_max_px: float
    area_px: int
    area_share: float
    components: int
    orientation: float
    mm_per_pixel: float | None = None

    def _in_mm(self, pixels: float) -> float | None:
        return None if self.mm_per_pixel is None else pixels * self.mm_per_pixel

    @property
    def length_mm(self) -> float | None:
        """Length in mm, None without a scale."""
        return self._in_mm(self.length_px)

    @property
    def width_mean_mm(self) -> float | None:
        """Mean width in mm, None without a scale."""
        return self._in_mm(self.width_mean_px)

    @property
    def width_max_mm(self) -> float | None:
        """Largest width in mm, None without a scale."""
        return self._in_mm(self.width_max_px)

    def __str__(self) -> str:
        scale, unit = (1.0, "px") if self.mm_per_pixel is None else (self.mm_per_pixel, "mm")
        if not self.area_px:
            return f"{self.class_name}: none found"
        return (
            f"{self.class_name}: length {scale * self.length_px:.4g} {unit}, width {scale * self.width_mean_px:.3g} "
            f"{unit} (largest {scale * self.width_max_px:.3g} {unit}), {self.area_share:.2%} of the photograph, "
            f"direction {self.orientation:.0f} degrees"
        )

    def _repr_html_(self) -> str:
        """The sentence, for notebooks."""
        return f"<p>{html.escape(str(self))}</p>"


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network sees on a photograph.

    Args:
        image: The photograph uint8 (H, W, 3), RGB.
        class_map: Class ids uint8 (H, W), index into ``classes``.
        class_set: Names and colors of the classes.
        name: Of the photograph's file, empty for an array.
    """

    image: Picture
    class_map: NDArray[np.uint8]
    class_set: ClassSet
    name: str = ""
    _predictor: Predictor | None = field(default=None, repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, by id."""
        return self.class_set.classes

    @cached_property
    def shares(self) -> dict[str, float]:
        """The share (0…1) of the pixels per class."""
        pixels = class_pixels(self.class_map, self.class_set)
        return dict(zip(self.classes, (pixels / self.class_map.size).tolist(), strict=True))

    def probability(self, class_name: str | None = None) -> NDArray[np.float32]:
        """How probable a class is at every pixel, float32 (H, W), 0…1; the network runs once more for it.

        Args:
            class_name: None = crack, else the first class after the background.

        Raises:
            UserError: for an unknown class, and for a file that gives class ids instead of logits.
        """
        number = chosen_class(self.class_set, class_name)
        if self._predictor is None:
            raise UserError("expected a prediction that a network made, found one without its network")
        require_logits(self._predictor)
        return class_probability(self._predictor, self.image, number).probability

    def overlay(self, opacity: float = 0.5) -> Picture:
        """The photograph with every defect in the color of its class, uint8 (H, W, 3), RGB.

        Args:
            opacity: Of the colors, 0 to 1; rims, and with them thin cracks, get twice as much.

        Raises:
            TypeError, UserError: for anything but a number from 0 to 1.
        """
        if not isinstance(opacity, Real):
            raise TypeError(f"opacity: expected a number, found {opacity!r} ({type(opacity).__name__})")
        if not 0 <= opacity <= 1:
            raise UserError(f"--opacity: expected 0 to 1, found {opacity}")
        return overlay(self.image, self.class_map, self.class_set, float(opacity))

    def side_by_side(self) -> Picture:
        """Photograph and colored classes beside each other above a legend, uint8 (h, w, 3), RGB."""
        return side_by_side(self.image, self.class_map, self.class_set)

    def to_png(self, path: str | Path) -> Path:
        """Write the class ids with the colors of their classes as a PNG and return its path.

        Raises:
            TypeError, UserError: for no path, another ending than .png, and a file that cannot be written.
        """
        if not isinstance(path, (str, os.PathLike)):
            raise TypeError(f"path: expected a path, found {type(path).__name__}")
        if Path(path).suffix.lower() != ".png":
            raise UserError(f"--path: expected a file that ends in .png, which keeps class ids, found {path}")
        return save_mask(self.class_map, self.class_set, Path(path))

    def measure(self, mm_per_pixel: float | None = None, class_name: str | None = None) -> CrackMeasurement:
        """Length, width and direction of the cracks, in px, and in mm when the scale is known.

        Args:
            mm_per_pixel: Side of a pixel on the surface in mm.
            class_name: What is measured, None = crack, else the first class after the background.

        Raises:
            TypeError, UserError: for a scale that is no positive number, an unknown class, and where SciPy is missing.
        """
        if mm_per_pixel is not None:
            if not isinstance(mm_per_pixel, Real) or isinstance(mm_per_pixel, bool):
                found = f"{mm_per_pixel!r} ({type(mm_per_pixel).__name__})"
                raise TypeError(f"mm_per_pixel: expected a number, found {found}")
            if not (mm_per_pixel > 0 and math.isfinite(mm_per_pixel)):
                raise UserError(f"--mm_per_pixel: expected a number above 0, found {mm_per_pixel}")
        number = chosen_class(self.class_set, class_name)
        try:
            from prune.metrics.measurement import measure
        except ModuleNotFoundError as error:
            raise UserError("measure needs SciPy, which is not installed: pip install prune-crackseg[score]") from error
        cracks = measure(self.class_map == number)
        return CrackMeasurement(
            self.classes[number],
            cracks.length,
            cracks.width_mean,
            cracks.width_max,
            cracks.area,
            cracks.area / self.class_map.size,
            cracks.components,
            cracks.orientation,
            None if mm_per_pixel is None else float(mm_per_pixel),
        )

    def __str__(self) -> str:
        found = ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items() if share)
        height, width = self.class_map.shape
        return f"{self.name or 'photograph'} ({width}x{height} px): {found}"

    def _repr_png_(self) -> bytes:
        """The overlay, for notebooks."""
        picture, stream = Image.fromarray(self.overlay()), io.BytesIO()
        picture.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
        picture.save(stream, format="PNG")
        return stream.getvalue()


def opened_photo(argument: str, photo: object) -> Picture:
    """A photograph as uint8 (H, W, 3), RGB: read from its file, or checked.

    Args:
        argument: Its name, for messages.
        photo: See ``Photo``.

    Raises:
        TypeError: for anything else, and for other numbers than uint8.
        UserError: for a file that cannot be read, and an array of another shape.
    """
    if isinstance(photo, (str, os.PathLike)):
        if Path(photo).is_dir():
            raise UserError(f"--{argument}: expected photographs, found the folder {photo}: see prune.predict")
        if not Path(photo).is_file():
            raise UserError(f"--{argument}: {photo} not found")
        return read_image(Path(photo))
    if not isinstance(photo, np.ndarray):
        raise TypeError(f"{argument}: expected a path or an array of pixels, found {type(photo).__name__}")
    if photo.dtype != np.uint8:
        raise TypeError(f"{argument}: expected pixels uint8, 0 to 255, found {photo.dtype}")
    if photo.ndim not in (2, 3) or photo.shape[2:] not in ((), (3,)) or not photo.size:
        raise UserError(f"--{argument}: expected pixels (H, W, 3), RGB, or (H, W), gray, found {photo.shape}")
    return np.repeat(photo[:, :, None], 3, axis=2) if photo.ndim == 2 else np.ascontiguousarray(photo)


def predicted(predictor: Predictor, photo: object, argument: str = "photos") -> Prediction:
    """What a network sees on one photograph; ``argument`` names it in messages.

    Raises:
        TypeError, UserError: see ``opened_photo``.
    """
    image = opened_photo(argument, photo)
    name = Path(photo).name if isinstance(photo, (str, os.PathLike)) else ""
    return Prediction(image, predictor.class_map(image), predictor.classes, name, predictor)


def predictions(predictor: Predictor, photos: Any) -> Prediction | list[Prediction]:
    """What a network sees on a photograph, or on each of a list.

    Raises:
        TypeError, UserError: see ``opened_photo``.
    """
    if isinstance(photos, Sequence) and not isinstance(photos, str):
        return [predicted(predictor, photo, f"photos[{number}]") for number, photo in enumerate(photos)]
    return predicted(predictor, photos)
