"""Small labels beside the lines of a picture, placed so that they cover neither each other nor, if possible, a line."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from prune.report.paper import INK, PAPER, RIM, SMALLEST_TEXT, Picture

TEXT_SHARE = 48
"""px of the picture's longer side per px of text."""
SMALLEST_SIDE = 480
"""px: smaller pictures are enlarged by a whole factor, so that labels fit beside the lines."""
GRID = 4
"""px: raster on which is counted how much of the lines a label would cover."""
ALONG = (1 / 2, 1 / 3, 2 / 3, 1 / 5, 4 / 5)
"""Where along its line a label may point to, the best first."""
AROUND = np.radians([90, 45, 135, 0, 180, 270, 315, 225])
AWAY = (1.5, 3.0)
"""Free space between line and label, in half heights of a label."""


@dataclass(frozen=True)
class Tag:
    """A label and the line it belongs to.

    Args:
        line: int (N, 2), rows and columns along the line.
        text: What it says.
        short: What it says where there is no room for ``text``.
    """

    line: NDArray[np.integer[Any]]
    text: str
    short: str


def draw_tags(picture: Picture, tags: Sequence[Tag]) -> Picture:
    """The picture uint8 (H, W, 3), RGB, with its labels; earlier tags take the better places.

    Text grows with the picture. A picture whose longer side is below ``SMALLEST_SIDE`` is enlarged by a whole factor.
    """
    return np.asarray(tagged(picture, tags))


def tagged(picture: Picture, tags: Sequence[Tag]) -> Image.Image:
    """The same as an image of Pillow, which is ready to be written."""
    factor = -(-SMALLEST_SIDE // max(picture.shape[:2]))
    enlarged = np.repeat(np.repeat(picture, factor, axis=0), factor, axis=1) if factor > 1 else picture
    canvas = Image.fromarray(enlarged)  # a copy: Pillow maps no memory of three channels
    draw = ImageDraw.Draw(canvas)
    size = max(SMALLEST_TEXT, round(max(canvas.size) / TEXT_SHARE))
    lines = [(tag.line + 0.5) * factor for tag in tags]
    covered, taken = _coverage(lines, canvas.size), np.empty((0, 4))
    chosen = []
    for tag, line in zip(tags, lines, strict=True):
        for text in (tag.text, tag.short):
            boxes, points = _candidates(line, _extent(text, size), canvas.size)
            overlap = _overlaps(boxes, taken)
            if not overlap.min() or text == tag.short:
                break
        # Candidates come in the order of preference; a covered line counts more than that.
        around = boxes + size * np.array([-0.5, -0.5, 0.5, 0.5])  # lines are wider than their middle
        best = int(np.argmin(1e9 * overlap + 100 * _sums(covered, around) + np.arange(len(boxes))))
        taken = np.concatenate([taken, boxes[best : best + 1]])
        chosen.append((boxes[best], points[best], text))
    for box, point, _ in chosen:
        end = np.clip(point, box[:2], box[2:])
        draw.line([*end, *point], fill=(PAPER,) * 3, width=max(3, size // 5))
        draw.line([*end, *point], fill=INK, width=max(1, size // 12))
    for box, _, text in chosen:
        draw.rounded_rectangle(list(box), size // 4, fill=(PAPER,) * 3, outline=RIM, width=max(1, size // 16))
        draw.text(tuple((box[:2] + box[2:]) / 2), text, fill=INK, font=_font(size), anchor="mm")
    return canvas


@lru_cache(maxsize=8)
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _extent(text: str, size: int) -> tuple[float, float]:
    """Width and height of a label in px."""
    return _font(size).getlength(text) + 0.8 * size, 1.5 * size


def _candidates(
    line: NDArray[np.floating], extent: tuple[float, float], size: tuple[int, int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Places of a label, boxes (left, top, right, bottom) float64 (K, 4), inside the picture, and the points (x, y) they are for."""
    anchors = line[[int(share * (len(line) - 1)) for share in ALONG]][:, ::-1]
    width, height = extent
    free = np.array(AWAY)[:, None] * height / 2
    x, y = (width / 2 + free) * np.cos(AROUND), -(height / 2 + free) * np.sin(AROUND)
    centers = (anchors[:, None] + np.stack([x.ravel(), y.ravel()], axis=1)).reshape(-1, 2)
    points = np.repeat(anchors, x.size, axis=0)
    half = np.array([width, height]) / 2
    middle = np.clip(centers, half, np.maximum(half, np.array(size) - 1 - half))
    return np.concatenate([middle - half, middle + half], axis=1), points


def _overlaps(boxes: NDArray[np.float64], taken: NDArray[np.float64]) -> NDArray[np.float64]:
    """How many px² of other labels each box covers, float64 (K,)."""
    low = np.maximum(boxes[:, None, :2], taken[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], taken[None, :, 2:])
    return np.clip(high - low, 0, None).prod(axis=2).sum(axis=1)


def _coverage(lines: Sequence[NDArray[np.floating]], size: tuple[int, int]) -> NDArray[np.int64]:
    """Summed area table of the points of all lines on a raster of ``GRID`` px."""
    counts = np.zeros((size[1] // GRID + 2, size[0] // GRID + 2), np.int64)
    for line in lines:
        rows, columns = (line // GRID).astype(int).T
        np.add.at(counts, (rows + 1, columns + 1), 1)
    return counts.cumsum(axis=0).cumsum(axis=1)


def _sums(table: NDArray[np.int64], boxes: NDArray[np.float64]) -> NDArray[np.int64]:
    """Points of lines inside each box, int64 (K,), about."""
    left, top, right, bottom = (boxes / GRID).astype(int).clip(0, np.array(table.shape[::-1] * 2) - 1).T
    return table[bottom, right] - table[top, right] - table[bottom, left] + table[top, left]
