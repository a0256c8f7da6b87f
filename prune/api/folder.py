"""A folder of photographs on its way through the networks: read, segment, draw and write, all at the same time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from prune.api.views import Look, Segmentation, View, draw, segment
from prune.data.images import read_image
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.flow import gate_of, header_pixels, through_networks
from prune.inference.pipeline import Gate
from prune.inference.predictor import Predictor
from prune.inference.replicas import Replicas
from prune.report.figures import save_image, save_mask
from prune.report.paper import Picture

PIXELS_UNDER_WAY = 48_000_000
"""Of the photographs that are read and not yet written: two of 24 megapixels. Each takes 7 to 16 bytes."""


@dataclass
class PhotoResult:
    """A photograph on its way through the networks, and what came out.

    Args:
        photo: Its file.
        path: The file of its picture, None = none is written.
        image: uint8 (H, W, 3), RGB, once it was read; None again when its pictures are done.
        label: Class ids uint8 (H, W), where they are to be compared.
        error: Why it cannot be read.
        seen: What the network found; its arrays are dropped when the pictures are done.
        picture: To be shown, when nothing is to be written.
        files: Those written.
    """

    photo: Path
    path: Path | None = None
    image: Picture | None = None
    label: NDArray[np.uint8] | None = None
    error: UserError | None = None
    seen: Segmentation | None = None
    picture: Picture | None = None
    files: tuple[Path, ...] = ()


LOOK = Look()
"""How pictures look unless something else is asked for."""


@dataclass(frozen=True)
class Drawing:
    """What is drawn.

    Args:
        view: What the pictures show.
        look: How they look.
        labels: Reads the label of a photograph, for the mode errors.
        shown: Whether pictures that are not written are drawn to be looked at.
    """

    view: View
    look: Look = LOOK
    labels: Callable[[Path], NDArray[np.uint8]] | None = None
    shown: bool = True


@dataclass(frozen=True)
class Steps:
    """What happens to a photograph, step by step; each is a stage of the pipeline."""

    drawing: Drawing
    classes: ClassSet
    networks: Gate[Predictor]

    def read(self, one: PhotoResult) -> PhotoResult:
        """Decode it. A damaged one is passed on with its error."""
        try:
            if self.drawing.labels is not None:
                one.label = self.drawing.labels(one.photo)
            one.image = read_image(one.photo)
        except UserError as error:
            one.error = error
        return one

    def segment(self, one: PhotoResult) -> PhotoResult:
        """Run a network."""
        if one.image is not None:
            with self.networks.lent(one.image.shape[0] * one.image.shape[1]) as predictor:
                one.seen = segment(one.image, predictor, self.drawing.view)
        return one

    def finish(self, one: PhotoResult) -> PhotoResult:
        """Draw, and write what is to be written; arrays no longer needed are dropped."""
        image, seen, mode = one.image, one.seen, self.drawing.view.mode
        if image is None or seen is None:
            return one
        if one.path is not None and mode == "save_mask" and seen.class_map is not None:
            one.files = (save_mask(seen.class_map, self.classes, one.path),)
        elif one.path is not None or self.drawing.shown:
            pictures = draw(image, seen, self.drawing.view, self.classes, self.drawing.look, one.label)
            if one.path is not None:
                paths = [one.path, *(one.path.with_name(f"{one.path.stem}{end}.png") for end in pictures if end)]
                one.files = tuple(map(save_image, pictures.values(), paths))
            else:
                one.picture = pictures[""]
        one.image, one.label, one.seen = None, None, replace(seen, class_map=None, heat=None)
        return one


def segmented(photos: Sequence[PhotoResult], drawing: Drawing, replicas: Replicas) -> Iterator[PhotoResult]:
    """The photographs, done, in their order; reading, networks and writing overlap.

    Args:
        photos: The photographs, with the files of their pictures.
        drawing: What to draw.
        replicas: The networks.
    """
    steps = Steps(drawing, replicas.predictors[0].classes, gate_of(replicas))
    return through_networks(photos, steps, replicas, lambda one: header_pixels(one.photo), PIXELS_UNDER_WAY)
