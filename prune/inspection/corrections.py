"""What was found as polygons that labeling programs read: COCO for CVAT and others, LabelMe with one file per photograph."""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from prune.data.images import read_id_label
from prune.files import atomic_path, write_text
from prune.inspection.findings import Findings
from prune.inspection.outlines import Ring, polygons
from prune.inspection.records import PhotoRecord
from prune.metrics.measurement import EIGHT_CONNECTED
from prune.progress import progress
from prune.version import VERSION

SMALLEST = 4
"""px: smaller pieces of areal defects are left out."""


@dataclass(frozen=True)
class Piece:
    """One crack or one piece of an areal defect.

    Args:
        class_id: Of its class.
        number: Of the crack within its photograph, 0 for areal defects.
        area_px: Its pixels.
        box: Left, top, width and height in px.
        rings: Polygons without holes that cover it.
    """

    class_id: int
    number: int
    area_px: int
    box: tuple[int, int, int, int]
    rings: tuple[Ring, ...]


def pieces(
    photo: PhotoRecord, class_map: NDArray[np.uint8], crack: int, classes: Sequence[int] = ()
) -> Iterator[Piece]:
    """The cracks of a photograph by number, then the pieces of the other defects.

    Args:
        photo: What was found in it.
        class_map: Class ids uint8 (H, W).
        crack: The class that was measured.
        classes: The other defects in it.
    """
    for one in photo.cracks:
        top, left, height, width = one.box
        inside = class_map[top : top + height, left : left + width] == crack
        labels = ndimage.label(inside, EIGHT_CONNECTED)[0]
        row, column = one.width_max_at
        yield _piece(labels == labels[row - top, column - left], crack, one.number, left, top)
    for number in classes:
        labels, count = ndimage.label(class_map == number, EIGHT_CONNECTED)
        for piece, (rows, columns) in enumerate(ndimage.find_objects(labels, count), 1):
            mask = labels[rows, columns] == piece
            if np.count_nonzero(mask) >= SMALLEST:
                yield _piece(mask, number, 0, columns.start, rows.start)


def _piece(mask: NDArray[np.bool_], class_id: int, number: int, left: int, top: int) -> Piece:
    rings = tuple([(x + left, y + top) for x, y in ring] for ring in polygons(mask))
    height, width = mask.shape
    return Piece(class_id, number, int(np.count_nonzero(mask)), (left, top, width, height), rings)


def write_corrections(found: Findings) -> list[Path]:
    """Write ``coco.json`` and ``labelme/NAME.json`` and return the first file of each; nothing without photographs.

    Orthophotos are left out: their defects are on the map.
    """
    photos = [photo for photo in found.photos if photo.files["mask"].endswith(".png")]
    if not photos:
        return []
    names = found.about.classes.classes
    crack, folder = names.index(found.about.crack), found.folder
    categories = [{"id": i, "name": name} for i, name in enumerate(names) if i]
    head = {
        "info": {"description": found.about.title, "version": VERSION, "date_created": found.about.begun},
        "categories": categories,
    }
    images = [
        {"id": i, "file_name": _relative(photo, folder), "width": photo.width, "height": photo.height}
        for i, photo in enumerate(photos, 1)
    ]
    labelme = [folder / "labelme" / f"{photo.name}.json" for photo in photos]
    path, count = folder / "coco.json", 0
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(json.dumps(head | {"images": images}, ensure_ascii=False)[:-1] + ', "annotations": [')
        for i, (photo, file) in enumerate(zip(progress(photos, "polygons"), labelme, strict=True), 1):
            others = sorted(names.index(area.class_name) for area in photo.areas)
            mine = []
            if photo.cracks or others:
                class_map = read_id_label(folder / photo.files["mask"], found.about.classes)
                mine = list(pieces(photo, class_map, crack, others))
            for piece in mine:
                count += 1
                stream.write((",\n" if count > 1 else "\n") + json.dumps(_annotation(piece, i, count)))
            write_text(file, json.dumps(_labelme(photo, mine, names, file.parent), ensure_ascii=False) + "\n")
        stream.write("\n]}\n")
    return [path, labelme[0]]


def _relative(photo: PhotoRecord, folder: Path) -> str:
    """The photograph's path as seen from a folder; absolute where none leads there, as it is where there is no such file."""
    if not Path(photo.file).is_file():
        return Path(photo.file).as_posix()
    file = Path(photo.file).resolve()
    try:
        return Path(os.path.relpath(file, folder.resolve())).as_posix()
    except ValueError:  # another drive
        return file.as_posix()


def _annotation(piece: Piece, image: int, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "image_id": image,
        "category_id": piece.class_id,
        "segmentation": [[coordinate for corner in ring for coordinate in corner] for ring in piece.rings],
        "area": piece.area_px,
        "bbox": list(piece.box),
        "iscrowd": 0,
        "attributes": {"crack": piece.number} if piece.number else {},
    }


def _labelme(photo: PhotoRecord, found: list[Piece], names: tuple[str, ...], folder: Path) -> dict[str, Any]:
    """The content of a LabelMe file; polygons of one piece share a group."""
    shapes = [
        {
            "label": names[piece.class_id],
            "points": [list(corner) for corner in ring],
            "group_id": number,
            "shape_type": "polygon",
            "flags": {},
            "description": f"crack {piece.number}" if piece.number else "",
        }
        for number, piece in enumerate(found, 1)
        for ring in piece.rings
    ]
    size = {"imageHeight": photo.height, "imageWidth": photo.width}
    where = {"imagePath": _relative(photo, folder), "imageData": None}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, **where, **size}
