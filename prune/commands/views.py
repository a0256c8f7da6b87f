"""The pictures ``inference.py`` can make of one photograph."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from prune.config import InferenceConfig
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.predict import Predictor
from prune.probability import class_probability, require_logits
from prune.report.figures import Picture, color_mask, heat_overlay, overlay, side_by_side

RAMP = "gray = 0, then purple, red, orange, yellow = 1"


@dataclass(frozen=True)
class View:
    """What one photograph gave.

    Args:
        picture: uint8 RGB, what is shown.
        pixels: Pixels of the photograph per predicted class, float64 (C,).
        extra: Further pictures by the ending of their file names.
        predicted: Whether the class that was asked for is predicted anywhere.
    """

    picture: Picture
    pixels: NDArray[np.float64]
    extra: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    predicted: bool = True


@dataclass(frozen=True)
class Subject:
    """What is to be shown: the mode, the id and name of its class, and for Grad-CAM the layer."""

    mode: str
    class_id: int
    class_name: str
    layer: str = ""

    def __str__(self) -> str:
        if self.mode == "gradcam":
            return f"gradcam  class {self.class_name}, layer {self.layer}: {RAMP} (most evidence in the photograph)"
        if self.mode == "probability":
            return f"probability  class {self.class_name}: {RAMP}; in _gray.png level 255 = 1"
        return ""


def chosen_class(classes: ClassSet, name: str | None) -> int:
    """The id of the class called ``name``; without a name crack, else the first after the background.

    Raises:
        UserError: when there is no such class; the message lists those there are.
    """
    found = classes.index(name or "crack")
    if found is None and name:
        raise UserError(f"--class: expected one of {', '.join(classes.classes)}, found {name!r}")
    return min(1, len(classes) - 1) if found is None else found


def choose(config: InferenceConfig, predictor: Predictor) -> Subject:
    """What the flags ask for, checked against the network before any photograph is read.

    Raises:
        UserError: for an unknown class or layer, and for a network that cannot give the picture.
    """
    class_id = chosen_class(predictor.classes, config.class_name)
    layer = ""
    if config.mode == "probability":
        require_logits(predictor)
    elif config.mode == "gradcam":
        if predictor.card.runtime != "pytorch":
            raise UserError(f"{predictor.card.file}: expected a checkpoint (.pth): gradients are not in an export")
        from prune.gradcam import cam_layer

        layer = cam_layer(predictor, config.layer)  # type: ignore[arg-type]
    return Subject(config.mode, class_id, predictor.classes.classes[class_id], layer)


def _counts(class_map: NDArray[np.uint8], classes: ClassSet) -> NDArray[np.float64]:
    return np.bincount(class_map.ravel(), minlength=len(classes)).astype(float)


def _class_view(image: Picture, predictor: Predictor, subject: Subject, opacity: float) -> View:
    """The classes: beside the photograph, over it, or as a mask of their colors."""
    class_map, classes = predictor.class_map(image), predictor.classes
    pixels = _counts(class_map, classes)
    if subject.mode == "overlay":
        return View(overlay(image, class_map, classes, opacity), pixels)
    if subject.mode == "save_mask":
        return View(color_mask(class_map, classes), pixels)
    return View(side_by_side(image, class_map, classes), pixels)


def _probability_view(image: Picture, predictor: Predictor, subject: Subject, opacity: float) -> View:
    """The probability of a class over the photograph, and as gray levels. Thin cracks get twice the opacity."""
    found = class_probability(predictor, image, subject.class_id)
    levels = np.rint(255 * found.probability).astype(np.uint8)
    picture = heat_overlay(image, found.probability, min(1.0, 2 * opacity))
    return View(picture, _counts(found.class_map, predictor.classes), {"_gray": levels})


def _gradcam_view(image: Picture, predictor: Predictor, subject: Subject, opacity: float) -> View:
    """What speaks for a class, over the photograph. Pixels are counted where the photograph was scaled down."""
    from prune.gradcam import class_heat

    found = class_heat(predictor, image, subject.class_id, subject.layer)  # type: ignore[arg-type]
    pixels = _counts(found.class_map, predictor.classes) * (image[..., 0].size / found.class_map.size)
    return View(heat_overlay(image, found.heat, opacity), pixels, predicted=found.predicted)


def view(image: Picture, predictor: Predictor, subject: Subject, opacity: float) -> View:
    """Draw what ``subject`` says of a photograph uint8 (H, W, 3), RGB; only side_by_side is larger than the photograph.

    Args:
        image: The photograph.
        predictor: The network.
        subject: From ``choose``, with the same network.
        opacity: Of what is laid over the photograph, 0…1.
    """
    draw = {"gradcam": _gradcam_view, "probability": _probability_view}.get(subject.mode, _class_view)
    return draw(image, predictor, subject, opacity)
