"""A survey of an orthophoto: predicted, measured, and written window by window, whatever its size."""

from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from prune.data.labels import ClassSet
from prune.inference.predictor import Predictor
from prune.inference.probability import class_probability
from prune.inspection.exif import PhotoFacts
from prune.inspection.likeness import Likeness, features
from prune.inspection.map_cracks import write_crack_map
from prune.inspection.map_prediction import WINDOW, mask_reader, predict_orthophoto
from prune.inspection.orthophoto import Orthophoto
from prune.inspection.reading import words
from prune.inspection.records import AreaRecord, CrackRecord, PhotoRecord, Position, Shot, Source
from prune.inspection.scale import ScaleReader
from prune.inspection.settings import MeasureSettings
from prune.inspection.store import MAPS, MASKS, OVERLAYS, Store, identity_of
from prune.inspection.streamed import measure_streamed
from prune.inspection.wording import Units
from prune.report.figures import save_image
from prune.report.paper import Picture
from prune.report.tags import Tag, draw_tags

OVERVIEW = 2400
"""px of the longer side of the picture in the report."""
LINE = (213, 0, 130)
"""Color of the center lines on it, RGB."""
TAGS = 60


class MapSurvey:
    """Surveys orthophotos one by one.

    Args:
        predictor: The network.
        store: Where everything is written.
        how: What is measured.
        scales: Where scales come from, where the orthophoto itself is not to say it.
        logits: Whether the network gives logits, and with them probabilities.
        likeness: What the photographs of the network's test look like, None = not known.
    """

    def __init__(
        self,
        predictor: Predictor,
        store: Store,
        how: MeasureSettings,
        scales: ScaleReader,
        logits: bool = True,
        likeness: Likeness | None = None,
    ) -> None:
        self.predictor, self.store, self.how = predictor, store, how
        self.scales, self.logits, self.likeness = scales, logits, likeness
        self.crack = predictor.classes.index("crack") or 1  # the class that is measured
        self._unlike: list[float] = []

    def __call__(self, source: Source) -> PhotoRecord:
        """Survey an orthophoto and write its mask, maps, picture and record.

        Raises:
            UserError: for a file that cannot be read, files that cannot be written, and rasterio missing.
        """
        identity, self._unlike = identity_of(source.file), []
        with Orthophoto(source.file) as photo:
            shot = self._shot(source, photo)
            mask = self.store.path(MASKS, source, ".tif")
            likely = self.store.path(MAPS, source, ".probability.tif") if self.logits else None
            colors = dict(enumerate(self.predictor.classes.colors))
            try:
                predict_orthophoto(photo, self._predict, mask, likely, colors=colors)
                cracks = self._cracks(photo, mask, likely)
            finally:
                if likely is not None:
                    likely.unlink(missing_ok=True)
            maps = [self.store.path(MAPS, source, ending) for ending in (".geojson", ".gpkg")]
            written = {path.suffix[1:]: path for path in write_crack_map(photo, cracks, shot.mm_per_pixel, *maps)}
            picture = drawn(photo.overview(OVERVIEW), cracks, Units(shot.mm_per_pixel), max(photo.size))
            overlay = save_image(picture, self.store.path(OVERLAYS, source, ".jpg"))
            files = {"mask": mask, "overlay": overlay, **written}
            record = PhotoRecord(
                name=source.name,
                file=source.label,
                width=photo.size[1],
                height=photo.size[0],
                shot=shot,
                cracks=cracks,
                areas=self._areas(photo.size, mask),
                unlike=median(self._unlike) if self._unlike else None,
                files={kind: path.relative_to(self.store.folder).as_posix() for kind, path in files.items()},
            )
        self.store.save(source, record, identity)
        return record

    def _predict(self, image: Picture) -> tuple[NDArray[np.uint8], NDArray[np.float32] | None]:
        if not self.logits:
            return self.predictor.class_map(image), None
        found = class_probability(self.predictor, image, self.crack)
        if self.likeness is not None:
            self._unlike.append(self.likeness.unlike(features(image, found.probability)))
        return found.class_map, found.probability

    def _cracks(self, photo: Orthophoto, mask: Path, likely: Path | None) -> tuple[CrackRecord, ...]:
        """Every crack, the longest first."""
        method = self.how.width if likely is not None else "mask"
        with mask_reader(mask, self.crack, likely) as read:
            cracks = measure_streamed(read, photo.size, min_length=self.how.min_length, width=method)
            found = sorted(map(CrackRecord.of, cracks), key=lambda crack: (-crack.length_px, crack.box))
        return tuple(crack.numbered(number) for number, crack in enumerate(found, 1))

    def _areas(self, size: tuple[int, int], mask: Path) -> tuple[AreaRecord, ...]:
        """Defects other than cracks, the largest first; their pieces are not counted."""
        classes: ClassSet = self.predictor.classes
        pixels, (height, width) = np.zeros(256, np.int64), size
        with Orthophoto(mask) as ids:
            for top in range(0, height, WINDOW):
                for left in range(0, width, WINDOW):
                    rows, columns = (slice(s, min(n, s + WINDOW)) for s, n in ((top, height), (left, width)))
                    pixels += np.bincount(ids.read(rows, columns)[0][..., 0].ravel(), minlength=256)
        found = [
            AreaRecord(name, int(pixels[number]), None)
            for number, name in enumerate(classes.classes)
            if number not in (0, self.crack) and pixels[number]
        ]
        return tuple(sorted(found, key=lambda area: -area.area_px))

    def _shot(self, source: Source, photo: Orthophoto) -> Shot:
        """Scale and place: as given, else as the orthophoto says."""
        height, width = photo.size
        given = self.scales.scale(source.file.stem, photo.size, PhotoFacts(width, height))
        scale = given if given is not None and given.plane is None else photo.scale
        middle = photo.to_degrees(np.array([[(width - 1) / 2, (height - 1) / 2]]))
        place = None if middle is None else Position(float(middle[0, 1]), float(middle[0, 0]))
        notes = () if photo.placed else ("the file has no coordinate system: the map is in px",)
        if scale is None:
            return Shot(None, "", place, notes)
        return Shot(scale.mm_per_pixel, words(scale), place, notes)


def drawn(overview: Picture, cracks: tuple[CrackRecord, ...], units: Units, side: int) -> Picture:
    """A reduced picture uint8 (h, w, 3) with the center lines of all cracks and the numbers of the longest.

    Args:
        overview: The picture; it stays as it is.
        cracks: What was measured, in px of the whole picture.
        units: How lengths are written.
        side: Of the whole picture in px, the longer one.
    """
    shrunk = side / max(overview.shape[:2])
    canvas = Image.fromarray(overview)
    draw = ImageDraw.Draw(canvas)
    for crack in cracks:
        for line in crack.lines:
            points = [(column / shrunk, row / shrunk) for row, column in line]
            draw.line(points if len(points) > 1 else points * 2, fill=LINE, width=max(2, OVERVIEW // 800))
    tags = [
        Tag(
            (np.array(crack.lines[0]) / shrunk).astype(int),
            f"{crack.number}: {units.with_unit(units.length(crack.length_px))}",
            str(crack.number),
        )
        for crack in cracks[:TAGS]
        if crack.lines
    ]
    return draw_tags(np.asarray(canvas), tags)
