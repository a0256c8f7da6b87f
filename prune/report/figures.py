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
from prune.report.png import write_png

Picture = NDArray[np.uint8]
"""RGB, uint8 (H, W, 3)."""
INK, RIM, PAPER = (30, 30, 30), (90, 90, 90), 255
SMALLEST_TEXT = 12
"""px: the smallest letters that everyone can read."""
RIM_SHARE = 300
"""px of the image's longer side per px of a region's rim."""
STRIP = 256
"""Rows handled at a time, so that a huge photograph needs little memory beside its own."""
WIDEST_CELL = 800
"""px: pictures on a comparison sheet are shrunk to this width."""
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


def color_mask(class_map: NDArray[np.integer], classes: ClassSet) -> Picture:
    """The class map (H, W) in its classes' colors, uint8 (H, W, 3) RGB; ignored pixels are mid gray."""
    return classes.colorize(class_map)


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
    image: Picture, class_map: NDArray[np.integer], rim: NDArray[np.bool_], classes: int, table: NDArray[np.uint8]
) -> None:
    """Paint classes onto contiguous ``image`` in place by ``_blend_table`` of two opacities: inside, and on the ``rim``."""
    places = np.flatnonzero((class_map > 0) & (class_map < classes))
    rows = (rim * np.intp(classes) + class_map).ravel().take(places) * (3 * 256)
    values = image.reshape(-1)
    places *= 3
    for _ in range(3):  # channels
        values[places] = table.take(rows + values.take(places))
        places += 1
        rows += 256


def overlay(image: Picture, class_map: NDArray[np.integer], classes: ClassSet, opacity: float = 0.5) -> Picture:
    """The photograph with every defect pixel blended with its class color: (1 - a) · photo + a · color.

    Inside a region a = ``opacity``. Along its rim a = min(1, 2 · ``opacity``): a dark crack under half-transparent
    white would otherwise turn into the gray of the concrete around it. The rim is 1 px wide per 300 px of the longer
    side, so a thin crack is all rim. Background (id 0) and ignored pixels stay untouched.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W).
        classes: Their colors.
        opacity: 0 (the photograph only) to 1 (the colors only).
    """
    reach = max(1, round(max(class_map.shape) / RIM_SHARE))
    table = _blend_table(classes, (opacity, min(1.0, 2 * opacity)))
    result = image.copy()
    for top in range(0, len(class_map), STRIP):
        start = max(0, top - reach)
        around = class_map[start : top + STRIP + reach]
        rim = _change_nearby(around, reach, axis=0) | _change_nearby(around, reach, axis=1)
        inside = slice(top, top + STRIP)
        _blend(result[inside], class_map[inside], rim[top - start : top - start + STRIP], len(classes), table)
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


def class_shares(class_map: NDArray[np.integer], classes: ClassSet) -> list[tuple[int, float]]:
    """Ids found and their share (0…1) of the pixels that are not ignored: defects by size, background last."""
    strips = (class_map[top : top + STRIP].ravel() for top in range(0, len(class_map), STRIP))
    counts = np.sum([np.bincount(strip, minlength=256)[: len(classes)] for strip in strips], axis=0)
    order = [*(int(i) + 1 for i in np.argsort(-counts[1:], kind="stable")), 0]
    return [(i, float(counts[i] / counts.sum())) for i in order if counts[i]]


def share_text(share: float) -> str:
    """A share (0…1) in percent with one digit; what is found never reads 0.0 %, nor 100.0 % unless it is all."""
    if share < 0.001:
        return "< 0.1 %"
    return "> 99.9 %" if 0.999 < share < 1 else f"{share:.1%}".replace("%", " %")


def legend_labels(class_map: NDArray[np.integer], classes: ClassSet) -> list[tuple[tuple[int, int, int], str]]:
    """Color and text (name and share) of every class found, as the legend lists them."""
    shares = class_shares(class_map, classes)
    return [(classes.colors[i], f"{classes.classes[i]}  {share_text(share)}") for i, share in shares]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _legend(entries: Sequence[tuple[tuple[int, int, int], str]], width: int, text: int) -> Picture:
    """A strip of outlined swatches with texts of ``text`` px, in as many columns as ``width`` px hold, centered."""
    font, line, margin = _font(text), round(text * 1.7), text // 2
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


def _centered(pictures: Sequence[Picture], gap: int, axis: int) -> Picture:
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


def side_by_side(image: Picture, class_map: NDArray[np.integer], classes: ClassSet) -> Picture:
    """Photograph and color mask beside each other, unscaled, above a legend of the classes found and their share.

    Both panels have the image's own size; only the gap and the legend make the picture larger. Text grows with the
    image and stays legible on small ones, where the legend may be wider than the panels.

    Args:
        image: uint8 (H, W, 3), RGB.
        class_map: Class ids (H, W); ignored pixels are drawn mid gray and have no share.
        classes: Names and colors.
    """
    text = max(SMALLEST_TEXT, round(max(class_map.shape) / 30))
    panels = _centered([image, color_mask(class_map, classes)], max(4, text // 2), axis=1)
    entries = legend_labels(class_map, classes)
    return _centered([panels, _legend(entries, panels.shape[1], text)], 0, axis=0) if entries else panels


def _caption(text: str, size: int) -> Picture:
    """One line of text on white, as large as it needs."""
    font = _font(size)
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
    return _centered(cells, gap, axis=1)


def grid(rows: Sequence[Sequence[Picture]], column_titles: Sequence[str], row_titles: Sequence[str]) -> Picture:
    """A comparison sheet: one image per row, one view of it per column, all scaled to the widest one's width.

    Args:
        rows: At least one row of pictures uint8 (H, W, 3); those of one row have one size.
        column_titles: One per column, above it.
        row_titles: One per row, turned, to its left.

    Raises:
        ValueError: when titles and pictures do not match in number.
    """
    widest = max(picture.shape[1] for row in rows for picture in row)
    longest = max(_font(100).getlength(title) for title in column_titles) / 100 + 1
    cell = min(WIDEST_CELL, max(widest, round(longest * SMALLEST_TEXT)))
    text = max(SMALLEST_TEXT, int(min(cell / 14, cell / longest)))
    gap = max(4, text // 3)
    scaled = [[_scaled(picture, cell) for picture in row] for row in rows]
    names = [np.rot90(_caption(title, max(SMALLEST_TEXT, text * 3 // 4))) for title in row_titles]
    margin = max(name.shape[1] for name in names)
    heads = [_caption(title, text) for title in column_titles]
    blank = np.full((heads[0].shape[0], margin, 3), PAPER, dtype=np.uint8)
    lines = [_in_cells([blank, *heads], [margin] + [cell] * len(heads), gap)]
    for name, row in zip(names, scaled, strict=True):
        if len(row) != len(heads):
            raise ValueError(f"{len(heads)} column titles, but a row of {len(row)} pictures")
        lines.append(_in_cells([name, *row], [margin] + [cell] * len(row), gap))
    return np.pad(_centered(lines, gap, axis=0), ((gap, gap), (gap, gap), (0, 0)), constant_values=PAPER)


def save_image(picture: NDArray[np.uint8], path: Path) -> Path:
    """Write a picture uint8 (H, W, 3), or gray levels uint8 (H, W), atomically, and return ``path``.

    Its suffix says how: .png keeps every value; .jpg and .webp are several times smaller and faster to write, and lossy.

    Raises:
        UserError: when the file cannot be written, or the picture is too large for its format.
    """
    if path.suffix not in LOSSY:
        with atomic_path(path) as temporary:
            write_png(picture, temporary)
        return path
    kind, largest, options = LOSSY[path.suffix]
    height, width = picture.shape[:2]
    if max(height, width) > largest:
        raise UserError(f"{path}: expected at most {largest} px a side, found {width}x{height}: use --format png")
    with atomic_path(path) as temporary:
        Image.fromarray(picture).save(temporary, format=kind, **options)
    return path


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
