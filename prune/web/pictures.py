"""The pictures of the page: small enough for a browser, with every crack still on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.report.agreement import BOTH, FIRST, SECOND, agreement, agreement_legend, draw_agreement
from prune.report.figures import heat_overlay, overlay, save_image
from prune.report.paper import Entry, Picture, class_pixels, legend_of, with_legend
from prune.web.scale import Point

SHOWN_SIDE = 1600
"""px: pictures with a longer side are reduced by a whole factor before they are sent."""


def factor(size: tuple[int, ...], side: int = SHOWN_SIDE) -> int:
    """The whole number a picture of ``size`` (H, W, …) is reduced by so that no side is longer than ``side`` px."""
    return max(1, -(-max(size[:2]) // side))


def reduced(picture: Picture, by: int) -> Picture:
    """A photograph uint8 (H, W, 3) reduced by a whole factor, uint8 (⌈H/by⌉, ⌈W/by⌉, 3): means of blocks."""
    return picture if by == 1 else np.asarray(Image.fromarray(picture).reduce(by))


def block_maximum(values: NDArray[np.uint8], by: int) -> NDArray[np.uint8]:
    """The largest value of every block of ``by`` x ``by`` px, uint8 (⌈H/by⌉, ⌈W/by⌉): a crack 1 px wide stays."""
    if by == 1:
        return values
    height, width = values.shape
    result = np.maximum.reduceat(values, np.arange(0, height, by), axis=0)
    return np.maximum.reduceat(result, np.arange(0, width, by), axis=1)


@dataclass(frozen=True)
class Style:
    """How classes are drawn.

    Args:
        opacity: Of the colors, 0…1.
        palette: One of ``prune.data.settings.PALETTES``.
    """

    opacity: float = 0.5
    palette: str = "standard"


def shown_overlay(image: Picture, class_map: NDArray[np.uint8], classes: ClassSet, style: Style) -> Picture:
    """The photograph with the classes in color, reduced for the page."""
    by = factor(image.shape)
    return overlay(reduced(image, by), block_maximum(class_map, by), classes, style.opacity, style.palette)


def shown_heat(image: Picture, levels: NDArray[np.uint8]) -> Picture:
    """The photograph in gray with levels uint8 (H, W), 255 = 1, in the colors of warmth, reduced for the page."""
    by = factor(image.shape)
    return heat_overlay(reduced(image, by), block_maximum(levels, by).astype(np.float32) / 255, 1.0)


def legend_entries(class_map: NDArray[np.uint8], classes: ClassSet, palette: str) -> list[Entry]:
    """Color, name and share of the classes found, as drawn on photographs."""
    drawn = classes.recolored(palette, on_photograph=True)
    return legend_of(class_pixels(class_map, drawn), drawn)


def downloaded_overlay(image: Picture, class_map: NDArray[np.uint8], classes: ClassSet, style: Style) -> Picture:
    """The overlay at the photograph's own size above its legend."""
    drawn = overlay(image, class_map, classes, style.opacity, style.palette)
    return with_legend(drawn, legend_entries(class_map, classes, style.palette))


@dataclass(frozen=True)
class Difference:
    """How two networks differ about one class.

    Args:
        picture: The photograph in light gray with what both find and what only one finds, reduced for the page.
        entries: The legend of its colors.
        share: Pixels found by both over all found (0…1), None where neither finds any.
    """

    picture: Picture
    entries: Sequence[Entry]
    share: float | None


def difference(
    image: Picture, masks: tuple[NDArray[np.bool_], NDArray[np.bool_]], names: tuple[str, str], class_name: str
) -> Difference:
    """Compare the masks bool (H, W) of one class by two networks, at the photograph's own size."""
    found, by = agreement(*masks), factor(image.shape)
    counts = [int(np.count_nonzero(found == kind)) for kind in (BOTH, FIRST, SECOND)]
    entries = agreement_legend(found, ("found by both", f"only {names[0]}", f"only {names[1]}"), class_name)
    share = counts[0] / sum(counts) if any(counts) else None
    return Difference(draw_agreement(reduced(image, by), block_maximum(found, by)), entries, share)


def marked(picture: Picture, points: Sequence[Point]) -> Picture:
    """The picture with crosses at points (x, y) in its px, joined by a line: the known length of a scale."""
    drawn = Image.fromarray(picture)
    draw, reach = ImageDraw.Draw(drawn), max(8, max(picture.shape[:2]) // 60)
    strokes = [((x - dx, y - dy), (x + dx, y + dy)) for x, y in points for dx, dy in ((reach, 0), (0, reach))]
    strokes += [(points[0], points[1])] if len(points) > 1 else []
    for color, width in (((255, 255, 255), reach // 2 | 1), ((0, 0, 0), max(1, reach // 6))):  # seen on any ground
        for stroke in strokes:
            draw.line(stroke, fill=color, width=width)
    return np.asarray(drawn)


def mask_layer(class_map: NDArray[np.uint8], classes: ClassSet) -> NDArray[np.uint8]:
    """A class map (H, W) as a layer of the editor, uint8 (H, W, 4), RGBA: background is transparent."""
    return np.dstack([classes.colorize(class_map), np.where(class_map > 0, 255, 0).astype(np.uint8)])


def layer_classes(layer: NDArray[np.uint8], classes: ClassSet) -> NDArray[np.uint8]:
    """The class map uint8 (H, W) of a layer uint8 (H, W, 4), RGBA: the class with the nearest color; pale pixels none."""
    result = np.zeros(layer.shape[:2], np.uint8)
    painted = layer[..., 3] > 127
    colors = classes.palette[1:].astype(np.int32)
    pixels = layer[painted][:, :3].astype(np.int32)
    result[painted] = ((pixels[:, None] - colors) ** 2).sum(2).argmin(1) + 1
    return result


def corrected(before: NDArray[np.uint8], painted: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A class map uint8 (H, W) with what was changed on its reduced picture uint8 (h, w).

    Only blocks that were changed are replaced, so that the rest keeps its full resolution.

    Raises:
        UserError: for a picture of another size.
    """
    by = factor(before.shape)
    shown = block_maximum(before, by)
    if painted.shape != shown.shape:
        size = f"{shown.shape[1]}x{shown.shape[0]}"
        raise UserError(f"expected a mask of {size} px, found {painted.shape[1]}x{painted.shape[0]}")
    height, width = before.shape
    changed = painted != shown
    large = [np.repeat(np.repeat(one, by, axis=0), by, axis=1)[:height, :width] for one in (changed, painted)]
    return np.where(large[0], large[1], before).astype(np.uint8)


def written(picture: Picture, folder: Path, name: str) -> str:
    """Write a picture as JPEG for the browser and return its path."""
    return str(save_image(picture, folder / f"{name}.jpg"))
