"""The report of a survey: one HTML file that stands alone and prints well."""

import base64
import html
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from PIL import Image

from prune.files import atomic_path
from prune.inspection.findings import Findings
from prune.inspection.places import map_svg, placed, scale_words, where
from prune.inspection.records import CrackRecord, PhotoRecord
from prune.inspection.report_growth import growth_part
from prune.inspection.report_style import CSS, FOOT, HEAD, paragraph, table
from prune.inspection.report_text import errors_part, limits_part, method_part, settings_part, summary_part
from prune.inspection.rows import remarks
from prune.inspection.wording import UNKNOWN, Units, direction
from prune.report.paper import share_text

PICTURE_SIDE = 1200
"""px of the longer side of pictures in the report."""
JPEG_QUALITY = 82
SHOWN = 30
"""Cracks in the table of a photograph, the longest first."""


def write_report(found: Findings, path: Path, pictures: int) -> Path:
    """Write the report, atomically, and return ``path``; pictures are read one by one, so memory does not grow with them.

    Args:
        found: The survey.
        path: The .html file.
        pictures: How many photographs have a picture: those with the longest cracks.
    """
    by_length = sorted(found.photos, key=lambda photo: -photo.length_px)
    shown = [photo for photo in by_length if "overlay" in photo.files][:pictures]
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        stream.write(HEAD.format(title=html.escape(f"Survey {found.about.title}"), css=CSS))
        for part in _parts(found, {photo.name for photo in shown}):
            stream.write(part)
        stream.write(FOOT)
    return path


def _parts(found: Findings, pictured: set[str]) -> Iterator[str]:
    """The sections, one after the other."""
    number = {photo.name: i for i, photo in enumerate(found.photos, 1)}
    yield summary_part(found)
    yield errors_part(found)
    yield limits_part(found)
    if placed(found.photos):
        yield f"<h2>Map</h2><figure>{map_svg(placed(found.photos), number)}<figcaption>Where the photographs were taken, "
        yield "numbered as in the table below. Larger points: more crack.</figcaption></figure>"
    yield "<h2>Photographs</h2>"
    if not found.placed:
        yield paragraph(
            "There is no map: no photograph says where it was taken (no GPS position in the files).", "soft"
        )
    yield _photo_table(found)
    yield from _broken(found)
    sections = [photo for photo in found.photos if photo.cracks or photo.areas or photo.name in pictured]
    if sections:
        yield "<h2>Findings by photograph</h2>"
    for photo in sections:
        yield _section(found, photo, number[photo.name], photo.name in pictured)
    yield growth_part(found.growth, found.since, lambda name: _picture(found.folder / name))
    yield method_part(found)
    yield settings_part(found)


def _photo_table(found: Findings) -> str:
    """A row per photograph, in mm where all of them have a scale, else with the unit in the cell."""
    areas = list(found.areas())
    titles = ["no.", "photograph", "cracks", "length", "largest width", *areas, "remark"]
    rows = []
    for i, photo in enumerate(found.photos, 1):
        scale = Units(photo.shot.mm_per_pixel)
        shares = {area.class_name: photo.share(area) for area in photo.areas}
        rows.append(
            [
                i,
                photo.name,
                len(photo.cracks),
                scale.with_unit(scale.length(photo.length_px)) if photo.cracks else UNKNOWN,
                scale.with_unit(scale.width(photo.width_max_px)),
                *(share_text(shares[name]) if name in shares else UNKNOWN for name in areas),
                "; ".join(remarks(photo, found.placed)),
            ]
        )
    return table(titles, rows, {0, *range(2, 5 + len(areas))})


def _broken(found: Findings) -> Iterator[str]:
    if found.broken:
        yield "<h2>Not surveyed</h2>"
        yield table(["file", "cause"], [[one.file, one.cause.removeprefix(f"{one.file}: ")] for one in found.broken])


def _section(found: Findings, photo: PhotoRecord, number: int, pictured: bool) -> str:
    """One photograph: its picture, its cracks and its areal defects."""
    about = [f"{photo.width} × {photo.height} px", scale_words(photo), where(photo), *remarks(photo, found.placed)]
    lines = [
        f'<section class="photo" id="photo-{number}"><div class="top"><h3>{number}. {html.escape(photo.name)}</h3>'
    ]
    lines.append(f'<p class="soft">{html.escape(" · ".join(filter(None, about)))}</p>')
    if pictured:
        source = _picture(found.folder / photo.files["overlay"])
        alt = f"Photograph {number} with its cracks numbered"
        lines.append(f'<figure><img src="{source}" alt="{alt}"></figure>')
    elif "overlay" in photo.files:
        lines.append(f'<p class="soft">Picture: {html.escape(photo.files["overlay"])}</p>')
    lines.append("</div>")
    if photo.cracks:
        lines.append(_crack_table(found, photo))
    if len(photo.cracks) > SHOWN:
        lines.append(f'<p class="soft">{len(photo.cracks) - SHOWN} shorter cracks are in cracks.csv.</p>')
    if photo.areas:
        scale = Units(photo.shot.mm_per_pixel)
        rows = [
            [a.class_name, UNKNOWN if a.pieces is None else a.pieces, scale.area(a.area_px), share_text(photo.share(a))]
            for a in photo.areas
        ]
        lines.append(table(["defect", "pieces", "area", "share of the photograph"], rows, range(1, 4)))
    return "".join([*lines, "</section>"])


def _crack_table(found: Findings, photo: PhotoRecord) -> str:
    scale = Units(photo.shot.mm_per_pixel)
    unit = scale.unit
    titles = ["crack", f"length {unit}", f"mean width {unit}", f"95% below {unit}", f"largest {unit}", "at x, y px"]
    titles += ["direction °", "branches", "probability", f"error of mean width {unit}"]
    return table(titles, [_crack_row(found, crack, scale) for crack in photo.cracks[:SHOWN]], range(len(titles)))


def _crack_row(found: Findings, crack: CrackRecord, scale: Units) -> list[Any]:
    widths = (crack.width_mean_px, crack.width_p95_px, crack.width_max_px)
    error = found.about.errors and found.about.errors.of_width(crack.width_mean_px)
    known = UNKNOWN
    if error and error.bias_px is not None and error.spread_px is not None:
        known = f"{scale.factor * error.bias_px:+.2f} ± {scale.factor * error.spread_px:.2f}"
    return [
        crack.number,
        scale.length(crack.length_px),
        *(scale.width(width) for width in widths),
        f"{crack.width_max_at[1]}, {crack.width_max_at[0]}",
        direction(crack.orientation),
        crack.branches,
        UNKNOWN if crack.probability is None else f"{crack.probability:.2f}",
        known,
    ]


def _picture(file: Path) -> str:
    """A JPEG file as a data URL, shrunk to ``PICTURE_SIDE``."""
    content = file.read_bytes()
    with Image.open(io.BytesIO(content)) as picture:
        if max(picture.size) > PICTURE_SIDE:
            picture.draft("RGB", (PICTURE_SIDE, PICTURE_SIDE))
            picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE), Image.Resampling.BOX)
            stream = io.BytesIO()
            picture.save(stream, format="JPEG", quality=JPEG_QUALITY)
            content = stream.getvalue()
    return f"data:image/jpeg;base64,{base64.b64encode(content).decode()}"
