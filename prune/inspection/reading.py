"""A photograph as a survey reads it: upright or as seen from straight ahead, with its scale and position."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prune.data.images import read_image
from prune.inspection.exif import PhotoFacts, read_exif
from prune.inspection.plane import front_view
from prune.inspection.records import Position, Shot, Source
from prune.inspection.scale import Scale, ScaleReader
from prune.report.paper import Picture

BESIDE = 17
"""px: side of the square around a place that must be visible in a view from straight ahead; its black border is no crack."""
Read = tuple[Picture, Shot, NDArray[np.bool_] | None]
"""A photograph uint8 (H, W, 3), RGB, what is known of it, and the pixels bool (H, W) that count, None = all."""
Reader = Callable[[Source], Read]


class PhotoReader:
    """Reads photographs one by one; several threads may do so at a time.

    Args:
        scales: Where scales come from.
    """

    def __init__(self, scales: ScaleReader) -> None:
        self.scales = scales

    def __call__(self, source: Source) -> Read:
        """Read a photograph.

        Raises:
            UserError: when it is damaged, and for points that give no scale.
        """
        return self._known(source, read_image(source.file), read_exif(source.file))

    def of_frame(self, source: Source, image: Picture) -> Read:
        """A frame uint8 (H, W, 3), RGB, of a video, which says nothing about lens and place.

        Raises:
            UserError: for points that give no scale.
        """
        return self._known(source, image, PhotoFacts(image.shape[1], image.shape[0]))

    def _known(self, source: Source, image: Picture, facts: PhotoFacts) -> Read:
        shape = (image.shape[0], image.shape[1])
        scale = self.scales.scale(source.file.stem, shape, facts, image if self.scales.needs_image else None)
        place = _position(facts)
        if scale is None:
            why = self.scales.why_not(facts) if self.scales.settings.target_mm is None else ""
            return image, Shot(None, "", place, (f"no scale: {why}",) if why else ()), None
        shot = Shot(scale.mm_per_pixel, words(scale), place)
        if scale.plane is None:
            return image, shot, None
        view = front_view(scale.plane, shape)
        seen = ndimage.minimum_filter(view.seen(), BESIDE, mode="nearest")
        return view.warp(image), replace(shot, notes=("shown as seen from straight ahead",)), seen

    def with_targets(self, shot: Shot, targets: NDArray[np.bool_]) -> Shot:
        """What is known of a photograph after control points bool (H, W) were found in it."""
        if self.scales.settings.target_mm is None:
            return shot
        scale = self.scales.from_targets(targets)
        if scale is None:
            return replace(shot, notes=(*shot.notes, f"no scale: {self.scales.why_not(PhotoFacts(0, 0))}"))
        return replace(shot, mm_per_pixel=scale.mm_per_pixel, scale_from=words(scale))


def words(scale: Scale) -> str:
    """How a scale is known and how well."""
    return scale.source if scale.error is None else f"{scale.source}, ± {100 * scale.error:.2g}%"


def _position(facts: PhotoFacts) -> Position | None:
    if facts.position is None:
        return None
    return Position(*facts.position, facts.altitude_m)
