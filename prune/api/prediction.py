"""What a network finds in one photograph: an object to view, measure and save."""

import io
import os
from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from functools import cached_property
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.api.crack_table import CrackTable
from prune.api.measures import Area, CrackMeasurement, checked_path, checked_scale
from prune.api.views import chosen_class
from prune.data.images import read_image
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.evaluation.settings import MAX_TOLERANCE
from prune.inference.predictor import Predictor
from prune.inference.probability import class_probability, require_logits
from prune.inspection.settings import MeasureSettings
from prune.options import settings_from, with_settings
from prune.report.agreement import ERRORS, TOLERANCE, Seen, agreement_legend, difference_sheet, draw_agreement, errors
from prune.report.figures import overlay, save_mask, side_by_side
from prune.report.paper import Picture, class_pixels, legend_of, with_legend

Photo = str | os.PathLike[str] | NDArray[np.uint8]
"""A file, or pixels uint8 (H, W, 3), RGB, or (H, W), gray."""
NOTEBOOK_SIDE = 1024
"""px: larger pictures are downscaled for notebooks."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network finds in a photograph.

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
        """The probability of a class at every pixel, float32 (H, W), 0…1; runs the network once more.

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

    def overlay(self, opacity: float = 0.5, *, palette: str = "standard", legend: bool = False) -> Picture:
        """The photograph with every defect in the color of its class, uint8 (H, W, 3), RGB.

        Args:
            opacity: Of the colors, 0 to 1; rims, and with them thin cracks, get twice as much.
            palette: ``standard`` (of the data set, but magenta instead of white) or ``colorblind``.
            legend: Whether to add names and shares of the defects below, which makes the picture larger.

        Raises:
            TypeError, UserError: for anything but a number from 0 to 1, and an unknown palette.
        """
        if not isinstance(opacity, Real):
            raise TypeError(f"opacity: expected a number, found {opacity!r} ({type(opacity).__name__})")
        if not 0 <= opacity <= 1:
            raise UserError(f"--opacity: expected 0 to 1, found {opacity}")
        drawn = overlay(self.image, self.class_map, self.class_set, float(opacity), palette)
        if not legend:
            return drawn
        colored = self.class_set.recolored(palette, on_photograph=True)
        return with_legend(drawn, legend_of(class_pixels(self.class_map, colored), colored))

    def side_by_side(self, *, palette: str = "standard") -> Picture:
        """Photograph and colored classes side by side above a legend, uint8 (h, w, 3), RGB.

        Args:
            palette: ``standard`` or ``colorblind``.

        Raises:
            TypeError, UserError: for an unknown palette.
        """
        return side_by_side(self.image, self.class_map, self.class_set, palette)

    def errors(
        self, label: NDArray[np.integer], *, class_name: str | None = None, tolerance: int = TOLERANCE
    ) -> Picture:
        """What was found, missed, or falsely found, over the photograph in gray, above a legend.

        Args:
            label: Class ids (H, W) in the classes of the network, 255 = not known.
            class_name: The class that is compared, None = crack, else the first after the background.
            tolerance: Pixels at most so many px from the other mask agree.

        Raises:
            TypeError, UserError: for a label of another size or kind, an unknown class, and no whole number of px.
        """
        number = chosen_class(self.class_set, class_name)
        self._require_same_size("label", label)
        found = errors(self.class_map, label, number, _pixels_apart(tolerance))
        return with_legend(draw_agreement(self.image, found), agreement_legend(found, ERRORS, self.classes[number]))

    def beside(
        self,
        other: "Prediction",
        names: tuple[str, str] = ("dense", "pruned"),
        *,
        class_name: str | None = None,
        palette: str = "standard",
        tolerance: int = TOLERANCE,
    ) -> Picture:
        """The predictions of two networks on this photograph and their difference, side by side above one legend.

        Args:
            other: The prediction of another network with the same classes on the same photograph.
            names: What the networks are called.
            class_name: The class whose difference is drawn, None = crack, else the first after the background.
            palette: ``standard`` or ``colorblind``.
            tolerance: Pixels at most so many px from the other mask agree.

        Raises:
            TypeError, UserError: for another photograph, other classes, and arguments that are not allowed.
        """
        if not isinstance(other, Prediction):
            raise TypeError(f"other: expected a Prediction, found {type(other).__name__}")
        if other.classes != self.classes:
            found = ", ".join(other.classes)
            raise UserError(f"--other: expected the classes {', '.join(self.classes)}, found {found}")
        self._require_same_size("other", other.class_map)
        number = chosen_class(self.class_set, class_name)
        seen = Seen(names[0], self.class_map), Seen(names[1], other.class_map)
        return difference_sheet(self.image, seen, self.class_set, number, palette, _pixels_apart(tolerance))

    def _require_same_size(self, argument: str, class_map: object) -> None:
        if not isinstance(class_map, np.ndarray) or not np.issubdtype(class_map.dtype, np.integer):
            found = getattr(class_map, "dtype", type(class_map).__name__)
            raise TypeError(f"{argument}: expected class ids (H, W), found {found}")
        if class_map.shape != self.class_map.shape:
            raise UserError(f"--{argument}: expected the size {self.class_map.shape}, found {class_map.shape}")

    def to_png(self, path: str | Path) -> Path:
        """Write the class ids with the colors of their classes as a PNG and return its path.

        Raises:
            TypeError, UserError: for no path, another ending than .png, and a file that cannot be written.
        """
        return save_mask(self.class_map, self.class_set, checked_path(path, ".png", ", which keeps class ids"))

    def measure(self, mm_per_pixel: float | None = None, class_name: str | None = None) -> CrackMeasurement:
        """Length, width and direction of the cracks, in px, and in mm when the scale is known.

        Args:
            mm_per_pixel: Side of a pixel on the surface in mm.
            class_name: What is measured, None = crack, else the first class after the background.

        Raises:
            TypeError, UserError: for a scale that is no positive number, an unknown class, and where SciPy is missing.
        """
        scale = checked_scale(mm_per_pixel)
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
            scale,
        )

    @with_settings(MeasureSettings)
    def cracks(self, mm_per_pixel: float | None = None, class_name: str | None = None, **settings: Any) -> CrackTable:
        """Every crack on its own, with length, width, direction and place, in px, and in mm when the scale is known.

        ``measure`` gives their sum: with ``min_length=0`` the lengths add up to its length.

        Args:
            mm_per_pixel: Side of a pixel on the surface in mm.
            class_name: What is measured, None = crack, else the first class after the background.
            **settings: ``min_length`` (shorter cracks are left out, in px) and ``width``: ``mask``, or ``profile`` and
                ``auto``, for which the network runs once more, see ``prune.inspection.cracks.measure_cracks``. ``auto``
                measures the mask where the network gives no probability.

        Raises:
            TypeError, UserError: for a scale that is no positive number, an unknown class or setting, and where SciPy is
                missing.
        """
        how = settings_from(MeasureSettings, "cracks", settings)
        scale, number = checked_scale(mm_per_pixel), chosen_class(self.class_set, class_name)
        try:
            from prune.inspection.cracks import measure_cracks
        except ModuleNotFoundError as error:
            raise UserError("cracks needs SciPy, which is not installed: pip install prune-crackseg[score]") from error
        probability = None
        if how.width != "mask":
            with suppress(UserError) if how.width == "auto" else nullcontext():
                probability = self.probability(self.classes[number])
        found = measure_cracks(self.class_map == number, probability, min_length=how.min_length, width=how.width)
        return CrackTable(found, self.classes[number], scale, how.min_length, self.name, self.overlay)

    def areas(self, mm_per_pixel: float | None = None) -> dict[str, Area]:
        """The area of every class but the background that is found, the largest first.

        Args:
            mm_per_pixel: Side of a pixel on the surface in mm.

        Raises:
            TypeError, UserError: for a scale that is no positive number.
        """
        scale, size = checked_scale(mm_per_pixel), self.class_map.size
        shares = sorted(list(self.shares.items())[1:], key=lambda one: -one[1])
        return {name: Area(round(share * size), share, scale) for name, share in shares if share}

    def __str__(self) -> str:
        found = ", ".join(f"{name} {share:.2%}" for name, share in self.shares.items() if share)
        height, width = self.class_map.shape
        return f"{self.name or 'photograph'} ({width}x{height} px): {found}"

    def _repr_png_(self) -> bytes:
        """The overlay with its legend, for notebooks."""
        picture, stream = Image.fromarray(self.overlay(legend=True)), io.BytesIO()
        picture.thumbnail((NOTEBOOK_SIDE, NOTEBOOK_SIDE))
        picture.save(stream, format="PNG")
        return stream.getvalue()


def _pixels_apart(tolerance: object) -> int:
    """A tolerance in px, checked."""
    if not isinstance(tolerance, int) or isinstance(tolerance, bool):
        raise TypeError(f"tolerance: expected a whole number of px, found {tolerance!r} ({type(tolerance).__name__})")
    if not 0 <= tolerance <= MAX_TOLERANCE:
        raise UserError(f"--tolerance: expected 0 to {MAX_TOLERANCE}, found {tolerance}")
    return tolerance


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
    """The prediction on one photograph; ``argument`` names it in messages.

    Raises:
        TypeError, UserError: see ``opened_photo``.
    """
    image = opened_photo(argument, photo)
    name = Path(photo).name if isinstance(photo, (str, os.PathLike)) else ""
    return Prediction(image, predictor.class_map(image), predictor.classes, name, predictor)


def predictions(predictor: Predictor, photos: Any) -> Prediction | list[Prediction]:
    """The prediction on a photograph, or on each of a list.

    Raises:
        TypeError, UserError: see ``opened_photo``.
    """
    if isinstance(photos, Sequence) and not isinstance(photos, str):
        return [predicted(predictor, photo, f"photos[{number}]") for number, photo in enumerate(photos)]
    return predicted(predictor, photos)
