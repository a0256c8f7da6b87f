"""A photograph on its way through a survey: read, segmented, measured, drawn and written, many at the same time."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.inference.flow import header_pixels, through_networks
from prune.inference.pipeline import Gate
from prune.inference.predictor import Predictor
from prune.inference.probability import class_probability
from prune.inference.replicas import Replicas
from prune.inspection.cracks import Crack, measure_cracks
from prune.inspection.likeness import Likeness, features
from prune.inspection.reading import PhotoReader
from prune.inspection.records import AreaRecord, Broken, CrackRecord, PhotoRecord, Shot, Source
from prune.inspection.settings import InspectionSettings
from prune.inspection.store import MASKS, OVERLAYS, Store, identity_of
from prune.inspection.streamed import measure_streamed
from prune.inspection.video import is_video
from prune.inspection.wording import Units
from prune.metrics.measurement import EIGHT_CONNECTED
from prune.report.figures import overlay, save_image, save_mask
from prune.report.paper import Picture, class_pixels
from prune.report.tags import Tag, tagged

PIXELS_UNDER_WAY = 32_000_000
"""Of the photographs that are read and not yet written; one may be larger. Each takes up to 20 bytes."""
OVERLAY_SIDE = 2400
"""px: overlays are pictures to look at; those of larger photographs are shrunk. Masks keep every pixel."""
TARGET = "Control Point"
"""The class of targets on the surface."""
LARGE_PIXELS = 2**23
"""Photographs of more pixels are measured window by window: a line in one piece takes 30 bytes per pixel."""
TAGS = 60
"""Cracks with a label on the overlay, the longest first; more could not be read."""


@dataclass
class Going:
    """A photograph on its way, and what is known of it so far."""

    source: Source
    image: Picture | None = None
    shot: Shot | None = None
    seen: NDArray[np.bool_] | None = None
    class_map: NDArray[np.uint8] | None = None
    probability: NDArray[np.float32] | None = None
    record: PhotoRecord | None = None
    error: UserError | None = None
    identity: dict[str, Any] = field(default_factory=dict)

    @property
    def moving(self) -> bool:
        """Whether it is a frame of a video: each of them has an overlay, for the video of overlays."""
        return is_video(self.source.file)

    @property
    def result(self) -> PhotoRecord | Broken:
        """What became of it."""
        if self.record is not None:
            return self.record
        return self.source.broken(self.error.message if self.error else "")


@dataclass(frozen=True)
class Steps:
    """What happens to a photograph; each is a stage of the pipeline.

    Args:
        store: Where everything is written.
        reader: What reads photographs.
        networks: That segment.
        classes: Of them.
        how: Settings.
        likeness: What the photographs of the network's test look like, None = not known.
        logits: Whether the networks give logits, and with them probabilities.
    """

    store: Store
    reader: PhotoReader
    networks: Gate[Predictor]
    classes: ClassSet
    how: InspectionSettings
    likeness: Likeness | None
    logits: bool

    @property
    def crack(self) -> int:
        """The class that is measured: crack, else the first after the background."""
        return self.classes.index("crack") or 1

    def read(self, one: Going) -> Going:
        """Decode it. A damaged one is passed on with its error."""
        try:
            one.identity = identity_of(one.source.file)
            if one.image is not None or one.error is not None:
                return one  # the frame of a video
            one.image, one.shot, one.seen = self.reader(one.source)
        except UserError as error:
            one.error = error
        return one

    def segment(self, one: Going) -> Going:
        """Run a network."""
        if one.image is not None:
            with self.networks.lent(one.image.shape[0] * one.image.shape[1]) as predictor:
                if self.logits:
                    found = class_probability(predictor, one.image, self.crack)
                    one.class_map, one.probability = found.class_map, found.probability
                else:
                    one.class_map = predictor.class_map(one.image)
            if one.seen is not None:
                one.class_map[~one.seen] = 0
        return one

    def finish(self, one: Going) -> Going:
        """Measure, draw, and write; the record comes last, so what has one is complete. Arrays are dropped on the way.

        Raises:
            UserError: when nothing can be written, as on a full disk: the others could not be either.
        """
        if one.class_map is None or one.image is None or one.shot is None:
            return one
        one.record = self._surveyed(one, one.image, one.class_map, one.shot)
        one.image, one.class_map, one.probability = None, None, None
        return one

    def _surveyed(self, one: Going, image: Picture, class_map: NDArray[np.uint8], shot: Shot) -> PhotoRecord:
        height, width = class_map.shape
        target, unlike = self.classes.index(TARGET), None
        if target is not None:
            shot = self.reader.with_targets(shot, class_map == target)
        if self.likeness is not None and one.probability is not None:
            unlike = self.likeness.unlike(features(image, one.probability))
        wanted = class_map.any() or one.moving
        drawn = self._painted(image, class_map) if wanted else None
        one.image = None
        del image  # the largest array of all is not needed while cracks are measured
        method = self.how.width if one.probability is not None else "mask"
        cracks = cracks_of(class_map == self.crack, one.probability, self.how.min_length, method)
        source = one.source
        files = {"mask": save_mask(class_map, self.classes, self.store.path(MASKS, source, ".png"))}
        if drawn is not None:
            labels = tags(cracks, Units(shot.mm_per_pixel), max(height, width) / max(drawn.shape[:2]))
            files["overlay"] = save_image(tagged(drawn, labels), self.store.path(OVERLAYS, source, ".jpg"))
        record = PhotoRecord(
            name=source.name,
            file=source.label,
            width=width,
            height=height,
            shot=shot,
            cracks=tuple(map(CrackRecord.of, cracks)),
            areas=self._areas(class_map),
            unlike=unlike,
            files={kind: path.relative_to(self.store.folder).as_posix() for kind, path in files.items()},
        )
        self.store.save(source, record, one.identity)
        return record

    def _painted(self, image: Picture, class_map: NDArray[np.uint8]) -> Picture:
        painted = overlay(image, class_map, self.classes, palette=self.how.palette)
        if max(painted.shape[:2]) <= OVERLAY_SIDE:
            return painted
        drawn = Image.fromarray(painted)
        drawn.thumbnail((OVERLAY_SIDE, OVERLAY_SIDE), Image.Resampling.BOX)
        return np.asarray(drawn)

    def _areas(self, class_map: NDArray[np.uint8]) -> tuple[AreaRecord, ...]:
        """Defects other than cracks, the largest first."""
        pixels = class_pixels(class_map, self.classes).astype(int).tolist()
        found = [
            AreaRecord(name, pixels[i], int(ndimage.label(class_map == i, EIGHT_CONNECTED)[1]))
            for i, name in enumerate(self.classes.classes)
            if i not in (0, self.crack) and pixels[i]
        ]
        return tuple(sorted(found, key=lambda area: -area.area_px))


def cracks_of(
    mask: NDArray[np.bool_], probability: NDArray[np.float32] | None, min_length: float, width: str
) -> tuple[Crack, ...]:
    """The cracks of a mask bool (H, W) as ``measure_cracks`` numbers them, of a large one in less memory."""
    how: dict[str, Any] = {"min_length": min_length, "width": width}
    if mask.size <= LARGE_PIXELS:
        return measure_cracks(mask, probability, **how)

    def read(rows: slice, columns: slice) -> tuple[NDArray[np.bool_], NDArray[np.float32] | None]:
        return mask[rows, columns], None if probability is None else probability[rows, columns]

    shape = (mask.shape[0], mask.shape[1])
    found = sorted(measure_streamed(read, shape, **how), key=lambda crack: (-crack.length_px, crack.box))
    return tuple(replace(crack, number=number) for number, crack in enumerate(found, 1))


def tags(cracks: Sequence[Crack], scale: Units, shrunk: float) -> list[Tag]:
    """Numbers and lengths of the longest cracks for a picture that is ``shrunk`` times smaller than the photograph."""
    return [
        Tag(
            (crack.segments[0].line / shrunk).astype(int),
            f"{crack.number}: {scale.with_unit(scale.length(crack.length_px))}",
            str(crack.number),
        )
        for crack in cracks[:TAGS]
    ]


def _pixels(one: Going) -> int:
    """Of the photograph, from its header; a damaged one has none."""
    return header_pixels(one.source.file) if one.image is None else one.image.shape[0] * one.image.shape[1]


def surveyed(photos: Iterable[Going], steps: Steps, replicas: Replicas) -> Iterator[Going]:
    """The photographs, done, in their order; reading, networks, measuring and writing overlap."""
    return through_networks(photos, steps, replicas, _pixels, PIXELS_UNDER_WAY)
