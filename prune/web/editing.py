"""The correction of a mask: what the editor shows, and what becomes of what was painted."""

from pathlib import Path
from typing import Any

import numpy as np

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.files import RESULTS
from prune.web import pictures
from prune.web.correction import saved_pair
from prune.web.desk import Desk, Look

CORRECTIONS = RESULTS / "corrections"
"""Where corrected pairs are saved, below the working folder: a split folder."""


def colored(classes: ClassSet) -> ClassSet:
    """The classes in the colors of the editor, which do not depend on the palette that is chosen."""
    return classes.recolored("standard", on_photograph=True)


def brushes(classes: ClassSet) -> list[str]:
    """The color of every class after the background, for the brush."""
    return ["#" + bytes(color).hex() for color in colored(classes).colors[1:]]


def edit(desk: Desk, token: str, name: str | None, look: Look) -> dict[str, Any]:
    """The value of the editor: the photograph, and the class map as one layer; both reduced as on the page."""
    visit, network = desk.sessions.get(token), desk.networks.open(name)
    class_map, by = desk.class_map(visit, network, look), pictures.factor(visit.image.shape)
    visit.edited = class_map, network.name
    layer = pictures.mask_layer(pictures.block_maximum(class_map, by), colored(network.predictor.classes))
    return {"background": pictures.reduced(visit.image, by), "layers": [layer], "composite": None}


def erase(desk: Desk, token: str, value: dict[str, Any] | None, number: float | None) -> dict[str, Any]:
    """The value of the editor without one of the cracks it was started with: an eraser for those who use no pointer.

    Args:
        desk: Of the page.
        token: Of the visit.
        value: Of the editor now.
        number: Of the crack, as in the table when the editor was started.

    Raises:
        UserError: before the editor was opened, for a network without cracks, and a number no crack has.
    """
    from scipy import ndimage

    visit = desk.sessions.get(token)
    if visit.edited is None or not value:
        raise UserError("expected a mask in the editor, found none: start from the result first")
    before, name = visit.edited
    network = desk.networks.open(name)
    if network.class_id is None:
        raise UserError("expected a network with a class called crack, found none")
    mask = before == network.class_id
    cracks = {crack.number: crack for crack in desk.cracks(visit, network, mask, None).cracks}
    if number not in cracks:
        known = f"a number from 1 to {len(cracks)}" if cracks else "a result with cracks"
        raise UserError(f"expected {known}, found {'none' if number is None else f'{number:g}'}")
    pieces = ndimage.label(mask, np.ones((3, 3)))[0]
    crack = pieces == pieces[tuple(cracks[int(number)].line[0])]
    gone = pictures.block_maximum(crack.astype(np.uint8), pictures.factor(mask.shape)) > 0
    layers = [np.array(layer) for layer in value["layers"]]
    for layer in layers:
        layer[gone] = 0
    return value | {"layers": layers, "composite": None}


def save(desk: Desk, token: str, value: dict[str, Any] | None) -> Path:
    """Save the photograph and its corrected label below the working folder, and return the label's file.

    Raises:
        UserError: before the editor was opened, and where its picture has another size than the photograph.
    """
    visit = desk.sessions.get(token)
    if visit.edited is None or not value:
        raise UserError("expected a mask in the editor, found none: start from the result first")
    before, name = visit.edited
    classes = desk.networks.open(name).predictor.classes
    painted = pictures.block_maximum(before * 0, pictures.factor(before.shape))
    for layer in value["layers"]:
        one = pictures.layer_classes(layer, colored(classes))
        if one.shape != painted.shape:
            raise UserError(f"expected layers of {painted.shape} px, found {one.shape}")
        painted[one > 0] = one[one > 0]
    edited = pictures.corrected(before, painted)
    return saved_pair(visit.image, edited, classes, desk.work / CORRECTIONS, visit.name)
