"""White paper: pictures beside and below each other, captions, and legends of the classes that are drawn."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prune.data.labels import ClassSet, Color

Picture = NDArray[np.uint8]
"""RGB, uint8 (H, W, 3)."""
Entry = tuple[Color, str]
"""Color and text of a line of a legend."""
INK, RIM, PAPER = (30, 30, 30), (90, 90, 90), 255
SMALLEST_TEXT = 12
"""px: the smallest letters that everyone can read."""
WIDEST_CELL = 800
"""px: pictures on a comparison sheet are shrunk to this width."""
NOTHING = "nothing found"


@lru_cache(maxsize=64)
def letters(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    """The font of all pictures, ``size`` px high; opening it takes longer than drawing a legend."""
    return ImageFont.load_default(size)


def class_pixels(class_map: NDArray[np.integer], classes: ClassSet) -> NDArray[np.float64]:
    """Pixels per class of a class map (H, W), float64 (C,); ignored ones count for none."""
    return np.array([np.count_nonzero(class_map == i) for i in range(len(classes))], float)  # faster than bincount


def class_shares(pixels: NDArray[np.floating]) -> list[tuple[int, float]]:
    """Ids found and their share (0…1) of all ``pixels`` (C,) per class: defects by size, background last."""
    order = [*(int(i) + 1 for i in np.argsort(-pixels[1:], kind="stable")), 0]
    return [(i, float(pixels[i] / pixels.sum())) for i in order if pixels[i]]


def share_text(share: float) -> str:
    """A share (0…1) in percent with one digit; what is found never reads 0.0%, nor 100.0% unless it is all."""
    if share < 0.001:
        return "< 0.1%"
    return "> 99.9%" if 0.999 < share < 1 else f"{share:.1%}"


def legend_of(pixels: NDArray[np.floating], classes: ClassSet, *, background: bool = False) -> list[Entry]:
    """Color and text (name and share) of every class found, as a legend lists them.

    Args:
        pixels: Pixels per class (C,).
        classes: Names and the colors they are drawn in.
        background: Whether the class 0 is listed too, as it is where it has a color.
    """
    shown = [(i, share) for i, share in class_shares(pixels) if i or background]
    return [(classes.colors[i], f"{classes.classes[i]}  {share_text(share)}") for i, share in shown]


def names_of(class_ids: Sequence[int], classes: ClassSet) -> list[Entry]:
    """Color and name of some classes, for a legend that belongs to several pictures."""
    return [(classes.colors[i], classes.classes[i]) for i in sorted(set(class_ids)) if i < len(classes)]


def legend(entries: Sequence[Entry], width: int, text: int) -> Picture:
    """A strip of outlined swatches with texts of ``text`` px, in as many columns as ``width`` px hold, centered."""
    font, line, margin = letters(text), round(text * 1.7), text // 2
    cell = max((int(font.getlength(label)) for _, label in entries), default=0) + 3 * text
    columns = max(1, min(len(entries), (width - 2 * margin) // cell))
    lines = -(-len(entries) // columns)
    strip = Image.new("RGB", (max(width, columns * cell + 2 * margin), lines * line + text), (PAPER,) * 3)
    start = (strip.width - columns * cell + text) // 2
    draw = ImageDraw.Draw(strip)
    for number, (color, label) in enumerate(entries):
        left, top = start + number % columns * cell, text - text // 4 + number // columns * line
        draw.rectangle([left, top, left + text, top + text], fill=color, outline=RIM, width=max(1, text // 12))
        draw.text((left + round(1.5 * text), top + text / 2), label, fill=INK, font=font, anchor="lm")
    return np.asarray(strip)


def centered(pictures: Sequence[Picture], gap: int, axis: int) -> Picture:
    """Pictures below each other (axis 0) or beside each other (axis 1) on white paper, centered, ``gap`` px apart."""
    extent = max(picture.shape[1 - axis] for picture in pictures)
    length = sum(picture.shape[axis] for picture in pictures) + gap * (len(pictures) - 1)
    sheet = np.full((length, extent, 3) if axis == 0 else (extent, length, 3), PAPER, dtype=np.uint8)
    along = 0
    for picture in pictures:
        across = (extent - picture.shape[1 - axis]) // 2
        top, left = (along, across) if axis == 0 else (across, along)
        sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
        along += picture.shape[axis] + gap
    return sheet


def with_legend(picture: Picture, entries: Sequence[Entry]) -> Picture:
    """A picture above its legend; without entries the legend says that nothing was found.

    Letters are 1/40 of the longer side and at least ``SMALLEST_TEXT`` high; on a small picture the legend may be wider.
    """
    text = max(SMALLEST_TEXT, round(max(picture.shape[:2]) / 40))
    shown = entries or [((PAPER, PAPER, PAPER), NOTHING)]
    return centered([picture, legend(shown, picture.shape[1], text)], 0, axis=0)


def caption(text: str, size: int) -> Picture:
    """One line of text on white, as large as it needs."""
    font = letters(size)
    strip = Image.new("RGB", (round(font.getlength(text)) + size, round(size * 1.6)), (PAPER,) * 3)
    ImageDraw.Draw(strip).text((strip.width / 2, strip.height / 2), text, fill=INK, font=font, anchor="mm")
    return np.asarray(strip)


def _scaled(picture: Picture, width: int) -> Picture:
    """The picture at another width: enlarged by repeating pixels, shrunk by averaging (cracks fade but stay)."""
    if picture.shape[1] == width:
        return picture
    method = Image.Resampling.NEAREST if picture.shape[1] < width else Image.Resampling.BOX
    height = max(1, round(picture.shape[0] * width / picture.shape[1]))
    return np.asarray(Image.fromarray(picture).resize((width, height), method))


def _in_cells(pictures: Sequence[Picture], widths: Sequence[int], gap: int) -> Picture:
    """Pictures beside each other, each centered in a cell at least as wide as given."""
    cells = []
    for picture, width in zip(pictures, widths, strict=True):
        spare = max(0, width - picture.shape[1])
        cells.append(np.pad(picture, ((0, 0), (spare // 2, spare - spare // 2), (0, 0)), constant_values=PAPER))
    return centered(cells, gap, axis=1)


def grid(
    rows: Sequence[Sequence[Picture]],
    column_titles: Sequence[str],
    row_titles: Sequence[str],
    legends: Sequence[Sequence[Entry]] = (),
) -> Picture:
    """A comparison sheet: one image per row, one view of it per column, all scaled to the widest one's width.

    Args:
        rows: At least one row of pictures uint8 (H, W, 3); those of one row have one size.
        column_titles: One per column, above it.
        row_titles: One per row, turned, to its left; empty ones leave out the margin.
        legends: Below all pictures, each on lines of its own.

    Raises:
        ValueError: when titles and pictures do not match in number.
    """
    widest = max(picture.shape[1] for row in rows for picture in row)
    longest = max(letters(100).getlength(title) for title in column_titles) / 100 + 1
    cell = min(WIDEST_CELL, max(widest, round(longest * SMALLEST_TEXT)))
    text = max(SMALLEST_TEXT, int(min(cell / 14, cell / longest)))
    gap, small = max(4, text // 3), max(SMALLEST_TEXT, text * 3 // 4)
    names = [np.rot90(caption(title, small)) for title in row_titles]
    margin = max(name.shape[1] for name in names) if any(row_titles) else 0
    heads = [caption(title, text) for title in column_titles]
    blank = np.full((heads[0].shape[0], margin, 3), PAPER, dtype=np.uint8)
    lines = [_in_cells([blank, *heads], [margin] + [cell] * len(heads), gap)]
    for name, row in zip(names, rows, strict=True):
        if len(row) != len(heads):
            raise ValueError(f"{len(heads)} column titles, but a row of {len(row)} pictures")
        scaled = [_scaled(picture, cell) for picture in row]
        lines.append(_in_cells([name[:, :margin], *scaled], [margin] + [cell] * len(row), gap))
    lines += [legend(entries, lines[0].shape[1], small) for entries in legends if entries]
    return np.pad(centered(lines, gap, axis=0), ((gap, gap), (gap, gap), (0, 0)), constant_values=PAPER)
