"""Pictures of a network's predictions: pure functions on arrays, drawn at the image's own size."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from prune.data.images import encoded
from prune.data.labels import ClassSet
from prune.errors import UserError
from prune.files import atomic_path, write_bytes
from prune.metrics.box import bounding_box
from prune.report.paper import SMALLEST_TEXT, Picture, centered, class_pixels, legend, legend_of
from prune.report.png import write_png

STRIP = 256
"""Rows handled at a time, so that a huge photograph needs little memory beside its own."""
RIM_SHARE = 300
"""px of the image's longer side per px of a region's rim."""
HEAT = np.stack(
    [
        np.interp(np.linspace(0, 1, 256), (0, 0.25, 0.5, 0.75, 1), levels)
        for levels in ((0, 80, 190, 245, 255), (0, 15, 40, 140, 240), (0, 110, 90, 20, 120))
    ],
    axis=1,
).astype(np.uint8)
"""Colors of 0…1 as uint8 (256, 3), RGB: black, purple, red, orange, yellow, lighter from one to the next."""
LOSSY: dict[str, tuple[str, int, dict[str, int]]] = {
    ".jpg": ("JPEG", 65500, {"quality": 90}),
    ".webp": ("WEBP", 16383, {"quality": 90, "method": 0}),
}
"""Format, longest side in px and options by suffix; WebP's default method takes three times as long for the same size."""
NO_DISPLAY = "no display: add --save_figure to write files to results/figures"


def color_mask(class_map: NDArray[np.integer], classes: ClassSet, palette: str = "standard") -> Picture:
    """The class map (H, W) in its classes' colors, uint8 (H, W, 3) RGB; ignored pixels are mid gray."""
    return classes.recolored(palette, on_photograph=False).colorize(class_map)


def _change_nearby(class_map: NDArray[np.integer], reach: int, axis: int) -> NDArray[np.bool_]:
    """Pixels with another id at most ``reach`` px away along an axis, bool (H, W)."""
    ids = class_map if axis == 0 else class_map.T
    near = np.pad(ids[1:] != ids[:-1], ((reach, reach), (0, 0)))
    length = 1  # in every round each place learns about twice as many steps behind it
    while length < 2 * reach:
        shift = min(length, 2 * reach - length)
        near, length = near[:-shift] | near[shift:], length + shift
    return near if axis == 0 else near.T


def _blend_table(classes: ClassSet, opacities: Sequence[float]) -> NDArray[np.uint8]:
    """Every level blended with every class color at every opacity, uint8, flat in the order opacity, class, channel, level."""
    alpha = np.array(opacities, np.float32)[:, None, None, None]
    levels, colors = np.arange(256, dtype=np.uint8), classes.palette[:, :, None]
    return np.rint((1 - alpha) * levels + alpha * colors).astype(np.uint8).ravel()


def _blend(
    image: Picture,
    corner: tuple[int, int],
    class_map: NDArray[np.integer],
    rim: NDArray[np.bool_],
    classes: int,
    table: NDArray[np.uint8],
) -> None:
    """Paint a part of the classes onto contiguous ``image`` in place.

    Args:
        image: uint8 (H, W, 3), RGB.
        corner: Row and column in it where the part begins.
        class_map: Class ids (h, w) of the part.
        rim: Its pixels at the edge of a region, bool (h, w).
        classes: How many there are.
        table: ``_blend_table`` of two opacities: inside, and on the rim.
    """
    places = np.flatnonzero((class_map > 0) & (class_map < classes))
    rows = (rim * np.intp(classes) + class_map).ravel().take(places) * (3 * 256)
    values = image.reshape(-1)
    down, right = np.divmod(places, class_map.shape[1])
    places = 3 * ((down + corner[0]) * image.shape[1] + right + corner[1])
    for _ in range(3):  # channels
        values[places] = table.take(rows + values.take(places))
        places += 1
        rows += 256


def overlay(
    image: Picture, class_map: NDArray[np.integer], classes: ClassSet, opacity: float = 0.5, palette: str = "standard"
) -> Picture:
    """The photograph with every defect pixel blended with the color its class has on photographs.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W).
        classes: Their colors, which ``ClassSet.recolored`` makes visible on concrete.
        opacity: 0 (the photograph only) to 1 (the colors only), see ``paint``.
        palette: One of ``prune.data.settings.PALETTES``.
    """
    return paint(image, class_map, classes.recolored(palette, on_photograph=True), opacity)


def paint(image: Picture, class_map: NDArray[np.integer], classes: ClassSet, opacity: float = 0.5) -> Picture:
    """The photograph with every pixel that is not background blended with its class color: (1 - a) · photo + a · color.

    Inside a region a = ``opacity``. Along its rim a = min(1, 2 · ``opacity``): a dark crack under a half-transparent
    color would otherwise be as bright as the concrete around it. The rim is 1 px wide per 300 px of the longer
    side, so a thin crack is all rim. Background (id 0) and ignored pixels stay untouched.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W).
        classes: Their colors, taken as they are.
        opacity: 0 (the photograph only) to 1 (the colors only).
    """
    reach = max(1, round(max(class_map.shape) / RIM_SHARE))
    table = _blend_table(classes, (opacity, min(1.0, 2 * opacity)))
    result = np.ascontiguousarray(image.copy())
    for first in range(0, len(class_map), STRIP):
        rows, columns = bounding_box(class_map[first : first + STRIP] > 0, 0)
        if not rows.stop:
            continue
        top, left, bottom, right = first + rows.start, columns.start, first + rows.stop, columns.stop
        up, aside = max(0, top - reach), max(0, left - reach)
        around = class_map[up : bottom + reach, aside : right + reach]
        rim = _change_nearby(around, reach, axis=0) | _change_nearby(around, reach, axis=1)
        inside = slice(top - up, bottom - up), slice(left - aside, right - aside)
        _blend(result, (top, left), around[inside], rim[inside], len(classes), table)
    return result


def heat_overlay(image: Picture, heat: NDArray[np.floating], opacity: float = 0.5) -> Picture:
    """The photograph in gray with warmth (a probability, a heat map) laid over it in the colors of ``HEAT``.

    Where the warmth h is 0 the gray photograph shows through untouched, so that cracks stay readable; the share of
    color grows as √h, which keeps weak warmth visible.

    Args:
        image: uint8 (H, W, 3), RGB.
        heat: (H, W), 0…1.
        opacity: Share of the color where h is 1, 0 (the gray photograph only) to 1.
    """
    result = np.empty_like(image)
    for top in range(0, len(image), STRIP):
        warmth = heat[top : top + STRIP].astype(np.float32)
        gray = image[top : top + STRIP] @ np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's "L"
        alpha = (opacity * np.sqrt(warmth))[..., None]
        colors = HEAT[np.rint(255 * warmth).astype(np.uint8)]
        result[top : top + STRIP] = np.rint((1 - alpha) * gray[..., None] + alpha * colors).astype(np.uint8)
    return result


def side_by_side(
    image: Picture,
    class_map: NDArray[np.integer],
    classes: ClassSet,
    palette: str = "standard",
    *,
    pixels: NDArray[np.floating] | None = None,
    explained: bool = True,
) -> Picture:
    """Photograph and color mask beside each other, unscaled, above a legend of the classes found and their share.

    Both panels have the image's own size; only the gap and the legend make the picture larger. Text grows with the
    image and stays legible on small ones, where the legend may be wider than the panels.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W); ignored pixels are drawn mid gray and have no share.
        classes: Names and colors.
        palette: One of ``prune.data.settings.PALETTES``.
        pixels: Pixels per class (C,), None = they are counted.
        explained: Whether there is a legend.
    """
    drawn = classes.recolored(palette, on_photograph=False)
    text = max(SMALLEST_TEXT, round(max(class_map.shape) / 30))
    panels = centered([image, drawn.colorize(class_map)], max(4, text // 2), axis=1)
    if not explained:
        return panels
    entries = legend_of(class_pixels(class_map, drawn) if pixels is None else pixels, drawn, background=True)
    return centered([panels, legend(entries, panels.shape[1], text)], 0, axis=0) if entries else panels


def save_image(picture: NDArray[np.uint8] | Image.Image, path: Path) -> Path:
    """Write a picture uint8 (H, W, 3), gray levels uint8 (H, W), or either as an image, atomically, and return ``path``.

    Its suffix says how: .png keeps every value; .jpg and .webp are several times smaller and faster to write, and lossy.

    Raises:
        UserError: when the file cannot be written, or the picture is too large for its format.
    """
    if path.suffix not in LOSSY:
        with atomic_path(path) as temporary:
            write_png(np.asarray(picture), temporary)
        return path
    kind, largest, options = LOSSY[path.suffix]
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    width, height = image.size
    if max(height, width) > largest:
        raise UserError(f"{path}: expected at most {largest} px a side, found {width}x{height}: use --format png")
    return write_bytes(path, encoded(image, kind, **options))


def save_mask(class_map: NDArray[np.uint8], classes: ClassSet, path: Path) -> Path:
    """Write class ids uint8 (H, W) as a PNG that stores them with the colors of their classes, and return ``path``."""
    with atomic_path(path) as temporary:
        write_png(class_map, temporary, classes.palette)
    return path


def require_display() -> None:
    """Find out whether a window can open, before any work is done.

    Raises:
        UserError: without a display or a window toolkit; the message says what to do instead.
    """
    if sys.platform.startswith("linux") and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        raise UserError(NO_DISPLAY)
    try:
        import matplotlib
        from matplotlib import pyplot
        from matplotlib.backends import BackendFilter, backend_registry

        pyplot.switch_backend(matplotlib.get_backend())
    except (ImportError, RuntimeError, ValueError) as error:
        raise UserError(f"{NO_DISPLAY} ({error})") from error
    if matplotlib.get_backend().lower() in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):
        raise UserError(NO_DISPLAY)


def show(picture: Picture, title: str) -> None:
    """Open a window with the picture uint8 (H, W, 3) and wait until it is closed.

    Raises:
        UserError: where there is no display or no window toolkit.
    """
    require_display()
    from matplotlib import pyplot

    size = 1.5 * pyplot.figaspect(picture.shape[0] / picture.shape[1])
    figure, axes = pyplot.subplots(num=title, figsize=(size[0], size[1]), layout="constrained")
    axes.imshow(picture)
    axes.set_axis_off()
    pyplot.show()
    pyplot.close(figure)
