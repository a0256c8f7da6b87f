"""The pictures that can be made of a prediction on one photograph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.predictor import Predictor
from prune.inference.probability import class_probability, require_logits
from prune.inference.settings import PredictSettings
from prune.report.agreement import TOLERANCE, agreement_legend, draw_agreement, errors
from prune.report.figures import color_mask, heat_overlay, overlay, side_by_side
from prune.report.paper import Picture, class_pixels, legend_of, with_legend

RAMP = "gray = 0, then purple, red, orange, yellow = 1"


@dataclass(frozen=True)
class Segmentation:
    """What a network finds in a photograph, before anything is drawn.

    Args:
        pixels: Pixels of the photograph per predicted class, float64 (C,).
        class_map: Class ids uint8 (H, W); None for Grad-CAM.
        heat: Probability or Grad-CAM heat float32 (H, W), 0…1, in the modes that show it.
        predicted: Whether the requested class is predicted anywhere.
    """

    pixels: NDArray[np.float64]
    class_map: NDArray[np.uint8] | None = None
    heat: NDArray[np.float32] | None = None
    predicted: bool = True


@dataclass(frozen=True)
class View:
    """What a picture shows: the mode, the id and name of its class, and for Grad-CAM the layer."""

    mode: str
    class_id: int
    class_name: str
    layer: str = ""

    def __str__(self) -> str:
        if self.mode == "gradcam":
            return f"gradcam  class {self.class_name}, layer {self.layer}: {RAMP} (most evidence in the photograph)"
        if self.mode == "probability":
            return f"probability  class {self.class_name}: {RAMP}; in _gray.png level 255 = 1"
        if self.mode == "errors":
            return f"errors  class {self.class_name}: blue = found, orange = false alarm, yellow = missed ({TOLERANCE} px apart agree)"
        return ""


def chosen_class(classes: ClassSet, name: str | None) -> int:
    """The id of the class called ``name``; without a name crack, else the first after the background.

    Raises:
        TypeError: for a name that is no text.
        UserError: when there is no such class; the message lists those there are.
    """
    if name is not None and not isinstance(name, str):
        raise TypeError(f"class: expected the name of a class, found {name!r} ({type(name).__name__})")
    found = classes.index(name or "crack")
    if found is None and name:
        raise UserError(f"--class: expected one of {', '.join(classes.classes)}, found {name!r}")
    return min(1, len(classes) - 1) if found is None else found


def chosen_view(settings: PredictSettings, predictor: Predictor) -> View:
    """The view that the settings request, checked against the network before any photograph is read.

    Raises:
        UserError: for an unknown class or layer, and for a network that cannot give the picture.
    """
    class_id = chosen_class(predictor.classes, settings.class_name)
    layer = ""
    if settings.mode == "probability":
        require_logits(predictor)
    elif settings.mode == "gradcam":
        if predictor.card.runtime != "pytorch":
            raise UserError(f"{predictor.card.file}: expected a checkpoint (.pth): gradients are not in an export")
        from prune.inference.gradcam import cam_layer

        layer = cam_layer(predictor, settings.layer)  # type: ignore[arg-type]
    return View(settings.mode, class_id, predictor.classes.classes[class_id], layer)


def segment(image: Picture, predictor: Predictor, view: View) -> Segmentation:
    """What the network finds in a photograph uint8 (H, W, 3), RGB; ``view`` is from ``chosen_view`` with the same network.

    Pixels are counted at the size Grad-CAM scales large photographs to.
    """
    if view.mode == "gradcam":
        from prune.inference.gradcam import class_heat

        warm = class_heat(predictor, image, view.class_id, view.layer)  # type: ignore[arg-type]
        pixels = class_pixels(warm.class_map, predictor.classes) * (image[..., 0].size / warm.class_map.size)
        return Segmentation(pixels, heat=warm.heat, predicted=warm.predicted)
    if view.mode == "probability":
        found = class_probability(predictor, image, view.class_id)
        return Segmentation(class_pixels(found.class_map, predictor.classes), found.class_map, found.probability)
    class_map = predictor.class_map(image)
    return Segmentation(class_pixels(class_map, predictor.classes), class_map)


@dataclass(frozen=True)
class Look:
    """How pictures look.

    Args:
        opacity: Of what is laid over the photograph, 0…1; probabilities of thin cracks get twice as much.
        palette: Colors of the classes, one of ``prune.data.settings.PALETTES``.
        legend: Whether to add names and shares below pictures of classes.
    """

    opacity: float = 0.5
    palette: str = "standard"
    legend: bool = True


def draw(
    image: Picture,
    seen: Segmentation,
    view: View,
    classes: ClassSet,
    look: Look,
    label: NDArray[np.uint8] | None = None,
) -> dict[str, NDArray[np.uint8]]:
    """Pictures of a segmentation, by the ending of their file names; the first, without ending, is the one to show.

    Args:
        image: The photograph uint8 (H, W, 3), RGB.
        seen: From ``segment`` with the same view.
        view: What they show.
        classes: Of the network.
        look: How they look; only side_by_side and legends make a picture larger than the photograph.
        label: Class ids uint8 (H, W) for the mode errors.
    """
    mode, opacity = view.mode, look.opacity
    if seen.heat is not None and mode == "probability":
        levels = np.rint(255 * seen.heat).astype(np.uint8)
        return {"": heat_overlay(image, seen.heat, min(1.0, 2 * opacity)), "_gray": levels}
    if seen.heat is not None:
        return {"": heat_overlay(image, seen.heat, opacity)}
    assert seen.class_map is not None
    if mode == "errors":
        assert label is not None
        found = errors(seen.class_map, label, view.class_id)
        drawn = draw_agreement(image, found)
        return {"": with_legend(drawn, agreement_legend(found, title=view.class_name)) if look.legend else drawn}
    if mode == "overlay":
        drawn = overlay(image, seen.class_map, classes, opacity, look.palette)
        entries = legend_of(seen.pixels, classes.recolored(look.palette, on_photograph=True))
        return {"": with_legend(drawn, entries) if look.legend else drawn}
    if mode == "save_mask":
        return {"": color_mask(seen.class_map, classes)}
    sheet = side_by_side(image, seen.class_map, classes, look.palette, pixels=seen.pixels, explained=look.legend)
    return {"": sheet}
