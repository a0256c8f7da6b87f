"""Pictures of what a network sees: pure functions on arrays, drawn at the image's own size."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.files import atomic_path

Picture = NDArray[np.uint8]
"""RGB, uint8 (H, W, 3)."""
INK, PAPER, RIM = (30, 30, 30), (255, 255, 255), (90, 90, 90)


def color_mask(class_map: NDArray[np.integer], classes: ClassSet) -> Picture:
    """The class map uint8 (H, W) in the palette's colors; ignored pixels are mid gray."""
    return classes.colorize(class_map)


def overlay(image: Picture, class_map: NDArray[np.integer], classes: ClassSet, opacity: float = 0.5) -> Picture:
    """The photograph with every defect pixel blended with its class color.

    Background (id 0) and ignored pixels stay untouched.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W).
        classes: Their colors.
        opacity: 0 shows the photograph only, 1 the colors only.
    """
    found = (class_map > 0) & (class_map < len(classes))
    colors = classes.colorize(class_map)[found].astype(np.float64)
    result = image.copy()
    result[found] = np.rint((1 - opacity) * image[found] + opacity * colors).astype(np.uint8)
    return result


def class_shares(class_map: NDArray[np.integer], classes: ClassSet) -> list[tuple[str, float]]:
    """Classes found and their share of the pixels that are not ignored (0…1): defects by size, background last."""
    counts = np.bincount(class_map.ravel(), minlength=256)[: len(classes)]
    total = max(1, int(counts.sum()))
    order = [int(i) for i in np.argsort(-counts[1:], kind="stable") + 1] + [0]
    return [(classes.classes[i], int(counts[i]) / total) for i in order if counts[i]]


def _share_text(share: float) -> str:
    return f"{share:.1%}" if share >= 0.001 else "< 0.1%"


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _legend(shares: Sequence[tuple[str, float]], classes: ClassSet, width: int, text: int) -> Picture:
    """A strip of swatches with names and shares, in as many columns as fit; at least ``width`` px wide."""
    font, line = _font(text), round(text * 1.7)
    labels = [f"{name}  {_share_text(share)}" for name, share in shares]
    cell = max(int(font.getlength(label)) for label in labels) + round(2.6 * text)
    columns = max(1, min(len(labels), width // cell))
    rows = -(-len(labels) // columns)
    strip = Image.new("RGB", (max(width, cell), rows * line + text), PAPER)
    draw = ImageDraw.Draw(strip)
    for number, ((name, _), label) in enumerate(zip(shares, labels, strict=True)):
        left, top = text // 2 + (number % columns) * cell, text // 2 + (number // columns) * line
        color = classes.colors[classes.index(name) or 0]
        draw.rectangle([left, top, left + text, top + text], fill=color, outline=RIM, width=max(1, text // 12))
        draw.text((left + round(1.5 * text), top - text // 8), label, fill=INK, font=font)
    return np.asarray(strip)


def _title(text: str, width: int, size: int) -> Picture:
    strip = Image.new("RGB", (width, round(size * 1.8)), PAPER)
    ImageDraw.Draw(strip).text((width / 2, size * 0.9), text, fill=INK, font=_font(size), anchor="mm")
    return np.asarray(strip)


def _stack(pictures: Sequence[Picture]) -> Picture:
    """Pictures below each other on paper as wide as the widest, each centered."""
    width = max(p.shape[1] for p in pictures)
    parts = []
    for picture in pictures:
        part = np.full((picture.shape[0], width, 3), 255, dtype=np.uint8)
        left = (width - picture.shape[1]) // 2
        part[:, left : left + picture.shape[1]] = picture
        parts.append(part)
    return np.concatenate(parts)


def _beside(pictures: Sequence[Picture], gap: int) -> Picture:
    spacer = np.full((pictures[0].shape[0], gap, 3), 255, dtype=np.uint8)
    parts = [part for picture in pictures for part in (picture, spacer)][:-1]
    return np.concatenate(parts, axis=1)


def side_by_side(image: Picture, class_map: NDArray[np.integer], classes: ClassSet) -> Picture:
    """Photograph and color mask beside each other, unscaled, above a legend of the classes found and their share.

    Both panels have the image's own size; only the legend makes the picture larger.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W).
        classes: Names and colors.
    """
    height, width = class_map.shape
    text = int(np.clip(max(height, width) / 28, 12, 64))
    gap = max(4, text // 2)
    panels = _beside([image, color_mask(class_map, classes)], gap)
    return _stack([panels, _legend(class_shares(class_map, classes), classes, 2 * width + gap, text)])


def _fitted(picture: Picture, height: int) -> Picture:
    if picture.shape[0] == height:
        return picture
    width = max(1, round(picture.shape[1] * height / picture.shape[0]))
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.Resampling.NEAREST))


def grid(rows: Sequence[Sequence[Picture]], column_titles: Sequence[str], row_titles: Sequence[str]) -> Picture:
    """A comparison sheet: one image per row, one view per column, titled; rows are scaled to a common height.

    Args:
        rows: Pictures uint8 (H, W, 3); those of one row have one size.
        column_titles: One per column.
        row_titles: One per row, written below it.
    """
    height = max(row[0].shape[0] for row in rows)
    text = int(np.clip(height / 16, 12, 40))
    gap = max(4, text // 3)
    parts: list[Picture] = []
    for number, (row, title) in enumerate(zip(rows, row_titles, strict=True)):
        cells = [_fitted(picture, height) for picture in row]
        if number == 0:
            parts.append(_beside([_title(t, c.shape[1], text) for t, c in zip(column_titles, cells, strict=True)], gap))
        parts += [_beside(cells, gap), _title(title, cells[0].shape[1], max(12, text * 2 // 3))]
    return _stack(parts)


def save_image(picture: Picture, path: Path) -> Path:
    """Write a PNG atomically and return ``path``."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary)
    return path


def require_display() -> None:
    """Raise ``UserError`` where no window can open, saying what to do instead."""
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UserError("no display to open a window on: add --save_figure to write files instead")


def show(picture: Picture, title: str) -> None:
    """Open a window with the picture and wait until it is closed.

    Raises:
        UserError: where there is no display or no window toolkit.
    """
    require_display()
    import matplotlib
    from matplotlib import pyplot

    if matplotlib.get_backend().lower() == "agg":
        raise UserError("matplotlib found no window toolkit: add --save_figure to write files instead")
    figure, axes = pyplot.subplots(num=title)
    axes.imshow(picture)
    axes.set_axis_off()
    figure.tight_layout()
    pyplot.show()
    pyplot.close(figure)
