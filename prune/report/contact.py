"""A contact sheet: photographs of a data set with their labels outlined, to see at a glance whether they fit."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prune.data.labels import ClassSet
from prune.report.paper import INK, PAPER, RIM, Picture, letters

TILE = 320
"""px: a photograph's longer side on the sheet."""
COLUMNS = 4
GAP, MARGIN = 14, 24
TITLE, TEXT = 20, 14
"""px: letters of a section's title and of captions."""
FILL = 0.25
"""Opacity inside an outline: what is labeled shows through."""
FADED = 0.1
"""Share of a shrunk pixel that must be a defect to stay one: a crack thinner than a pixel stays visible."""


@dataclass(frozen=True)
class Tile:
    """A photograph with its label drawn over, uint8 (h, w, 3) of at most ``TILE`` px; caption; ids of its defects."""

    picture: Picture
    caption: str
    defects: tuple[int, ...]


@dataclass(frozen=True)
class Section:
    """A title and the tiles below it."""

    title: str
    tiles: Sequence[Tile]


def _shrunk(region: NDArray[np.bool_], size: tuple[int, int]) -> NDArray[np.bool_]:
    """A region (H, W) at the size (width, height) of a tile."""
    gray = Image.fromarray(region.astype(np.uint8) * 255)
    if size[0] >= region.shape[1]:
        return np.asarray(gray.resize(size, Image.Resampling.NEAREST)) > 0
    return np.asarray(gray.resize(size, Image.Resampling.BOX)) >= FADED * 255


def draw_tile(image: Picture, label: NDArray[np.integer], classes: ClassSet, caption: str) -> Tile:
    """Scale a photograph to the sheet and draw its label: defects tinted, with an outline just outside of them.

    The outline leaves a thin crack itself visible, so that one sees whether the label lies on it.

    Args:
        image: uint8 (H, W, 3), RGB.
        label: Class ids (H, W).
        classes: Their colors, see ``ClassSet.recolored``.
        caption: Text below the photograph.
    """
    from scipy.ndimage import binary_dilation

    scale = TILE / max(label.shape)
    size = (max(1, round(label.shape[1] * scale)), max(1, round(label.shape[0] * scale)))
    picture = np.array(Image.fromarray(image).resize(size, Image.Resampling.LANCZOS))
    defect = _shrunk((label > 0) & (label < len(classes)), size)
    found = tuple(class_id for class_id in classes.defect_ids if (label == class_id).any())
    for class_id in found:
        region = _shrunk(label == class_id, size)
        color = np.array(classes.colors[class_id])
        picture[region] = np.rint((1 - FILL) * picture[region] + FILL * color)
        picture[binary_dilation(region, iterations=1) & ~defect] = color
    return Tile(picture, caption, found)


def _fitted(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """The text, its middle replaced by an ellipsis where it is wider than ``width`` px."""
    if font.getlength(text) <= width:
        return text
    half = next(
        n for n in range(len(text) // 2, -1, -1) if n == 0 or font.getlength(f"{text[:n]}…{text[-n:]}") <= width
    )
    return f"{text[:half]}…{text[len(text) - half :]}"


def _columns(sections: Sequence[Section]) -> int:
    """``COLUMNS``, or one less where that leaves fewer places empty in the largest section."""
    most = max(len(section.tiles) for section in sections)
    return min(COLUMNS, COLUMNS - 1, key=lambda columns: -most % columns) if most > COLUMNS else most


def _rows(section: Section, columns: int) -> list[Sequence[Tile]]:
    return [section.tiles[start : start + columns] for start in range(0, len(section.tiles), columns)]


def _row_height(row: Sequence[Tile]) -> int:
    return max(tile.picture.shape[0] for tile in row) + 2 * TEXT + GAP


def _draw_legend(draw: ImageDraw.ImageDraw, sections: Sequence[Section], classes: ClassSet, top: int) -> None:
    font, left = letters(TEXT), MARGIN
    for class_id in sorted({class_id for section in sections for tile in section.tiles for class_id in tile.defects}):
        name = classes.classes[class_id]
        draw.rectangle([left, top, left + TEXT, top + TEXT], fill=classes.colors[class_id], outline=RIM)
        draw.text((left + round(1.5 * TEXT), top + TEXT / 2), name, fill=INK, font=font, anchor="lm")
        left += round(font.getlength(name)) + 4 * TEXT


def contact_sheet(sections: Sequence[Section], classes: ClassSet) -> Picture:
    """Sections of captioned tiles below each other, and the colors of the classes found at the end: uint8 (H, W, 3)."""
    columns = _columns(sections)
    width = max(2 * MARGIN + columns * TILE + (columns - 1) * GAP, 2 * TILE)
    heights = [2 * TITLE + sum(map(_row_height, _rows(section, columns))) for section in sections]
    sheet = Image.new("RGB", (width, sum(heights) + 2 * MARGIN + TEXT), (PAPER,) * 3)
    draw, top = ImageDraw.Draw(sheet), MARGIN
    title_font, font = letters(TITLE), letters(TEXT)
    for section in sections:
        draw.text((MARGIN, top), section.title, fill=INK, font=title_font, anchor="lt")
        top += 2 * TITLE
        for row in _rows(section, columns):
            tallest = max(tile.picture.shape[0] for tile in row)
            for column, tile in enumerate(row):
                left = MARGIN + column * (TILE + GAP)
                indent = (TILE - tile.picture.shape[1]) // 2
                sheet.paste(
                    Image.fromarray(tile.picture), (left + indent, top + (tallest - tile.picture.shape[0]) // 2)
                )
                place = (left + TILE / 2, top + tallest + TEXT)
                draw.text(place, _fitted(tile.caption, font, TILE), fill=INK, font=font, anchor="mm")
            top += _row_height(row)
    _draw_legend(draw, sections, classes, top)
    return np.asarray(sheet)
