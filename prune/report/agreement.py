"""Where two masks agree: a prediction and its label, or what two networks find; line by line, with a tolerance."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prune.data.labels import IGNORE_INDEX, OKABE_ITO, ClassSet
from prune.metrics.distance import within
from prune.report.figures import overlay, paint
from prune.report.paper import Entry, Picture, class_pixels, grid, names_of, share_text

TOLERANCE = 4
"""px: the tolerance of crack ltIoU@4, the score by which networks are compared."""
BOTH, FIRST, SECOND = 1, 2, 3
"""Ids of a map of agreement; 0 is neither."""
COLORS = ((0, 0, 0), OKABE_ITO["efflorescence"], OKABE_ITO["corrosion"], OKABE_ITO["crack"])
"""Sky blue, vermillion and yellow of Okabe and Ito: told apart with every kind of color vision, and from gray."""
FADED = 0.35
"""Share of white in the gray photograph below, so that the colors stand out and dark cracks still show."""
ERRORS = ("found", "false alarm", "missed")
"""What agreement of a prediction (the first) with its label (the second) is called."""


@dataclass(frozen=True)
class Seen:
    """What is compared: the name of a network and its class map uint8 (H, W)."""

    name: str
    class_map: NDArray[np.integer]


def words(name: str, names: tuple[str, str, str]) -> ClassSet:
    """The three kinds of agreement about class ``name`` as classes, with the colors they are drawn in."""
    return ClassSet(name, ("", *names), COLORS)


def agreement(
    first: NDArray[np.bool_],
    second: NDArray[np.bool_],
    tolerance: int = TOLERANCE,
    scored: NDArray[np.bool_] | None = None,
) -> NDArray[np.uint8]:
    """Where two masks agree, uint8 (H, W): 0 neither, 1 both, 2 only the first, 3 only the second.

    A pixel of one mask at most ``tolerance`` px (Euclidean) from the other counts as both, as in the tolerant F1.

    Args:
        first: bool (H, W), for example a prediction.
        second: The other mask, for example its label.
        tolerance: In px.
        scored: Pixels that count, None = all; the others become 0.
    """
    result = np.zeros(first.shape, np.uint8)
    near_first, near_second = within(first, tolerance), within(second, tolerance)
    result[first & ~near_second] = FIRST
    result[second & ~near_first] = SECOND
    result[(first & near_second) | (second & near_first)] = BOTH
    if scored is not None:
        result[~scored] = 0
    return result


def errors(
    prediction: NDArray[np.integer], label: NDArray[np.integer], class_id: int, tolerance: int = TOLERANCE
) -> NDArray[np.uint8]:
    """Where a class map (H, W) agrees with its label (H, W) about a class: found, false alarm and missed as 1, 2, 3."""
    return agreement(prediction == class_id, label == class_id, tolerance, label != IGNORE_INDEX)


def faded(image: Picture) -> Picture:
    """The photograph uint8 (H, W, 3), RGB, in light gray, below colors that shall stand out."""
    gray = image @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's "L"
    return np.repeat(np.rint((1 - FADED) * gray + FADED * 255).astype(np.uint8)[..., None], 3, axis=2)


def draw_agreement(image: Picture, found: NDArray[np.uint8]) -> Picture:
    """A map of ``agreement`` over the photograph in light gray, uint8 (H, W, 3), RGB."""
    return paint(faded(image), found, words("", ERRORS), 1.0)


def agreement_legend(found: NDArray[np.uint8], names: tuple[str, str, str] = ERRORS, title: str = "") -> list[Entry]:
    """Color, name and share of the photograph of the three kinds of agreement, whether there are any or not.

    Args:
        found: A map of ``agreement``.
        names: What both, only the first and only the second are called.
        title: Of the class, put before the first name.
    """
    kinds = words(title, names)
    pixels = class_pixels(found, kinds)
    shares = [share_text(p / found.size) if p else "0%" for p in pixels]
    texts = [f"{name}  {share}" for name, share in zip(kinds.classes, shares, strict=True)]
    texts[1] = f"{title}: {texts[1]}" if title else texts[1]
    return list(zip(COLORS[1:], texts[1:], strict=True))


def error_rows(
    photographs: Sequence[tuple[Picture, NDArray[np.integer], Sequence[NDArray[np.integer]]]],
    classes: ClassSet,
    class_id: int,
    palette: str = "standard",
) -> tuple[list[list[Picture]], list[list[Entry]]]:
    """Rows and legends of a sheet of errors for ``prune.report.paper.grid``: photograph with its label, then every network.

    Args:
        photographs: Pixels, label and the class maps of the networks, for every row.
        classes: Of labels and class maps.
        class_id: The class that is compared.
        palette: Of the labels' colors, one of ``prune.data.settings.PALETTES``.
    """
    rows, labeled = [], {class_id}
    for image, label, maps in photographs:
        labeled.update(int(i) for i in np.unique(label) if 0 < i < len(classes))
        drawn = [draw_agreement(image, errors(one, label, class_id)) for one in maps]
        rows.append([overlay(image, label, classes, palette=palette), *drawn])
    kinds = words(classes.classes[class_id], ERRORS)
    legend = names_of(sorted(labeled), classes.recolored(palette, on_photograph=True))
    named = [(color, f"{kinds.name}: {name}") for color, name in names_of((1, 2, 3), kinds)]
    return rows, [legend, named]


def difference_sheet(
    image: Picture,
    networks: tuple[Seen, Seen],
    classes: ClassSet,
    class_id: int,
    palette: str = "standard",
    tolerance: int = TOLERANCE,
) -> Picture:
    """The predictions of two networks on one photograph and their difference, side by side with captions and one legend.

    Args:
        image: The photograph uint8 (H, W, 3), RGB.
        networks: Both of them, for example dense and pruned.
        classes: Of both class maps.
        class_id: The class whose difference is drawn.
        palette: One of ``prune.data.settings.PALETTES``.
        tolerance: Lines at most so many px apart are found by both.
    """
    first, second = networks
    found = agreement(first.class_map == class_id, second.class_map == class_id, tolerance)
    overlays = [overlay(image, one.class_map, classes, palette=palette) for one in networks]
    shown = {int(i) for one in networks for i in np.unique(one.class_map) if i} | {class_id}
    name = classes.classes[class_id]
    kinds = words(name, (f"difference: {name.lower()} found by both", f"only {first.name}", f"only {second.name}"))
    legends = names_of(sorted(shown), classes.recolored(palette, on_photograph=True)), names_of((1, 2, 3), kinds)
    return grid([[*overlays, draw_agreement(image, found)]], [first.name, second.name, "difference"], [""], legends)
