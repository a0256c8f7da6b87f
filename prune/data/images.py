"""Decode photographs and label images of every common kind into plain uint8 arrays."""

import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from prune.data.labels import IGNORE_INDEX, ClassSet
from prune.errors import UserError, first_line

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
MAX_MEGAPIXELS = 200
"""Decoding a larger file is refused: an image from a stranger must not exhaust memory."""

COLOR_THRESHOLD = 200
"""In S2DS color labels a channel below this counts as 0 (compression noise), otherwise as 255."""

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
            return ImageOps.exif_transpose(image)
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


def _to_eight_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Scale gray values of 16 bits to 8; a 32-bit container that only holds bytes is kept as it is."""
    wide = values.astype(np.int64)
    return (wide if wide.max(initial=0) < 256 else np.clip(wide >> 8, 0, 255)).astype(np.uint8)


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
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")
    return np.array(image.convert("RGB"))


def read_gray(path: Path) -> NDArray[np.uint8]:
    """Read a mask as gray levels uint8 (H, W): the stored values of one channel, else the luminance of the color."""
    image = _open(path)
    if image.mode in _WIDE_GRAY_MODES:
        return _to_eight_bit(np.asarray(image))
    if image.mode == "1":
        return np.asarray(image).astype(np.uint8)
    return np.array(image if image.mode in ("L", "P") else image.convert("RGB").convert("L"))


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
    """Read a color label as uint8 (H, W) with ids 0…C−1.

    Channels below ``COLOR_THRESHOLD`` count as 0 as in the official S2DS tools; a flat color between the palette's
    (scattered compression noise is not flat) is an error, because it would silently become another class.

    Raises:
        UserError: when a color is not in the palette; the message names it.
    """
    image = _open(path)
    if image.mode in ("L", "1", *_WIDE_GRAY_MODES):
        raise UserError(f"{path}: expected a color label, found a single-channel {image.mode} image")
    rgb = np.array(image.convert("RGB"))
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
