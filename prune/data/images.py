"""Decode photographs and label images of every common kind into plain uint8 arrays."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from prune.data.labels import IGNORE_INDEX, S2DS, ClassSet
from prune.errors import UserError, first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MAX_MEGAPIXELS = 200
"""Decoding a larger file is refused: an untrusted image must not exhaust memory."""

STRIP = 2**22
"""Pixels that are converted at a time, so that a picture at the limit takes 7 bytes per pixel and not three times as much."""

COLOR_THRESHOLD = 200
"""In S2DS color labels a channel below this counts as 0 (compression noise), otherwise as 255."""
GRAY_SPREAD = 16
"""Channels of a pixel that differ by no more show a gray (compression noise), otherwise a color."""

_DECODE_ERRORS = (OSError, SyntaxError, ValueError, EOFError, struct.error, Image.DecompressionBombError)
_WIDE_GRAY_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")

Image.MAX_IMAGE_PIXELS = None  # the limit is checked below, with a message that names it


def is_image(path: Path) -> bool:
    """Whether the file's name ends like an image this project reads; hidden files are not images."""
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".")


def _open(path: Path) -> Image.Image:
    """Open and fully decode ``path`` with its EXIF rotation applied."""
    try:
        with Image.open(path) as image:
            megapixels = image.width * image.height / 1e6
            if megapixels > MAX_MEGAPIXELS:
                raise UserError(f"{path}: {megapixels:.0f} megapixels, the limit is {MAX_MEGAPIXELS}")
            image.load()
            ImageOps.exif_transpose(image, in_place=True)  # otherwise every upright photograph would be copied
            return image
    except _DECODE_ERRORS as error:
        raise UserError(
            f"{path}: expected a readable image ({', '.join(SUFFIXES)}), found: {first_line(error)}"
        ) from error


def image_size(path: Path) -> tuple[int, int]:
    """Height and width in pixels after EXIF rotation, from the header alone."""
    try:
        with Image.open(path) as image:
            # Pillow decodes a whole PNG to look for EXIF data behind the pixels; those before them are enough here.
            exif = image.getexif() if image.format != "PNG" or "exif" in image.info else {}
            turned = exif.get(0x0112, 1) in (5, 6, 7, 8)
            return (image.width, image.height) if turned else (image.height, image.width)
    except _DECODE_ERRORS as error:
        raise UserError(f"{path}: expected a readable image, found: {first_line(error)}") from error


def _strips(height: int, width: int) -> Iterator[slice]:
    """Rows of a picture, a few at a time."""
    step = max(1, STRIP // max(1, width))
    return (slice(top, min(height, top + step)) for top in range(0, height, step))


def _rgb(image: Image.Image) -> NDArray[np.uint8]:
    """The pixels of an image of any mode, uint8 (H, W, 3)."""
    pixels = np.empty((image.height, image.width, 3), np.uint8)
    for rows in _strips(image.height, image.width):
        part = image.crop((0, rows.start, image.width, rows.stop))
        if part.mode == "P" and "transparency" in image.info:
            part = part.convert("RGBA")
        pixels[rows] = np.asarray(part if part.mode == "RGB" else part.convert("RGB"))
    return pixels


def _to_eight_bit(values: NDArray[np.integer[Any]]) -> NDArray[np.uint8]:
    """Scale gray values of 16 bits to 8; a 32-bit container that only holds bytes is kept as it is."""
    return (values if values.max(initial=0) < 256 else np.clip(values >> 8, 0, 255)).astype(np.uint8)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a photograph as uint8 (H, W, 3), RGB, upright.

    RGB, RGBA (alpha is dropped), gray, gray + alpha, palette, CMYK and 16-bit files are read; 16-bit gray keeps its
    upper eight bits.

    Raises:
        UserError: when the file is missing, damaged, no image, or larger than ``MAX_MEGAPIXELS``.
    """
    image = _open(path)
    if image.mode in _WIDE_GRAY_MODES:
        gray = _to_eight_bit(np.asarray(image))
        return np.repeat(gray[:, :, None], 3, axis=2)
    if image.mode == "F":
        raise UserError(f"{path}: expected 8- or 16-bit integers, found a floating-point image")
    return _rgb(image)


def _palette_ids(image: Image.Image) -> NDArray[np.uint8] | None:
    """The ids a palette picture stores, uint8 (H, W); None when it has to be taken for what its colors show.

    Index i in the color of S2DS class i is an id, and so is any index whose color says nothing: ids of other tools come in
    palettes of all kinds. Programs that shrink pictures number grays and S2DS colors as they please.
    """
    ids = np.asarray(image)
    used = np.flatnonzero(image.histogram()[:256])
    palette = np.zeros((256, 3), dtype=np.uint8)
    stored = np.array(image.getpalette("RGB") or (), dtype=np.uint8).reshape(-1, 3)
    palette[: len(stored)] = stored
    shown = [tuple(color) for color in palette[used].tolist()]
    if all(i in S2DS.ignored_ids or S2DS.colors[i : i + 1] == (color,) for i, color in zip(used, shown, strict=True)):
        return ids
    gray = all(red == green == blue for red, green, blue in shown)
    recolored = len(set(shown)) == len(shown) > 2 and set(shown) <= set(S2DS.colors)
    return None if gray or recolored else ids


def read_mask(path: Path) -> NDArray[np.uint8]:
    """Read a mask as what it is: gray levels or ids uint8 (H, W), or a picture in colors uint8 (H, W, 3), RGB.

    One bit per pixel gives 0 and 255, three channels of nothing but grays give levels, a palette picture its ids or what it
    shows (see ``_palette_ids``); alpha is dropped.

    Raises:
        UserError: for an unreadable file.
    """
    image = _open(path)
    if image.mode in _WIDE_GRAY_MODES:
        return _to_eight_bit(np.asarray(image))
    if image.mode in ("L", "LA", "1"):
        return np.array(image.convert("L"))
    ids = _palette_ids(image) if image.mode == "P" else None
    if ids is not None:
        return ids
    rgb = _rgb(image)
    colored = any(_spread(rgb[rows]) > GRAY_SPREAD for rows in _strips(rgb.shape[0], rgb.shape[1]))
    return rgb if colored else luminance(rgb)


def _spread(rgb: NDArray[np.uint8]) -> int:
    """The largest difference between channels of a pixel of (H, W, 3)."""
    red, green, blue = np.ascontiguousarray(np.moveaxis(rgb, 2, 0))  # reducing an axis of three is ten times slower
    spread = np.maximum(np.maximum(red, green), blue) - np.minimum(np.minimum(red, green), blue)
    return int(spread.max(initial=0))


def luminance(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Gray levels uint8 (H, W) of a picture uint8 (H, W, 3), RGB (ITU-R 601)."""
    gray = np.empty(rgb.shape[:2], np.uint8)
    for rows in _strips(rgb.shape[0], rgb.shape[1]):
        gray[rows] = np.asarray(Image.fromarray(rgb[rows]).convert("L"))
    return gray


def read_levels(path: Path) -> NDArray[np.float64]:
    """Read an image's gray levels as a share of their range, float64 (H, W) in 0…1; 8 or 16 bits."""
    image = _open(path)
    wide = image.mode in _WIDE_GRAY_MODES
    return np.asarray(image if wide else image.convert("L"), dtype=float) / (65535 if wide else 255)


def read_id_label(path: Path, classes: ClassSet) -> NDArray[np.uint8]:
    """Read a label image of class ids as uint8 (H, W) with ids 0…C−1 and ``IGNORE_INDEX``.

    Raises:
        UserError: when the file is no single-channel image or holds ids outside the class set.
    """
    image = _open(path)
    if image.mode not in ("L", "P", "1", *_WIDE_GRAY_MODES):
        raise UserError(f"{path}: expected a single-channel label of class ids, found a {image.mode} image")
    # A palette picture stores the ids themselves; converting it would turn them into colors.
    ids = np.asarray(image).astype(np.int64)
    found = np.flatnonzero(np.bincount(ids.ravel().clip(0, 65536), minlength=1))
    allowed = {*range(len(classes)), *classes.ignored_ids}
    unknown = [int(i) for i in found if int(i) not in allowed]
    if unknown or ids.min(initial=0) < 0:
        listed = ", ".join(map(str, unknown[:8])) or "negative ids"
        ignored = "/".join(map(str, classes.ignored_ids))
        raise UserError(f"{path}: expected ids 0 to {len(classes) - 1} or {ignored} (ignored), found {listed}")
    table = np.full(256, IGNORE_INDEX, dtype=np.uint8)
    table[: len(classes)] = np.arange(len(classes))
    return table[ids]


def _off_palette_color(rgb: NDArray[np.uint8]) -> tuple[int, int, int] | None:
    """The commonest color with a mid-range channel when it is too common to be compression noise, else None."""
    middle = ((rgb > 63) & (rgb < COLOR_THRESHOLD)).any(axis=2)
    codes = rgb[middle].astype(np.int64) @ np.array([65536, 256, 1])
    if codes.size == 0:
        return None
    values, counts = np.unique(codes, return_counts=True)
    if counts.max() < max(16, 0.002 * middle.size):
        return None
    code = int(values[counts.argmax()])
    return code >> 16, code >> 8 & 255, code & 255


def read_color_label(path: Path, classes: ClassSet) -> NDArray[np.uint8]:
    """Read a color label as uint8 (H, W) with ids 0…C−1, see ``color_ids``.

    Raises:
        UserError: for a single-channel picture, and when a color is not in the palette; the message names it.
    """
    image = _open(path)
    if image.mode in ("L", "1", *_WIDE_GRAY_MODES):
        raise UserError(f"{path}: expected a color label, found a single-channel {image.mode} image")
    return color_ids(np.array(image.convert("RGB")), classes, path)


def color_ids(rgb: NDArray[np.uint8], classes: ClassSet, path: Path) -> NDArray[np.uint8]:
    """Ids 0…C−1, uint8 (H, W), of a picture uint8 (H, W, 3) in the colors of ``classes``, read from ``path``.

    Channels below ``COLOR_THRESHOLD`` count as 0 as in the official S2DS tools; a flat color between the palette's
    (scattered compression noise is not flat) is an error, because it would silently become another class.

    Raises:
        UserError: when a color is not in the palette; the message names it.
    """
    stray = _off_palette_color(rgb)
    codes = (rgb >= COLOR_THRESHOLD) @ np.array([4, 2, 1])
    table = np.full(8, IGNORE_INDEX, dtype=np.uint8)
    table[(classes.palette >= COLOR_THRESHOLD) @ np.array([4, 2, 1])] = np.arange(len(classes))
    label = table[codes]
    if stray is None and (label == IGNORE_INDEX).any():
        stray = tuple(int(v) for v in rgb[label == IGNORE_INDEX][0])  # type: ignore[assignment]
    if stray is not None:
        raise UserError(f"{path}: expected the colors of {classes.name} labels, found color {stray}")
    return label


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    """The bytes of a file of a picture; ``kind`` and options are Pillow's.

    Pillow's writers into files do not notice when a full disk takes only a part of what they hand over.
    """
    content = io.BytesIO()
    image.save(content, format=kind, **options)
    return content.getvalue()
