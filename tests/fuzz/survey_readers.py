"""Formats that surveys read: what cameras, maps, tables of scales, and earlier surveys hold."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from PIL import ExifTags, Image

from tests.fuzz.format import Format


def _exif_photo(folder: Path) -> Path:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation], exif[ExifTags.Base.Model] = 6, "camera"
    exif.get_ifd(ExifTags.IFD.Exif).update({ExifTags.Base.FocalLength: 35.0, ExifTags.Base.FocalLengthIn35mmFilm: 52})
    exif.get_ifd(ExifTags.IFD.GPSInfo).update({1: "N", 2: (51.0, 2.0, 3.5), 3: "E", 4: (13.0, 44.0, 0.0), 6: 120.5})
    pixels = np.random.default_rng(0).integers(0, 255, (24, 32, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(folder / "a.jpg", exif=exif, quality=60)
    return folder / "a.jpg"


def _read_exif(file: Path) -> object:
    from prune.data.images import image_size
    from prune.inspection.exif import read_exif

    facts = read_exif(file)
    return facts.pixel_angle, facts.position, facts.missing, image_size(file)


def _map(folder: Path) -> Path:
    import rasterio

    bands = np.random.default_rng(0).integers(0, 255, (3, 40, 50)).astype(np.uint8)
    place = rasterio.Affine(0.002, 0, 411000, 0, -0.002, 5657000)
    shape = {"count": 3, "height": 40, "width": 50, "dtype": "uint8"}
    with rasterio.open(folder / "a.tif", "w", driver="GTiff", crs="EPSG:32633", transform=place, **shape) as file:
        file.write(bands)
    return folder / "a.tif"


def _read_map(file: Path) -> object:
    from prune.inspection.orthophoto import Orthophoto, is_orthophoto

    is_orthophoto(file)
    with Orthophoto(file) as photo:
        height, width = photo.size
        photo.read(slice(0, min(height, 64)), slice(0, min(width, 64)))
        photo.overview(32)
        return photo.scale, photo.system, photo.to_degrees(np.array([[0.0, 0.0], [width, height]]))


def _video(folder: Path) -> Path:
    from prune.inspection.video import video_writer

    rng = np.random.default_rng(0)
    with video_writer(folder / "a.mp4", 10, (32, 48)) as add:
        for _ in range(6):
            add(rng.integers(0, 255, (32, 48, 3)).astype(np.uint8))
    return folder / "a.mp4"


def _read_video(file: Path) -> object:
    from prune.inspection.video import Video
    from prune.progress import shown_or_not

    with shown_or_not(False), Video(file) as video:
        return video.rate, video.count, sum(1 for _, _ in zip(video, range(50), strict=False))


def _list(folder: Path) -> Path:
    from tests.conftest import make_data

    make_data(folder / "data", counts=(1, 1, 2), size=16)
    shutil.rmtree(folder / "data/train")
    (folder / "data/test/list.txt").write_text("000.png\n# a note\n001\n")
    return folder / "data/test/list.txt"


def _read_list(file: Path) -> object:
    from prune.data.find_split import find_split

    return find_split(file, None).pairs


def _scales(folder: Path) -> Path:
    (folder / "a.csv").write_text("image,mm_per_pixel\na.jpg,0.25\nb,1.5\n")
    return folder / "a.csv"


def _read_scales(file: Path) -> object:
    from prune.data.pixel_size import read_scales

    return read_scales(str(file), ["a", "b"])


def _points(folder: Path) -> Path:
    rows = ["0,0,0,0", "40,2,100,0", "41,30,100,80", "1,29,0,80"]
    (folder / "a.csv").write_text("\n".join(["image,x,y,x_mm,y_mm", *(f"a.jpg,{row}" for row in rows)]) + "\n")
    return folder / "a.csv"


def _read_points(file: Path) -> object:
    from prune.inspection.scale import ScaleReader
    from prune.inspection.scale_settings import ScaleSettings

    return ScaleReader(ScaleSettings(points=str(file)), ["a"]).scale("a", (32, 48), _facts(), None)


def _facts() -> Any:
    from prune.inspection.exif import PhotoFacts

    return PhotoFacts(48, 32)


def _survey(damaged: str) -> Any:
    """A survey of one photograph with a crack, as its folder holds it."""

    def make(folder: Path) -> Path:
        from prune.inspection.cracks import measure_cracks
        from prune.inspection.records import CrackRecord, PhotoRecord, Position, Shot, Source
        from prune.inspection.store import Store

        mask = np.zeros((40, 60), bool)
        mask[20:23, 5:50] = True
        cracks = tuple(map(CrackRecord.of, measure_cracks(mask)))
        shot = Shot(0.5, "two points", Position(51.0, 13.0, 120.0), ("a note",))
        record = PhotoRecord("a", "a.png", 60, 40, shot, cracks, (), 0.2, {})
        store, photo = Store(folder / "s", {"width": "mask"}), folder / "a.png"
        photo.write_bytes(b"photograph")
        store.save(Source(photo, "a"), record, {"size": 10, "mtime_ns": 1, "sha256": "0"})
        store.write("2026-01-01", {"photographs": ["a"], "broken": [], "totals": {"cracks": 1}})
        return folder / "s" / damaged

    return make


def _read_survey(file: Path) -> object:
    from prune.errors import UserError
    from prune.inspection.dates import earlier_of, read_survey
    from prune.inspection.records import Source
    from prune.inspection.store import Store

    folder = next(parent for parent in file.parents if parent.name == "s")
    store = Store(folder, {"width": "mask"})
    try:
        store.open(False)
    finally:
        store.finished(Source(folder.parent / "a.png", "a"))
    _, records = read_survey(folder)
    for record in records:
        earlier_of(record, records)
    if not records:
        raise UserError("nothing in it")
    return [(record.length_px, record.widest) for record in records]


def _errors(folder: Path) -> Path:
    from prune.inspection.known_errors import KnownErrors, LengthError, WidthError
    from prune.inspection.likeness import Likeness

    wide, every = WidthError(6.0, 10.0, 6, 2.0, 0.1), WidthError(0.0, None, 9, 1.5, 0.4)
    like = Likeness((0.1,) * 8, tuple(tuple(1.0 if i == j else 0.0 for j in range(8)) for i in range(8)), 3.0)
    errors = KnownErrors("data", 12, "mask", 10.0, (wide,), every, LengthError(700.0, 650.0, 0.1, 0.78, 0.84), like)
    (folder / "a.json").write_text(json.dumps({"crack_errors": errors.to_json()}))
    return folder / "a.json"


def _read_errors(file: Path) -> object:
    from prune.api.crack_errors import read_errors

    errors = read_errors(file)
    unlike = errors.likeness and errors.likeness.unlike(np.zeros(8))
    return errors.of_width(7.0), errors.length.bias, unlike, [str(one) for one in errors.widths]


def _notes(folder: Path) -> Path:
    (folder / "a.json").write_text(json.dumps({"data": ["drawn", "12 images"], "license": "MIT"}))
    return folder / "a.json"


def _read_notes(file: Path) -> object:
    from prune.api.export import read_notes

    return read_notes(file)


SURVEY_FORMATS: dict[str, Format] = {
    "photograph, EXIF": Format(_exif_photo, _read_exif),
    "orthophoto, GeoTIFF": Format(_map, _read_map, native=True),
    "video, MP4": Format(_video, _read_video, native=True),
    "list of names": Format(_list, _read_list),
    "scales, CSV": Format(_scales, _read_scales),
    "points, CSV": Format(_points, _read_points),
    "survey, survey.json": Format(_survey("survey.json"), _read_survey),
    "survey, record": Format(_survey("photographs/a.json"), _read_survey),
    "errors of cracks, JSON": Format(_errors, _read_errors),
    "notes, JSON": Format(_notes, _read_notes),
}
